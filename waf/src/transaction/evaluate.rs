//! One rule against the transaction.

use super::{
    Transaction,
    store::{Label, Value},
    texts::{Span, Text},
};
use crate::{
    compile::{Exclusion, Link, Rule, Watch},
    operator::{Found, Operator, Search, Trace},
    report::MatchedValue,
    seclang::Collection,
};

/// What is remembered of a rule while its links are evaluated.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) values: Vec<MatchedValue>,
    /// Whether more values matched than those in `values`.
    pub(super) more: bool,
    /// Whether any value that matched is to be sanitised, also one past those in `values`.
    pub(super) masked: bool,
    pub(super) score: i64,
}

/// How many matched values a report has, and how much of each.
const VALUES: usize = 8;
const VALUE_BYTES: usize = 256;

/// What a match counts as work: its `setvar`s and macros, about two microseconds.
const MATCH_WORK: u64 = 600;

impl Transaction<'_> {
    /// Whether all links of a rule match. Their `setvar`s are done as each of them does; the
    /// rest of the actions are the caller's.
    pub(super) fn rule(&mut self, rule: &Rule, index: usize, progress: &mut Progress) -> bool {
        for (at, link) in rule.links.iter().enumerate() {
            if at == 0 {
                self.store.all_matched.clear();
            }
            if !self.link(rule, index, link, progress) {
                return false;
            }
        }
        true
    }

    fn link(&mut self, rule: &Rule, index: usize, link: &Link, progress: &mut Progress) -> bool {
        let Some(operator) = &link.operator else {
            progress.score += self.change(&link.changes, rule);
            return true;
        };
        let expected = self.is_expected(link);
        if !expected && !self.checking {
            return false;
        }
        let expanded;
        let argument = match operator.argument() {
            None => &b""[..],
            Some(argument) => match argument.literal() {
                Some(text) => text,
                None => {
                    expanded = self.expand(argument, rule);
                    &expanded
                }
            },
        };
        let compiled;
        let operator = match &**operator {
            Operator::PatternOf(_) => {
                compiled = match self.policy.pattern_of(argument) {
                    Some(pattern) => Operator::Pattern(pattern),
                    None => return false,
                };
                &compiled
            }
            other => other,
        };
        let mut matched = false;
        let mut test =
            Test { rule, index, link, operator, argument, expected, trace: Trace::default() };
        for watch in &*link.watches {
            let values = self.watched(watch);
            for value in &values {
                if self.is_spent() {
                    break;
                }
                if !watch.count && self.is_excluded(&test, watch.collection, *value) {
                    continue;
                }
                matched |= self.value(&mut test, watch.collection, watch.count, *value, progress);
            }
            self.values = values;
        }
        matched
    }

    /// Whether the prefilter thinks that some value may match.
    fn is_expected(&mut self, link: &Link) -> bool {
        match (link.filter, link.group) {
            (Some(bit), Some(group)) if self.filtering => self.group_allows(group, bit),
            _ => true,
        }
    }

    /// The values to look at, in the buffer that is kept for them.
    fn watched(&mut self, watch: &Watch) -> Vec<Value> {
        let mut values = std::mem::take(&mut self.values);
        values.clear();
        let names = &self.policy.rules.names;
        self.store.values(&self.texts, names, watch.collection, &watch.pick, &mut values);
        if watch.count {
            let span = self.texts.push(values.len().to_string().as_bytes());
            values.clear();
            values.push(Value { name: Label::None, span, text: None });
        }
        values
    }

    fn is_excluded(&self, test: &Test<'_>, collection: Collection, value: Value) -> bool {
        if test.link.exclusions.is_empty() && self.removed_targets.is_empty() {
            return false;
        }
        let name = match value.name {
            Label::None => &b""[..],
            Label::Span(span) => self.texts.bytes(span),
            Label::Slot(slot) => self.policy.rules.names.shown(slot),
        };
        let covers = |exclusion: &Exclusion| exclusion.covers(collection, name);
        test.link.exclusions.iter().any(covers)
            || self
                .removed_targets
                .iter()
                .any(|(rules, targets)| rules.contains(test.index) && targets.iter().any(covers))
    }

    /// Tests a value behind the link's transformations, or behind each of them.
    fn value(
        &mut self,
        test: &mut Test<'_>,
        collection: Collection,
        count: bool,
        value: Value,
        progress: &mut Progress,
    ) -> bool {
        let chain = &*self.policy.rules.chains[test.link.chain as usize];
        if chain.is_empty() && (value.text.is_none() || test.link.filter.is_none()) {
            return self.test(test, collection, count, value, None, value.span, progress);
        }
        let mut text = match value.text {
            Some(text) => text,
            None => self.texts.add_span(value.span),
        };
        if !test.link.multi_match {
            let text = self.texts.chain(text, chain);
            return self.test(
                test,
                collection,
                count,
                value,
                Some(text),
                self.texts.span(text),
                progress,
            );
        }
        let span = self.texts.span(text);
        let mut matched = self.test(test, collection, count, value, Some(text), span, progress);
        for &transformation in chain {
            let next = self.texts.step(text, transformation);
            if next != text {
                text = next;
                let span = self.texts.span(text);
                matched |= self.test(test, collection, count, value, Some(text), span, progress);
            }
        }
        matched
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one value, seen before and behind its transformations"
    )]
    fn test(
        &mut self,
        test: &mut Test<'_>,
        collection: Collection,
        count: bool,
        value: Value,
        text: Option<Text>,
        span: Span,
        progress: &mut Progress,
    ) -> bool {
        let mut expected = test.expected;
        if let (Some(bit), Some(text)) = (test.link.filter, text)
            && self.filtering
        {
            let hits = self.texts.hits(text, &self.policy.rules.prefilter);
            if hits[(bit / 64) as usize] & (1 << (bit % 64)) == 0 {
                if !self.checking {
                    return false;
                }
                expected = false;
            }
        }
        let bytes = self.texts.bytes(span);
        self.work += bytes.len() as u64 + 16;
        let search = Search { text: bytes, argument: test.argument, capture: test.link.capture };
        let found = match test.operator {
            Operator::Country => self.locate(span),
            operator => operator.test(&search, &mut test.trace),
        };
        self.work += std::mem::take(&mut test.trace.work);
        let found = match found {
            Found::Yes => true,
            Found::No => false,
            Found::GaveUp => {
                self.gave_up();
                return false;
            }
        };
        if found && !expected {
            self.missed.push(test.rule.id);
        }
        if found == test.link.negated {
            return false;
        }
        if test.link.capture && found {
            self.keep_groups(span, &test.trace.groups);
        }
        self.matched(test, collection, count, value, span, progress);
        true
    }

    /// `@geoLookup`: of all addresses only the client's is looked up, and before the transaction
    /// began; `GEO:COUNTRY_CODE` then has what was found.
    fn locate(&mut self, address: Span) -> Found {
        let client = self.store.list(Collection::RemoteAddr).first().map(|entry| entry.value);
        let is_client = client.is_some_and(|client| {
            self.texts.bytes(self.texts.span(client)) == self.texts.bytes(address)
        });
        let Some(code) = self.country.filter(|_| is_client) else { return Found::No };
        let code = self.texts.push(&code);
        self.store.set_variable(&mut self.texts, Collection::Geo, b"COUNTRY_CODE", Some(code));
        Found::Yes
    }

    /// A value matched: what macros see of it, its `setvar`s, and the report.
    fn matched(
        &mut self,
        test: &Test<'_>,
        collection: Collection,
        count: bool,
        value: Value,
        span: Span,
        progress: &mut Progress,
    ) {
        self.work += MATCH_WORK;
        let name = self.full_name(collection, count, value.name);
        self.store.matched = Some((name, span));
        self.store.all_matched.push((name, span));
        let masked = test.rule.log && self.is_sanitised(test.rule, collection, value);
        progress.masked |= masked;
        if progress.values.len() == VALUES {
            progress.more = true;
        } else if test.rule.log {
            let bytes = self.texts.bytes(span);
            let shown = &bytes[..bytes.len().min(VALUE_BYTES)];
            progress.values.push(MatchedValue {
                variable: self.texts.bytes(name).to_vec(),
                value: if masked { vec![b'*'; shown.len()] } else { shown.to_vec() },
                cut: bytes.len() > VALUE_BYTES,
            });
        }
        progress.score += self.change(&test.link.changes, test.rule);
    }
}

/// A link's operator with its argument, applied to values.
struct Test<'a> {
    rule: &'a Rule,
    index: usize,
    link: &'a Link,
    operator: &'a Operator,
    argument: &'a [u8],
    /// Whether the prefilter allows the link at all; a match that it does not is its fault.
    expected: bool,
    trace: Trace,
}
