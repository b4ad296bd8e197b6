//! What lies in the store, and under which keys.
//!
//! A certificate is one value: chain, key and origin cannot diverge.

use crate::{
    certificate::{BadCertificate, Certificate},
    challenges::ChallengeKind,
    clock::rfc3339,
    table::Origin,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;
use tidegate_store::Op;
use time::OffsetDateTime;

/// The newest form this version reads.
const FORMAT: u32 = 1;

/// Everything about certificates that other processes may want to see at once.
pub(crate) const CERTS: &str = "certs/";
/// Names that are had on demand.
pub(crate) const DEMAND: &str = "certs/demand/";
/// Open challenges.
pub(crate) const CHALLENGES: &str = "acme/challenges/";
/// The internal CA's root, and what signs in its name.
pub(crate) const ROOT: &str = "certs/root";
pub(crate) const INTERMEDIATE: &str = "certs/intermediate";
/// Entries that could not be read, under their old key and when they were found.
pub(crate) const BROKEN: &str = "broken/";

/// Where an entry that could not be read is kept.
pub(crate) fn broken_key(key: &str, now: OffsetDateTime) -> String {
    format!("{BROKEN}{}/{key}", rfc3339(now))
}

/// The key of a certificate.
pub(crate) fn certificate_key(origin: Origin, name: &str) -> String {
    format!("{CERTS}{}/{name}", origin.word())
}

/// The origin and name a certificate's key stands for.
pub(crate) fn parse_certificate_key(key: &str) -> Option<(Origin, &str)> {
    let (word, name) = key.strip_prefix(CERTS)?.split_once('/')?;
    [Origin::Acme, Origin::Internal]
        .into_iter()
        .find(|origin| origin.word() == word)
        .map(|origin| (origin, name))
}

/// The key of a name that is had on demand.
pub(crate) fn demand_key(name: &str) -> String {
    format!("{DEMAND}{name}")
}

/// The key of an open challenge.
pub(crate) fn challenge_key(token: &str) -> String {
    format!("{CHALLENGES}{token}")
}

/// The key of an ACME account.
pub(crate) fn account_key(slug: &str) -> String {
    format!("acme/accounts/{slug}")
}

/// The key of an order that is under way at an issuer.
pub(crate) fn pending_key(issuer: &str, name: &str) -> String {
    format!("acme/pending/{issuer}/{name}")
}

/// The key of what limits orders of an account.
pub(crate) fn throttle_key(slug: &str) -> String {
    format!("acme/throttle/{slug}")
}

/// The key of what an authority says about the renewal of a name's certificate.
pub(crate) fn renewal_key(name: &str) -> String {
    format!("acme/renewal/{name}")
}

/// The key of what is known about failed attempts for a name.
pub(crate) fn retry_key(name: &str) -> String {
    format!("acme/retry/{name}")
}

/// A certificate or CA with its key, in PEM.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoredCertificate {
    /// Who issued: an issuer's name, or the serial number of the internal intermediate.
    pub(crate) authority: String,
    pub(crate) chain: String,
    pub(crate) key: String,
    /// When we got it, in unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issued: Option<i64>,
}

impl StoredCertificate {
    pub(crate) fn read(&self) -> Result<Certificate, BadCertificate> {
        Certificate::from_pem(self.chain.as_bytes(), self.key.as_bytes())
    }
}

impl fmt::Debug for StoredCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCertificate")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

/// An ACME account; `url` is unknown until the CA has answered the registration.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoredAccount {
    pub(crate) directory: String,
    pub(crate) url: Option<String>,
    pub(crate) email: Option<String>,
    /// PKCS #8, in base64.
    pub(crate) key: String,
    /// The key that replaces it: the authority may know one or the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_key: Option<String>,
}

/// An order under way.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoredPending {
    /// The account's URL.
    pub(crate) account: String,
    /// The order's URL, once it is known.
    pub(crate) order: Option<String>,
    /// The certificate's key, in PEM.
    pub(crate) key: String,
    /// Challenges that failed.
    #[serde(default)]
    pub(crate) tried: Vec<ChallengeKind>,
    #[serde(default)]
    pub(crate) profile: Option<String>,
    /// Unix seconds.
    #[serde(default)]
    pub(crate) since: i64,
}

