use super::{Catalogue, Cx, Shape, Written};
use crate::{Faults, Name, document::Node, nearest::suggest};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// A table whose keys are names chosen by the operator.
pub(crate) fn named<S: Shape>(item: S) -> Named<S> {
    Named { item, least: 0 }
}

/// See [`named`].
pub(crate) struct Named<S> {
    item: S,
    least: usize,
}

impl<S> Named<S> {
    /// At least one entry.
    pub(crate) fn some(self) -> Self {
        Self { least: 1, ..self }
    }
}

impl<S: Shape> Shape for Named<S> {
    type Value = BTreeMap<Name, S::Value>;

    fn expected(&self) -> String {
        "a table of named entries".to_owned()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        let item = catalogue.inside("NAME", |catalogue| self.item.schema(catalogue));
        let mut table = json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$" },
            "additionalProperties": item,
        });
        if self.least > 0 {
            table["minProperties"] = json!(self.least);
        }
        table
    }

    /// Entries with faults are left out, the others kept: what is checked across entries is
    /// then checked on all that can be.
    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<Self::Value> {
        let Some(table) = node.as_table() else {
            cx.unexpected(node, &self.expected());
            return None;
        };
        if table.len() < self.least {
            cx.fault(node.at, "expected at least one entry, found none");
            return None;
        }
        let mut entries = BTreeMap::new();
        for (key, entry) in table {
            let name = key.parse::<Name>();
            let value = cx.inside(key, |cx| {
                if let Err(why) = &name {
                    cx.fault(entry.key_at, why.to_string());
                }
                self.item.read(&entry.node, cx)
            });
            if let (Ok(name), Some(value)) = (name, value) {
                entries.insert(name, value);
            }
        }
        Some(entries)
    }
}

impl<T: Written> Written for BTreeMap<Name, T> {
    fn shape() -> impl Shape<Value = Self> {
        named(T::shape())
    }
}

/// The name of an entry of the top-level table `table`, spoken of as a `kind`.
pub(crate) fn reference(kind: &'static str, table: &'static str) -> Reference {
    Reference { kind, table }
}

/// See [`reference`].
pub(crate) struct Reference {
    kind: &'static str,
    table: &'static str,
}

impl Shape for Reference {
    type Value = Name;

    fn expected(&self) -> String {
        let article = if self.kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        format!("the name of {article} {}", self.kind)
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        let mut schema = Name::shape().schema(catalogue);
        schema["description"] = json!(format!("A key of `[{}]`.", self.table));
        schema
    }

    /// A name that refers to nothing is reported and still returned: the rest of its entry can
    /// be checked.
    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<Name> {
        let text = cx.text(node, || self.expected())?;
        let known = cx.root.get(self.table).and_then(Node::as_table);
        if !known.is_some_and(|known| known.contains_key(&text.value)) {
            let names = known.into_iter().flatten().map(|(name, _)| name.as_str());
            // Ten thousand wrong names need no ten thousand searches.
            let helpful = text.literal && cx.report.count() < Faults::SHOWN;
            let help = helpful
                .then(|| suggest(&text.value, names))
                .flatten()
                .unwrap_or_else(|| format!("declare it under `[{}]`", self.table));
            let message = format!("no {} named {}", self.kind, text.shown);
            cx.fault(node.at, message).help(help);
        }
        text.value.parse().ok()
    }
}
