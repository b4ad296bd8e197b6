//! What a policy found in a request and its response, for logs and metrics.

use super::{Outcome, Waf, guard::Finding};
use http::HeaderMap;
use std::{
    fmt::{self, Write},
    sync::Arc,
};
use tidegate_waf::{Cause, Match, Transaction};

/// Rules told in an access line, and values told of one rule.
pub(crate) const TOLD: usize = 20;
const VALUES: usize = 3;
/// Bytes of a value that are told.
const VALUE_BYTES: usize = 100;
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
        let score = |name| {
            let text = transaction.variable(name)?;
            std::str::from_utf8(text).ok()?.parse().ok()
        };
        let matches = transaction.matches();
        // `noauditlog`: no reason for a record, but part of one.
        let wanted = outcome != Outcome::Passed || matches.iter().any(|found| found.audit);
        let audited = wanted && waf.audits && transaction.is_audited();
        let told = transaction.told_headers().filter(|_| audited);
        Self {
            waf: Arc::clone(waf),
            outcome,
            check: None,
            cause,
            // The Core Rule Set's names since 4.0, and before.
            inbound: score("blocking_inbound_anomaly_score").or_else(|| score("anomaly_score")),
            outbound: score("blocking_outbound_anomaly_score")
                .or_else(|| score("outbound_anomaly_score")),
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
        !self.ids.is_empty() || self.outcome != Outcome::Passed
    }

    /// Counts the request; once, at its end.
    pub(crate) fn count(&self) {
        self.waf.counts.count(self.outcome, &self.ids);
    }
}

/// The access line's object: everything in it is ASCII and escaped.
impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"policy\":\"{}\",\"outcome\":\"{}\"", self.waf.name, self.outcome.word())?;
        if let Some(finding) = &self.check {
            write!(f, ",\"check\":\"{}\",\"by\":{{", finding.check.word())?;
            for (at, (kind, value)) in finding.by.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                write!(f, "{comma}\"{kind}\":{}", Quoted(value))?;
            }
            f.write_char('}')?;
        }
        if let Some(score) = self.inbound {
            write!(f, ",\"score\":{score}")?;
        }
        if let Some(score) = self.outbound.filter(|&score| score > 0) {
            write!(f, ",\"outbound_score\":{score}")?;
        }
        f.write_str(",\"rules\":[")?;
        for (at, found) in self.matches.iter().take(TOLD).enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{{\"id\":{}", found.id)?;
            write!(f, ",\"message\":{}", Quoted(&found.message))?;
            if let Some(severity) = found.severity {
                write!(f, ",\"severity\":{severity}")?;
            }
            write!(f, ",\"values\":{}}}", Values(found))?;
        }
        f.write_str("]}")
    }
}

/// The values of a match as a JSON array.
pub(super) struct Values<'a>(pub(super) &'a Match);

impl fmt::Display for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for (at, value) in self.0.values.iter().take(VALUES).enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let (variable, value) = (Quoted(&value.variable), Quoted(&value.value));
            write!(f, "{comma}{{\"variable\":{variable},\"value\":{value}}}")?;
        }
        f.write_char(']')
    }
}

/// Bytes of a client as a JSON string: printable ASCII, the rest as `\xNN`.
pub(super) struct Quoted<'a>(pub(super) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for &byte in &self.0[..self.0.len().min(VALUE_BYTES)] {
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
        assert_eq!(Quoted(b"a\"b\\c\r\n\xff").to_string(), r#""a\"b\\c\\x0d\\x0a\\xff""#);
    }
}
