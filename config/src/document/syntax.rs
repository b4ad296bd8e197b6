//! TOML text to [`Node`]s, every syntax fault reported.

use super::{Entry, Files, Node, Span, Value, node::Table};
use crate::report::Report;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Tables and arrays inside each other; the document needs seven.
const MAX_DEPTH: usize = 64;

/// Reads a configuration file. After a fault what could be read is still returned.
pub(crate) fn parse(files: &Files, file: usize, report: &mut Report) -> Node {
    let (root, errors) = DeTable::parse_recoverable(files.text(file));
    let convert = &mut Convert { file, report };
    for error in errors {
        let span = error.span().unwrap_or_default();
        let mut message = error.message().to_owned();
        // Messages are fragments; the parser capitalises a few of its own.
        if let Some(first) = message.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        convert.report.fault(convert.at(&span), "", message).is_syntax();
    }
    let value = Value::Table(convert.table(root.into_inner(), 0));
    Node { at: Span { file, start: 0, end: 0 }, value }
}

struct Convert<'a> {
    file: usize,
    report: &'a mut Report,
}

impl Convert<'_> {
    fn at(&self, span: &std::ops::Range<usize>) -> Span {
        Span { file: self.file, start: span.start, end: span.end }
    }

    fn table(&mut self, table: DeTable<'_>, depth: usize) -> Table {
        table
            .into_iter()
            .filter_map(|(key, value)| {
                let entry =
                    Entry { key_at: self.at(&key.span()), node: self.node(value, depth + 1)? };
                Some((key.into_inner().into_owned(), entry))
            })
            .collect()
    }

    fn node(&mut self, spanned: Spanned<DeValue<'_>>, depth: usize) -> Option<Node> {
        let at = self.at(&spanned.span());
        if depth > MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            self.report.fault(at, "", message).is_syntax();
            return None;
        }
        let value = match spanned.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(integer) => {
                match i64::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(integer) => Value::Integer(integer),
                    Err(_) => {
                        let message = format!("the integer `{integer}` is out of range");
                        self.report.fault(at, "", message).is_syntax();
                        return None;
                    }
                }
            }
            DeValue::Float(float) => Value::Float(float.as_str().to_owned()),
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
            DeValue::Array(items) => Value::Array(
                items.into_iter().filter_map(|item| self.node(item, depth + 1)).collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table, depth)),
        };
        Some(Node { at, value })
    }
}
