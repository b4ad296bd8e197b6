//! What a policy found in a request, for the access log and whoever reads it.

use super::{Outcome, guard::Finding};
use std::fmt::{self, Write};
use tidegate_config::Name;
use tidegate_waf::Match;

/// Matches told of one request, and values told of one match.
const MATCHES: usize = 20;
const VALUES: usize = 3;
/// Bytes of a value that are told.
const VALUE_BYTES: usize = 100;

/// What is logged of a request in which rules matched or that a check refused.
pub(crate) struct Inspected {
    pub(crate) policy: Name,
    pub(crate) outcome: Outcome,
    /// The check that refused it, or would have.
    pub(crate) check: Option<Finding>,
    /// The inbound anomaly score, if the rules keep one.
    pub(crate) score: Option<u64>,
    pub(crate) matches: Vec<Match>,
}

impl Inspected {
    pub(crate) fn new(
        policy: &Name,
        outcome: Outcome,
        score: Option<u64>,
        matches: &[Match],
    ) -> Self {
        let matches = matches.iter().take(MATCHES).cloned().collect();
        Self { policy: policy.clone(), outcome, check: None, score, matches }
    }

    /// A check decided before any rule ran.
    pub(crate) fn by_check(policy: &Name, outcome: Outcome, finding: Finding) -> Self {
        Self { check: Some(finding), ..Self::new(policy, outcome, None, &[]) }
    }
}

/// As a JSON object: everything in it is ASCII and escaped.
impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"policy\":\"{}\",\"outcome\":\"{}\"", self.policy, self.outcome.word())?;
        if let Some(finding) = &self.check {
            write!(f, ",\"check\":\"{}\",\"by\":{{", finding.check.word())?;
            for (at, (kind, value)) in finding.by.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                write!(f, "{comma}\"{kind}\":{}", Quoted(value))?;
            }
            f.write_str("}")?;
        }
        if let Some(score) = self.score {
            write!(f, ",\"score\":{score}")?;
        }
        f.write_str(",\"rules\":[")?;
        for (at, found) in self.matches.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{{\"id\":{}", found.id)?;
            write!(f, ",\"message\":{}", Quoted(&found.message))?;
            if let Some(severity) = found.severity {
                write!(f, ",\"severity\":{severity}")?;
            }
            f.write_str(",\"values\":[")?;
            for (at, value) in found.values.iter().take(VALUES).enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let (variable, value) = (Quoted(&value.variable), Quoted(&value.value));
                write!(f, "{comma}{{\"variable\":{variable},\"value\":{value}}}")?;
            }
            f.write_str("]}")?;
        }
        f.write_str("]}")
    }
}

/// Bytes of a client as a JSON string: printable ASCII, the rest as `\xNN`.
struct Quoted<'a>(&'a [u8]);

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
