//! What a policy found in a request and its response, for logs and metrics.

use super::{Outcome, Waf, guard::Finding};
use http::HeaderMap;
use std::{
    fmt::{self, Write},
    sync::Arc,
};
use tidegate_waf::{Cause, Limit, Match, Transaction};

/// Rules told in an access line, and values told of one rule.
pub(crate) const TOLD: usize = 20;
const VALUES: usize = 3;
/// Bytes told of a value, of the name it has, and of a rule's message.
const VALUE_BYTES: usize = 100;
const NAME_BYTES: usize = 256;
const MESSAGE_BYTES: usize = 512;
/// Rules an audit record tells of.
const AUDITED: usize = 100;

/// What became of a request under a policy.
pub(crate) struct Inspected {
    pub(crate) waf: Arc<Waf>,
    pub(crate) outcome: Outcome,
    /// The check that refused it, or in detect mode would have, before any rule ran.
    pub(crate) check: Option<Finding>,
    /// What decided, or in detect mode would have.
    pub(super) cause: Option<Cause>,
    /// Limits the request went beyond, also where it may.
    pub(super) limits: Vec<Limit>,
    /// The anomaly scores, if the rules keep them.
    pub(super) inbound: Option<u64>,
    pub(super) outbound: Option<u64>,
    /// Every rule that matched.
    pub(crate) ids: Vec<u64>,
    /// The first [`AUDITED`] of them.
    pub(super) matches: Vec<Match>,
    /// Whether the audit log is to have it, and what it then tells of the request's head.
    pub(super) audited: bool,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Inspected {
    pub(super) fn new(
        waf: &Arc<Waf>,
        outcome: Outcome,
        cause: Option<Cause>,
        transaction: &Transaction<'_>,
    ) -> Self {
        let scores = transaction.scores();
        let matches = transaction.matches();
        // `noauditlog`: no reason for a record, but part of one.
        let limits = transaction.limits_hit().to_vec();
        let wanted = outcome != Outcome::Passed
            || !limits.is_empty()
            || matches.iter().any(|found| found.audit);
        let audited = wanted && waf.audits && transaction.is_audited();
        let told = transaction.told_headers().filter(|_| audited);
        Self {
            waf: Arc::clone(waf),
            outcome,
            check: None,
            cause,
            limits,
            inbound: scores.inbound,
            outbound: scores.outbound,
            ids: matches.iter().map(|found| found.id).collect(),
            matches: matches.iter().take(AUDITED).cloned().collect(),
            audited,
            headers: told.map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect(),
        }
    }

    /// What the checks came to, before any rule ran.
    pub(super) fn checked(
        waf: &Arc<Waf>,
        outcome: Outcome,
        check: Option<Finding>,
        headers: &HeaderMap,
    ) -> Self {
        let audited = check.is_some() && waf.audits;
        let told = headers.iter().filter(|_| audited);
        let told = told.map(|(name, value)| {
            (name.as_str().as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
        });
        Self {
            waf: Arc::clone(waf),
            outcome,
            check,
            cause: None,
            limits: Vec::new(),
            inbound: None,
            outbound: None,
            ids: Vec::new(),
            matches: Vec::new(),
            audited,
            headers: told.collect(),
        }
    }

    /// Whether there is something to tell.
    pub(crate) fn is_notable(&self) -> bool {
        !self.ids.is_empty() || !self.limits.is_empty() || self.outcome != Outcome::Passed
    }

    /// Counts the request; once, at its end.
    pub(crate) fn count(&self) {
        self.waf.counts.count(self.outcome, &self.ids, &self.limits);
    }
}

/// The access line's object: everything in it is ASCII and escaped.
impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"policy\":\"{}\",\"outcome\":\"{}\"", self.waf.name, self.outcome.word())?;
        write!(f, "{},\"rules\":[", Decision(self))?;
        for (at, found) in self.matches.iter().take(TOLD).enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{{\"id\":{},\"phase\":{}", found.id, found.phase)?;
            write!(f, ",\"message\":{}", Quoted(&found.message, MESSAGE_BYTES))?;
            if let Some(severity) = found.severity {
                write!(f, ",\"severity\":{severity}")?;
            }
            write!(f, "{}}}", Values(found, VALUES))?;
        }
        f.write_str("]}")
    }
}

