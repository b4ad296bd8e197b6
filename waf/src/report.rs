//! What a transaction tells: verdicts and matches.

use std::fmt;

/// What is to happen to the request or response.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Verdict {
    /// It goes on.
    #[default]
    Pass,
    /// It is answered with this status.
    Deny {
        /// The status the rule or limit asks for.
        status: u16,
        /// Why.
        cause: Cause,
    },
    /// The connection is to be closed without an answer.
    Drop {
        /// Why.
        cause: Cause,
    },
    /// The client is sent elsewhere.
    Redirect {
        /// The status of the redirect.
        status: u16,
        /// The value of `Location`.
        location: Vec<u8>,
        /// Why.
        cause: Cause,
    },
}

impl Verdict {
    /// The status of the answer, if there is one of ours.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Pass => None,
            Self::Deny { status, .. } | Self::Redirect { status, .. } => Some(*status),
            // For a log; the client sees a closed connection.
            Self::Drop { .. } => Some(403),
        }
    }

    /// What brought it about, unless the request goes on.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        match self {
            Self::Pass => None,
            Self::Deny { cause, .. } | Self::Drop { cause } | Self::Redirect { cause, .. } => {
                Some(*cause)
            }
        }
    }

    /// Whether the request goes on.
    #[must_use]
    pub const fn is_pass(&self) -> bool {
        matches!(self, Self::Pass)
    }
}

/// What brought a verdict about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The rule with this id.
    Rule(u64),
    /// A budget of the policy.
    Limit(Limit),
}

/// The anomaly scores of the Core Rule Set; `None` where the rules keep none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scores {
    /// The request's.
    pub inbound: Option<u64>,
    /// The response's.
    pub outbound: Option<u64>,
}

/// The budgets of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Bytes of a request body without files.
    Body,
    /// Bytes of a request body with files.
    BodyWithFiles,
    /// Bytes of a response body.
    ResponseBody,
    /// Arguments.
    Arguments,
    /// Nesting of a structured body.
    Depth,
    /// Parts of a multipart body.
    Parts,
    /// No limit: a body that cannot be read to its end.
    Malformed,
    /// Work, counted in bytes looked at.
    Work,
    /// What the host has for holding bodies and looking at them is used up.
    Held,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Body,
        Self::BodyWithFiles,
        Self::ResponseBody,
        Self::Arguments,
        Self::Depth,
        Self::Parts,
        Self::Malformed,
        Self::Work,
        Self::Held,
    ];

    /// A word for logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::BodyWithFiles => "upload",
            Self::ResponseBody => "response",
            Self::Arguments => "arguments",
            Self::Depth => "depth",
            Self::Parts => "parts",
            Self::Malformed => "malformed",
            Self::Work => "work",
            Self::Held => "held",
        }
    }
}

/// A rule that matched and is to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The rule's id.
    pub id: u64,
    /// The phase, from 1 to 5.
    pub phase: u8,
    /// The expanded message.
    pub message: Vec<u8>,
    /// The expanded `logdata`, with what is to be sanitised masked.
    pub data: Vec<u8>,
    /// From 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// The rule's tags.
    pub tags: Vec<Vec<u8>>,
    /// `ver`.
    pub version: Vec<u8>,
    /// What the rule added to anomaly scores.
    pub score: i64,
    /// Whether the audit log is to have it.
    pub audit: bool,
    /// The values that matched, the first few.
    pub values: Vec<MatchedValue>,
    /// Whether more values matched than those.
    pub more: bool,
    /// Where the rule stands.
    pub at: crate::Position,
}

/// A value that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedValue {
    /// `ARGS:name`, as rules call it.
    pub variable: Vec<u8>,
    /// Its beginning as the operator saw it, transformed; masked if it is to be sanitised.
    pub value: Vec<u8>,
    /// Whether it was longer.
    pub cut: bool,
}

/// Shows bytes of a client on one line of printable ASCII.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", byte as char)?,
                b' '..=b'~' => write!(f, "{}", byte as char)?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_bytes_cannot_break_a_log_line() {
        assert_eq!(Escaped(b"a\"\r\n\xff\\").to_string(), r#"a\"\x0d\x0a\xff\\"#);
    }
}
