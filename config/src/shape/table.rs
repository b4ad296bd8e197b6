use super::{Catalogue, Cx, Reader, Shape};
use crate::document::Node;
use serde_json::Value as Json;
use std::marker::PhantomData;

/// A table with known keys. Declared by the [`table!`] macro, or by hand for keys that do not
/// correspond to one field each.
pub(crate) trait Table: Sized {
    /// Its keys, in the order the reference lists them.
    fn keys(catalogue: &mut Catalogue, keys: &mut Vec<Key>);

    /// Reads it. After a fault in a key that has a default, the default stands in, so that the
    /// other values can be checked; the document is refused all the same.
    fn read(reader: &mut Reader<'_, '_, '_>) -> Option<Self>;
}

/// A key of a table, as schema and reference describe it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) doc: String,
    pub(crate) expected: String,
    pub(crate) required: bool,
    pub(crate) default: Option<Json>,
    pub(crate) shape: Json,
}

impl Key {
    pub(crate) fn new<S: Shape>(
        catalogue: &mut Catalogue,
        name: &'static str,
        doc: String,
        default: Option<Json>,
        shape: &S,
    ) -> Self {
        let required = default.is_none() && shape.absent().is_none();
        let expected = shape.expected();
        let shape = catalogue.inside(name, |catalogue| shape.schema(catalogue));
        Self { name, doc, expected, required, default, shape }
    }

    /// The key's JSON Schema.
    pub(crate) fn schema(&self) -> Json {
        let mut schema = self.shape.clone();
        schema["description"] = Json::from(self.doc.as_str());
        if let Some(default) = &self.default {
            schema["default"] = default.clone();
        }
        schema
    }
}

/// Reads `node` as a table: what could be read, and whether that is all of it.
pub(crate) fn read<T: Table>(node: &Node, expected: &str, cx: &mut Cx<'_>) -> (Option<T>, bool) {
    let Some(table) = node.as_table() else {
        cx.unexpected(node, expected);
        return (None, false);
    };
    let mut reader = Reader::new(table, node.at, cx);
    let value = T::read(&mut reader);
    (value, reader.finish())
}

/// The shape of a [`Table`].
pub(crate) struct TableShape<T> {
    name: &'static str,
    doc: &'static [&'static str],
    table: PhantomData<T>,
}

impl<T: Table> TableShape<T> {
    pub(crate) const fn new(name: &'static str, doc: &'static [&'static str]) -> Self {
        Self { name, doc, table: PhantomData }
    }
}

impl<T: Table> Shape for TableShape<T> {
    type Value = T;

    fn expected(&self) -> String {
        "a table".to_owned()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        catalogue.table(self.name, prose(self.doc), |catalogue| {
            let mut keys = Vec::new();
            T::keys(catalogue, &mut keys);
            keys
        })
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<T> {
        match read(node, &self.expected(), cx) {
            (value, true) => value,
            (_, false) => None,
        }
    }
}

/// The lines of a doc comment as one text.
pub(crate) fn prose(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}
