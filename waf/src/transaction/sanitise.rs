//! What may not appear in a log in clear.

use super::{
    Transaction,
    store::{Label, Value},
};
use crate::{
    compile::Rule,
    seclang::{Collection, Sanitise},
};

impl Transaction<'_> {
    /// The request's headers as they were told, for an audit record; `None` in place of a value
    /// that a rule wants masked.
    pub fn told_headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.store.list(Collection::RequestHeaders).iter().map(|entry| {
            let name = entry.name.map_or(&b""[..], |name| self.texts.bytes(self.texts.span(name)));
            let masked = self.sanitise.iter().any(|what| {
                matches!(what, Sanitise::RequestHeader(wanted) if name.eq_ignore_ascii_case(wanted))
            });
            let value = self.texts.bytes(self.texts.span(entry.value));
            (name, (!masked).then_some(value))
        })
    }

    /// Whether a matched value is to be masked: its rule says so, or an earlier one did.
    pub(super) fn is_sanitised(&self, rule: &Rule, collection: Collection, value: Value) -> bool {
        let name = match value.name {
            Label::Span(span) => self.texts.bytes(span),
            _ => b"",
        };
        let covers = |what: &Sanitise| match what {
            Sanitise::Matched => false,
            Sanitise::Argument(wanted) => {
                matches!(collection, Collection::Args | Collection::ArgsGet | Collection::ArgsPost)
                    && name.eq_ignore_ascii_case(wanted)
            }
            Sanitise::RequestHeader(wanted) => {
                collection == Collection::RequestHeaders && name.eq_ignore_ascii_case(wanted)
            }
            Sanitise::ResponseHeader(wanted) => {
                collection == Collection::ResponseHeaders && name.eq_ignore_ascii_case(wanted)
            }
        };
        rule.sanitise.contains(&Sanitise::Matched)
            || rule.sanitise.iter().chain(&self.sanitise).any(covers)
    }
}
