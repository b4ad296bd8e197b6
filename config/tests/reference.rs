//! The schema and the reference are written from the definitions the document is read by.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::{collections::BTreeMap, path::Path};
use tidegate_config::{reference, schema};

#[test]
fn the_reference_in_docs_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if std::env::var_os("TIDEGATE_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, reference()).unwrap();
    }
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(current == reference(), "run this test with TIDEGATE_UPDATE_DOCS=1 and commit docs/");
}

#[test]
fn the_schema_of_every_table() {
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!(schema()) });
}

#[test]
fn every_key_of_a_full_document_is_in_the_schema() {
    let text = include_str!("full.toml");
    let loaded = tidegate_config::parse_with(text, "full.toml", &|_| Some("c2VjcmV0".to_owned()))
        .unwrap_or_else(|faults| panic!("{faults}"));
    let schema = schema();
    let mut met = BTreeMap::new();
    assert_described(&loaded.document, &schema, &schema, "", &mut met);

    // And the other way round: the full document has every key there is.
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        for key in definition["properties"].as_object().unwrap().keys() {
            let path = format!("#/$defs/{name}/{key}");
            let exempt = ["FileReference/file", "Config/include"];
            assert!(
                met.contains_key(&path) || exempt.iter().any(|end| path.ends_with(end)),
                "tests/full.toml lacks {path}"
            );
        }
    }
}

/// Follows a value and its schema side by side.
fn assert_described(
    value: &Value,
    schema: &Value,
    root: &Value,
    path: &str,
    met: &mut BTreeMap<String, ()>,
) {
    if let Some(target) = schema["$ref"].as_str() {
        let definition = root.pointer(&target[1..]).unwrap();
        for (key, value) in value.as_object().into_iter().flatten() {
            let property = &definition["properties"][key];
            assert!(property.is_object(), "{path}.{key} is not in {target}");
            assert!(property["description"].is_string(), "{target}/{key} has no description");
            met.insert(format!("{target}/{key}"), ());
            assert_described(value, property, root, &format!("{path}.{key}"), met);
        }
        return;
    }
    let options = schema["anyOf"].as_array().map_or(std::slice::from_ref(schema), |all| all);
    for option in options {
        match value {
            Value::Object(keys) if option["additionalProperties"].is_object() => {
                for (key, value) in keys {
                    let item = &option["additionalProperties"];
                    assert_described(value, item, root, &format!("{path}.{key}"), met);
                }
            }
            Value::Object(_)
                if option["$ref"].is_string() && option["$ref"] != "#/$defs/FileReference" =>
            {
                assert_described(value, option, root, path, met);
            }
            Value::Array(items) if option["type"] == "array" => {
                for item in items {
                    assert_described(item, &option["items"], root, path, met);
                }
            }
            _ => {}
        }
    }
}
