use super::Key;
use serde_json::{Map, Value as Json, json};

/// The tables of the document, in the order they are met: what the JSON Schema and the
/// reference are written from.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    tables: Vec<TableDoc>,
    path: Vec<String>,
}

/// A table, as the reference describes it.
#[derive(Debug)]
pub(crate) struct TableDoc {
    pub(crate) name: &'static str,
    pub(crate) doc: String,
    /// Where it stands, such as `listeners.NAME.tls`.
    pub(crate) places: Vec<String>,
    pub(crate) keys: Vec<Key>,
}

/// The `$defs` entry of `{ file = ".." }`.
const FILE: &str = "FileReference";

impl Catalogue {
    /// Visits what stands under `key`.
    pub(crate) fn inside<T>(&mut self, key: &str, visit: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let result = visit(self);
        self.path.pop();
        result
    }

    /// Refers to a table; `keys` is asked when it is met for the first time.
    pub(crate) fn table(
        &mut self,
        name: &'static str,
        doc: String,
        keys: impl FnOnce(&mut Self) -> Vec<Key>,
    ) -> Json {
        let place = self.path.join(".");
        match self.tables.iter_mut().find(|table| table.name == name) {
            Some(known) if known.places.contains(&place) => {}
            Some(known) => known.places.push(place),
            None => {
                // Takes its position before the tables inside it do.
                let index = self.tables.len();
                self.tables.push(TableDoc { name, doc, places: vec![place], keys: Vec::new() });
                self.tables[index].keys = keys(self);
            }
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// Adds a key that no field stands for, before the others.
    pub(crate) fn add_key(&mut self, table: &str, key: Key) {
        if let Some(table) = self.tables.iter_mut().find(|known| known.name == table) {
            table.keys.insert(0, key);
        }
    }

    /// Text, or the table that stands in for it.
    pub(crate) fn text(&self, examples: &[&str]) -> Json {
        let mut string = json!({ "type": "string" });
        if !examples.is_empty() {
            string["examples"] = json!(examples);
        }
        json!({ "anyOf": [string, self.file_reference()] })
    }

    /// One of a few words, or what may stand in for it.
    pub(crate) fn word(&self, words: &[&str]) -> Json {
        let variable = json!({ "type": "string", "pattern": "\\$\\{" });
        json!({ "anyOf": [{ "enum": words }, variable, self.file_reference()] })
    }

    fn file_reference(&self) -> Json {
        json!({ "$ref": format!("#/$defs/{FILE}") })
    }

    /// The tables met.
    pub(crate) fn tables(&self) -> &[TableDoc] {
        &self.tables
    }

    /// The `$defs` of a schema.
    pub(crate) fn definitions(&self) -> Json {
        let mut definitions: Map<_, _> =
            self.tables.iter().map(|table| (table.name.to_owned(), table.schema())).collect();
        definitions.insert(
            FILE.to_owned(),
            json!({
                "type": "object",
                "description": "The content of a file, up to 64 KiB, without its trailing newline.",
                "properties": { "file": { "type": "string" } },
                "required": ["file"],
                "additionalProperties": false,
            }),
        );
        definitions.into()
    }
}

impl TableDoc {
    fn schema(&self) -> Json {
        let properties: Map<_, _> =
            self.keys.iter().map(|key| (key.name.to_owned(), key.schema())).collect();
        let required: Vec<_> =
            self.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
        let mut schema = json!({
            "type": "object",
            "description": self.doc,
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }
}
