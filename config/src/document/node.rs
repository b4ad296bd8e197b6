use super::Span;
use std::collections::BTreeMap;

/// A value of the document and where it is written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Span,
    pub(crate) value: Value,
}

/// What TOML can say. Strings are as written: references are expanded where they are read.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    /// The number's text: decimals are read exactly.
    Float(String),
    Boolean(bool),
    /// No key takes a date; kept to say so.
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// A key of a table, with the value it holds.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key_at: Span,
    pub(crate) node: Node,
}

pub(crate) type Table = BTreeMap<String, Entry>;

impl Node {
    /// A table without keys.
    pub(crate) fn empty(at: Span) -> Self {
        Self { at, value: Value::Table(Table::new()) }
    }

    /// A value that stands in no file, such as a default.
    pub(crate) fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let entry = |node| Entry { key_at: Span::NOWHERE, node };
        let value = match json {
            Json::Null => Value::Table(Table::new()),
            Json::Bool(value) => Value::Boolean(*value),
            Json::Number(number) => match number.as_i64() {
                Some(integer) => Value::Integer(integer),
                None => Value::Float(number.to_string()),
            },
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => Value::Array(items.iter().map(Self::from_json).collect()),
            Json::Object(keys) => Value::Table(
                keys.iter()
                    .map(|(key, json)| (key.clone(), entry(Self::from_json(json))))
                    .collect(),
            ),
        };
        Self { at: Span::NOWHERE, value }
    }

    /// This value as JSON, `***` in the place of each value for which `hide` says so.
    pub(crate) fn to_json(&self, hide: &dyn Fn(Span) -> bool) -> serde_json::Value {
        use serde_json::Value as Json;
        if hide(self.at) {
            return Json::from("***");
        }
        match &self.value {
            Value::Text(text) | Value::Datetime(text) => Json::from(text.as_str()),
            Value::Integer(integer) => Json::from(*integer),
            Value::Float(text) => {
                text.parse::<f64>().map_or_else(|_| Json::from(&**text), Json::from)
            }
            Value::Boolean(value) => Json::from(*value),
            Value::Array(items) => items.iter().map(|item| item.to_json(hide)).collect(),
            Value::Table(table) => table
                .iter()
                .map(|(key, entry)| (key.clone(), entry.node.to_json(hide)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// The table this is, if it is one.
    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The value of `key`, if this is a table that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        Some(&self.as_table()?.get(key)?.node)
    }

    /// The value at the end of a path of keys; `[2]` is an index into an array.
    pub(crate) fn find<S: AsRef<str>>(&self, path: &[S]) -> Option<&Node> {
        path.iter().try_fold(self, |node, step| match (&node.value, step.as_ref()) {
            (Value::Array(items), step) => {
                items.get(step.strip_prefix('[')?.strip_suffix(']')?.parse::<usize>().ok()?)
            }
            (_, key) => node.get(key),
        })
    }

    /// The path in `{ file = "path" }`, if this is such a reference.
    pub(crate) fn as_file_reference(&self) -> Option<&Node> {
        let table = self.as_table()?;
        (table.len() == 1).then(|| table.get("file"))?.map(|entry| &entry.node)
    }

    /// Visits every value inside this one, itself included, that is neither table nor array.
    pub(crate) fn scalars(&self, visit: &mut dyn FnMut(&Self)) {
        match &self.value {
            Value::Array(items) => items.iter().for_each(|item| item.scalars(visit)),
            Value::Table(table) => table.values().for_each(|entry| entry.node.scalars(visit)),
            _ => visit(self),
        }
    }

    /// Lays `over` on top of this value: tables merge key by key, anything else is replaced.
    pub(crate) fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(base), Value::Table(over)) => {
                for (key, entry) in over {
                    match base.get_mut(&key) {
                        Some(below) => below.node.merge(entry.node),
                        None => {
                            base.insert(key, entry);
                        }
                    }
                }
            }
            (_, value) => *self = Self { at: over.at, value },
        }
    }

    /// What a reader would call this, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Text(text) => format!("`{}`", shorten(text)),
            Value::Integer(integer) => format!("the integer `{integer}`"),
            Value::Float(text) => format!("the number `{text}`"),
            Value::Boolean(value) => format!("`{value}`"),
            Value::Datetime(text) => format!("the date `{text}`"),
            Value::Array(_) => "an array".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        }
    }
}

/// Keeps messages readable when a value is long or has line breaks.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    // `escape_debug` is meant for quoted text; between backticks quotes are plain.
    shown.replace("\\'", "'").replace("\\\"", "\"").replace("\\\\", "\\")
}