/// What the authority says about the renewal of a certificate (RFC 9773).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRenewal {
    /// The certificate's identifier: what is said of one is no word on the next.
    pub(crate) certificate: String,
    /// The suggested window, in unix seconds.
    pub(crate) window: Option<(i64, i64)>,
    /// The moment in it.
    pub(crate) chosen: Option<i64>,
    /// When to ask again.
    pub(crate) next_check: i64,
    /// It is revoked: nothing else about it matters.
    #[serde(default)]
    pub(crate) revoked: bool,
}

impl StoredRenewal {
    /// Of a certificate that is revoked: nobody is asked about it any more.
    pub(crate) fn revoked(certificate: String) -> Self {
        Self { certificate, window: None, chosen: None, next_check: i64::MAX, revoked: true }
    }
}

/// What limits the orders of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredThrottle {
    /// The theoretical arrival time of the next order, in milliseconds since 1970.
    pub(crate) tat_ms: i64,
    /// The authority wants to be left alone until then, in unix seconds.
    pub(crate) hold_until: i64,
}

/// Failed attempts for a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRetry {
    pub(crate) failures: u32,
    /// Unix seconds.
    pub(crate) next: i64,
    pub(crate) error: String,
    /// Of the `[acme]` settings it failed with: others deserve a new attempt.
    pub(crate) settings: String,
    /// When the first of them failed, in unix seconds.
    #[serde(default)]
    pub(crate) first: Option<i64>,
}

/// The writes that end an order: the certificate, and nothing left of the way to it.
pub(crate) fn issued(name: &str, certificate: &StoredCertificate) -> Vec<Op> {
    vec![
        Op::Put { key: certificate_key(Origin::Acme, name), value: encode(certificate) },
        Op::Delete { key: pending_key(&certificate.authority, name) },
        Op::Delete { key: retry_key(name) },
    ]
}

/// Why a value cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Written by a later version: to be left alone.
    Newer(u32),
    /// Nothing that any version wrote.
    Broken(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(format) => write!(f, "it has the newer form {format}"),
            Self::Broken(cause) => f.write_str(cause),
        }
    }
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: u32,
    value: T,
}

/// A value as bytes for the store.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(&Envelope { format: FORMAT, value })
        .expect("structs of text and numbers are JSON")
}

/// A value out of the store's bytes.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    // The parser's words could quote the value: only where it stopped is told.
    let broken = |error: serde_json::Error| {
        Unreadable::Broken(format!("not readable after byte {}", error.column()))
    };
    let head: Head = serde_json::from_slice(bytes).map_err(broken)?;
    if head.format > FORMAT {
        return Err(Unreadable::Newer(head.format));
    }
    serde_json::from_slice::<Envelope<T>>(bytes).map(|envelope| envelope.value).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_others_are_told_apart() {
        let retry = StoredRetry {
            failures: 2,
            next: 7,
            error: "e".into(),
            settings: "s".into(),
            first: None,
        };
        assert_eq!(decode::<StoredRetry>(&encode(&retry)), Ok(retry));
        let newer = br#"{"format": 9, "value": {}}"#;
        assert_eq!(decode::<StoredRetry>(newer), Err(Unreadable::Newer(9)));
        assert!(matches!(decode::<StoredRetry>(b"\0\0\0"), Err(Unreadable::Broken(_))));
        let other = br#"{"format": 1, "value": {"secret": "x"}}"#;
        let Err(Unreadable::Broken(cause)) = decode::<StoredRetry>(other) else { panic!() };
        assert!(!cause.contains("secret"));
    }

    #[test]
    fn keys_name_origin_and_host() {
        let key = certificate_key(Origin::Internal, "*.localhost");
        assert_eq!(key, "certs/internal/*.localhost");
        assert_eq!(parse_certificate_key(&key), Some((Origin::Internal, "*.localhost")));
        for other in [ROOT, &demand_key("a.example.com")] {
            assert_eq!(parse_certificate_key(other), None);
        }
    }
}