/// What decided, limits and scores: members of a JSON object, each behind a comma.
pub(super) struct Decision<'a>(pub(super) &'a Inspected);

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(inspected) = self;
        match (&inspected.check, inspected.cause) {
            (Some(finding), _) => {
                write!(f, ",\"decided_by\":{{\"check\":\"{}\"", finding.check.word())?;
                for (kind, value) in &finding.by {
                    write!(f, ",\"{kind}\":{}", Quoted(value, VALUE_BYTES))?;
                }
                f.write_char('}')?;
            }
            (None, Some(Cause::Rule(id))) => write!(f, ",\"decided_by\":{{\"rule\":{id}}}")?,
            (None, Some(Cause::Limit(limit))) => {
                write!(f, ",\"decided_by\":{{\"limit\":\"{}\"}}", limit.word())?;
            }
            (None, None) => {}
        }
        if !inspected.limits.is_empty() {
            let limits: Vec<_> = inspected.limits.iter().map(|limit| limit.word()).collect();
            write!(f, ",\"limits\":[\"{}\"]", limits.join("\",\""))?;
        }
        if let Some(score) = inspected.inbound {
            write!(f, ",\"score\":{score}")?;
        }
        if let Some(score) = inspected.outbound.filter(|&score| score > 0) {
            write!(f, ",\"outbound_score\":{score}")?;
        }
        Ok(())
    }
}

/// A match with everything that is known of it, for the audit log.
pub(super) struct Whole<'a>(pub(super) &'a Match);

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(found) = self;
        write!(f, "{{\"id\":{},\"phase\":{}", found.id, found.phase)?;
        write!(f, ",\"message\":{}", Quoted(&found.message, MESSAGE_BYTES))?;
        if !found.data.is_empty() {
            write!(f, ",\"data\":{}", Quoted(&found.data, MESSAGE_BYTES))?;
        }
        if let Some(severity) = found.severity {
            write!(f, ",\"severity\":{severity}")?;
        }
        write!(f, ",\"score\":{},\"tags\":[", found.score)?;
        for (at, tag) in found.tags.iter().enumerate() {
            write!(f, "{}{}", if at > 0 { "," } else { "" }, Quoted(tag, VALUE_BYTES))?;
        }
        write!(f, "]{}}}", Values(found, usize::MAX))
    }
}

/// The first so many values of a match: the last members of a JSON object.
struct Values<'a>(&'a Match, usize);

impl fmt::Display for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(found, most) = *self;
        f.write_str(",\"values\":[")?;
        for (at, value) in found.values.iter().take(most).enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let variable = Quoted(&value.variable, NAME_BYTES);
            let text = Quoted(&value.value, VALUE_BYTES);
            write!(f, "{comma}{{\"variable\":{variable},\"value\":{text}")?;
            let cut = value.cut || value.value.len() > VALUE_BYTES;
            f.write_str(if cut { ",\"cut\":true}" } else { "}" })?;
        }
        let more = found.more || found.values.len() > most;
        f.write_str(if more { "],\"more\":true" } else { "]" })
    }
}

/// So many bytes of a client as a JSON string: printable ASCII, the rest as `\xNN`.
pub(super) struct Quoted<'a>(pub(super) &'a [u8], pub(super) usize);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes, most) = *self;
        f.write_char('"')?;
        for &byte in &bytes[..bytes.len().min(most)] {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\\\x{byte:02x}")?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_forge_what_is_told_of_it() {
        assert_eq!(Quoted(b"a\"b\\c\r\n\xff", 100).to_string(), r#""a\"b\\c\\x0d\\x0a\\xff""#);
    }
}
