use super::{Cx, Shape};
use crate::{
    document::{Entry, Node, Span},
    later,
    nearest::suggest,
    report::Note,
};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Reads the keys of one table and knows which there are.
pub(crate) struct Reader<'n, 'c, 'a> {
    table: &'n BTreeMap<String, Entry>,
    at: Span,
    known: Vec<&'static str>,
    whole: bool,
    pub(crate) cx: &'c mut Cx<'a>,
}

impl<'n, 'c, 'a> Reader<'n, 'c, 'a> {
    pub(crate) fn new(table: &'n BTreeMap<String, Entry>, at: Span, cx: &'c mut Cx<'a>) -> Self {
        Self { table, at, known: Vec::new(), whole: true, cx }
    }

    /// The value of `key`, if it is there.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<&'n Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.get(key).map(|entry| &entry.node)
    }

    /// Reads `key`, or takes its default.
    pub(crate) fn field<S: Shape>(
        &mut self,
        key: &'static str,
        default: Option<Json>,
        shape: &S,
    ) -> Option<S::Value> {
        let required = default.is_none() && shape.absent().is_none();
        if let Some(node) = self.get(key) {
            let value = self.cx.inside(key, |cx| shape.read(node, cx));
            if value.is_some() {
                return value;
            }
            self.whole = false;
        } else if required {
            self.fault_at(None, format!("`{key}` is missing: expected {}", shape.expected()));
            return None;
        }
        match default {
            Some(json) => shape.read(&Node::from_json(&json), self.cx),
            None => shape.absent(),
        }
    }

    /// Reports a fault at a key's value, or at the table as a whole.
    pub(crate) fn fault_at(
        &mut self,
        key: Option<&'static str>,
        message: impl Into<String>,
    ) -> &mut Note {
        self.whole = false;
        let node = key.and_then(|key| self.table.get(key)).map(|entry| &entry.node);
        let at = node.map_or(self.at, |node| node.at);
        match key {
            Some(key) => {
                let path = self.cx.inside(key, |cx| cx.path());
                self.cx.report.fault(at, &path, message)
            }
            None => self.cx.fault(at, message),
        }
    }

    /// Reports a fault at one of the values in the array `key`.
    pub(crate) fn fault_in(
        &mut self,
        key: &'static str,
        index: usize,
        message: impl Into<String>,
    ) -> &mut Note {
        self.whole = false;
        let step = format!("[{index}]");
        let node = self.table.get(key).map(|entry| &entry.node);
        let at = node.and_then(|node| node.find(&[&step])).map_or(self.at, |node| node.at);
        let path = self.cx.inside(key, |cx| cx.inside(&step, |cx| cx.path()));
        self.cx.report.fault(at, &path, message)
    }

    /// Which of `keys` are there; each becomes known.
    pub(crate) fn present(&mut self, keys: &[&'static str]) -> Vec<&'static str> {
        keys.iter().copied().filter(|key| self.get(key).is_some()).collect()
    }

    /// The one of `keys` that is there; a fault unless it is exactly one.
    pub(crate) fn one_of(&mut self, keys: &[&'static str]) -> Option<&'static str> {
        let all = || keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        match self.present(keys)[..] {
            [key] => Some(key),
            [] => {
                self.fault_at(None, format!("expected exactly one of {}, found none", all()));
                None
            }
            [first, second, ..] => {
                let message = format!("`{first}` and `{second}` exclude each other");
                self.fault_at(Some(second), message).help(format!("keep exactly one of {}", all()));
                None
            }
        }
    }

    /// Reports each key that no shape asked for, and says whether everything could be read.
    pub(crate) fn finish(mut self) -> bool {
        for (key, entry) in self.table {
            if self.known.contains(&key.as_str()) {
                continue;
            }
            // A misspelt key may hold a secret.
            entry.node.scalars(&mut |scalar| self.cx.report.hide(scalar.at));
            self.whole = false;
            let help = later::key(key).or_else(|| suggest(key, self.known.iter().copied()));
            self.cx.inside(key, |cx| {
                let note = cx.fault(entry.key_at, "unknown key");
                if let Some(help) = help {
                    note.help(help);
                }
            });
        }
        self.whole
    }
}
