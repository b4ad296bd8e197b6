//! Why an order failed, in words an operator can act on.

use super::client::{WireError, kind};
use crate::{challenges::ChallengeKind, http::HttpError};
use instant_acme::Problem;
use std::time::Duration;

/// A failed attempt.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What happened and what to do.
    pub(crate) text: String,
    /// What else may be tried.
    pub(crate) scope: Scope,
    /// The authority asked to be left alone that long.
    pub(crate) retry_after: Option<Duration>,
}

/// How far a failure reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// This way of proving the name; another may work.
    Challenge,
    /// This name, at this authority: it gave its verdict. Another may issue.
    Name,
    /// This authority; another may work.
    Authority,
    /// The authority does not know our account: register again.
    Account,
    /// The authority does not let our account do this: it may have been deactivated.
    Unauthorized,
    /// Not a failure: it is not this order's turn yet.
    Turn,
    /// Nor this: others try to have an account at this authority. Another one may issue.
    Busy,
    /// Nothing else to try now: the lease was lost or the store fails.
    Node,
}

impl Failure {
    pub(crate) fn new(scope: Scope, text: impl Into<String>) -> Self {
        Self { text: text.into(), scope, retry_after: None }
    }

    /// What a call said; `challenge` is the one being validated, if that is what was done.
    pub(super) fn of(error: &WireError, challenge: Option<ChallengeKind>) -> Self {
        let authority = |text: String| Self::new(Scope::Authority, text);
        match error {
            WireError::Problem { problem, hold } => {
                Self { retry_after: *hold, ..Self::of_problem(problem, challenge) }
            }
            WireError::Status { hold, .. } => {
                Self { retry_after: *hold, ..authority(error.to_string()) }
            }
            WireError::Http(HttpError::Tls { .. }) => {
                authority(format!("{error}: set `ca` if its root is not one the system trusts"))
            }
            WireError::Http(HttpError::Connect { .. } | HttpError::Timeout { .. }) => {
                authority(format!("{error}: may this machine reach it (DNS, firewall)?"))
            }
            WireError::Nonces => authority(format!("{error}: it is tried again")),
            other => authority(other.to_string()),
        }
    }

    pub(crate) fn of_problem(problem: &Problem, challenge: Option<ChallengeKind>) -> Self {
        let kind = kind(problem);
        let scope = match kind {
            "accountDoesNotExist" => Scope::Account,
            "connection" | "dns" | "tls" | "incorrectResponse" => Scope::Challenge,
            "unauthorized" if challenge.is_some() => Scope::Challenge,
            "unauthorized" => Scope::Unauthorized,
            "caa" | "rejectedIdentifier" | "unsupportedIdentifier" => Scope::Name,
            _ => Scope::Authority,
        };
        let says = says(problem);
        Self::new(scope, format!("{says}: {}", advice(kind, challenge)))
    }
}

/// The authority's own words, bounded.
fn says(problem: &Problem) -> String {
    const MAX: usize = 400;
    let mut text = problem.to_string();
    if let Some((end, _)) = text.char_indices().nth(MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn advice(kind: &str, challenge: Option<ChallengeKind>) -> String {
    let port = match challenge {
        Some(ChallengeKind::Http01) => "port 80",
        Some(ChallengeKind::TlsAlpn01) => "port 443",
        Some(ChallengeKind::Dns01) => return advice_on_record(kind).to_owned(),
        None => "ports 80 and 443",
    };
    match kind {
        "dns" => "check that the name has an A or AAAA record that the world can see".to_owned(),
        "connection" | "tls" => {
            format!("check that {port} of the name's address reaches this node from outside")
        }
        "unauthorized" | "incorrectResponse" if challenge.is_some() => format!(
            "something else answers on {port} of the name's address; check its A and AAAA records \
             and proxies in front"
        ),
        "unauthorized" => "the account may not do this: see the authority's words".to_owned(),
        "caa" => "the name's CAA record excludes this authority; add it there".to_owned(),
        "rateLimited" => "the authority limits orders; wait, nothing is lost".to_owned(),
        "rejectedIdentifier" | "unsupportedIdentifier" | "malformed" => {
            "this authority does not issue for the name; remove it, give a certificate file, or set \
             `issuer = \"internal\"`"
                .to_owned()
        }
        "externalAccountRequired" => {
            "the authority wants an external account: set `eab` of the issuer".to_owned()
        }
        "userActionRequired" => "the authority wants the account's owner to act; see its words".to_owned(),
        "invalidContact" | "unsupportedContact" => "correct `email` in `[acme]`".to_owned(),
        "invalidProfile" => "correct `profile` of the issuer".to_owned(),
        "accountDoesNotExist" => "the account is registered anew".to_owned(),
        _ => "it is tried again".to_owned(),
    }
}

/// What to do where a record was looked for and published before.
fn advice_on_record(kind: &str) -> &'static str {
    match kind {
        "dns" | "connection" => "check that the world can reach the name servers of the zone",
        "unauthorized" | "incorrectResponse" => {
            "the authority saw other TXT records; check that all name servers of the zone show the \
             same, and `propagation` of the DNS provider"
        }
        "caa" => "the name's CAA record excludes this authority; add it there",
        "rateLimited" => "the authority limits orders; wait, nothing is lost",
        _ => "it is tried again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str) -> Problem {
        let json = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"why"}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_problem_becomes_its_scope_and_an_advice() {
        let of = |kind, challenge| Failure::of_problem(&problem(kind), challenge);
        let http = Some(ChallengeKind::Http01);
        let refused = of("connection", http);
        assert_eq!(refused.scope, Scope::Challenge);
        assert!(refused.text.contains("why") && refused.text.contains("port 80"), "{refused:?}");
        assert_eq!(of("rateLimited", http).scope, Scope::Authority);
        assert_eq!(of("unauthorized", None).scope, Scope::Unauthorized);
        assert_eq!(of("accountDoesNotExist", None).scope, Scope::Account);
    }
}
