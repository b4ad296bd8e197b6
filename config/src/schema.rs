//! The document described for machines: JSON Schema, from the same definitions it is read by.

use crate::{
    Config,
    shape::{Catalogue, Key, Shape, Written},
};
use serde_json::{Value as Json, json};

/// The JSON Schema (draft 2020-12) of the document, for editors and CI.
///
/// It describes one file's form. What only the whole document can show, such as that a
/// reference names something, is left to [`load`](crate::load).
pub fn schema() -> Json {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tidegate configuration",
        "$ref": "#/$defs/Config",
        "$defs": catalogue().definitions(),
    })
}

/// Every table of the document, `include` among the top-level keys.
pub(crate) fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::default();
    Config::shape().schema(&mut catalogue);
    catalogue.add_key(
        "Config",
        Key {
            name: "include",
            doc: "Files merged before this one's own keys, in this order; each may have `*` and \
                  `?` in its last part. Relative to this file."
                .to_owned(),
            expected: "an array of files such as `[\"conf.d/*.toml\"]`".to_owned(),
            required: false,
            default: Some(json!([])),
            shape: json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }),
        },
    );
    catalogue
}
