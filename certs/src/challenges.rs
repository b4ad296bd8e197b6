//! The challenges that are open now, by this process or by another one that shares the store:
//! whichever of them a CA's validator reaches has to answer.

use crate::{clock::Clock, policy::challenge_config};
use arc_swap::ArcSwap;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fmt, sync::Arc};
use time::OffsetDateTime;

/// Challenges known at once; more than one node ever opens.
const MAX_OPEN: usize = 256;

/// Of dry runs among them; what is to be proved in earnest finds room.
const MAX_PROBES: usize = MAX_OPEN / 2;

/// What tokens of our own dry runs begin with; authorities' are random.
pub(crate) const PROBE: &str = "probe_";

/// Which way a CA looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ChallengeKind {
    /// A file over plain HTTP, port 80.
    #[serde(rename = "http-01")]
    Http01,
    /// A certificate over TLS, port 443.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// A TXT record in the name's zone; never among those that are open here.
    #[serde(rename = "dns-01")]
    Dns01,
}

/// An open challenge as kept in the store under `acme/challenges/<token>`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Challenge {
    pub(crate) kind: ChallengeKind,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) key_authorization: String,
    /// Unix seconds.
    pub(crate) expires: i64,
}

/// The table of open challenges.
#[derive(Debug)]
pub(crate) struct Challenges {
    open: ArcSwap<HashMap<Box<str>, Arc<Open>>>,
    clock: Clock,
}

#[derive(Debug)]
struct Open {
    challenge: Challenge,
    /// For `tls-alpn-01`: shows the challenge certificate.
    config: Option<Arc<ServerConfig>>,
}

impl Challenges {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { open: ArcSwap::default(), clock }
    }

    /// Answers `challenge` from now on, replacing one with the same token.
    pub(crate) fn open(&self, challenge: Challenge) -> Result<(), String> {
        if self.open.load().get(&*challenge.token).is_some_and(|known| known.is(&challenge)) {
            return Ok(());
        }
        let config = match challenge.kind {
            ChallengeKind::Http01 | ChallengeKind::Dns01 => None,
            ChallengeKind::TlsAlpn01 => Some(challenge_certificate(&challenge)?),
        };
        let token: Box<str> = challenge.token.as_str().into();
        let open = Arc::new(Open { challenge, config });
        let now = self.clock.now();
        let mut fits = true;
        self.open.rcu(|table| {
            let mut table = table.as_ref().clone();
            table.retain(|_, open| open.lives(now));
            let probes = table.keys().filter(|token| token.starts_with(PROBE)).count();
            fits = table.len() < MAX_OPEN && (!token.starts_with(PROBE) || probes < MAX_PROBES);
            if fits {
                table.insert(token.clone(), Arc::clone(&open));
            }
            table
        });
        fits.then_some(()).ok_or_else(|| format!("{MAX_OPEN} challenges are open already"))
    }

    /// No longer answers the challenge with `token`.
    pub(crate) fn close(&self, token: &str) {
        self.open.rcu(|table| {
            let mut table = table.as_ref().clone();
            table.remove(token);
            table
        });
    }

    /// The key authorization for an HTTP-01 token.
    pub(crate) fn http(&self, token: &str) -> Option<String> {
        let table = self.open.load();
        let open = table.get(token)?;
        (open.challenge.kind == ChallengeKind::Http01 && open.lives(self.clock.now()))
            .then(|| open.challenge.key_authorization.clone())
    }

    /// The configuration for a TLS-ALPN-01 validation of `name`.
    pub(crate) fn tls_alpn(&self, name: &str) -> Option<Arc<ServerConfig>> {
        let now = self.clock.now();
        let table = self.open.load();
        let of_name = table
            .values()
            .filter(|open| open.config.is_some() && open.challenge.name == name && open.lives(now));
        // An authority's goes before one of a dry run.
        let open = of_name.min_by_key(|open| open.challenge.token.starts_with(PROBE))?;
        open.config.clone()
    }
}

impl Open {
    fn lives(&self, now: OffsetDateTime) -> bool {
        now.unix_timestamp() < self.challenge.expires
    }

    fn is(&self, other: &Challenge) -> bool {
        self.challenge.kind == other.kind
            && self.challenge.key_authorization == other.key_authorization
            && self.challenge.expires == other.expires
    }
}

// A key authorization is no secret to the CA, but nobody else's business.
impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge").field("kind", &self.kind).field("name", &self.name).finish()
    }
}

/// The self-signed certificate of RFC 8737 section 3. Each process makes its own: what counts is
/// the digest in it.
fn challenge_certificate(challenge: &Challenge) -> Result<Arc<ServerConfig>, String> {
    let digest = Sha256::digest(challenge.key_authorization.as_bytes());
    let make = || -> Result<_, rcgen::Error> {
        let mut params = CertificateParams::new(vec![challenge.name.clone()])?;
        params.custom_extensions.push(CustomExtension::new_acme_identifier(&digest));
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?, key))
    };
    let (certificate, key) = make().map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = any_supported_type(&key).map_err(|error| error.to_string())?;
    // `CertifiedKey::from_der` refuses the critical extension.
    let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
    challenge_config(Arc::new(certified)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    fn challenge(kind: ChallengeKind, token: &str) -> Challenge {
        Challenge {
            kind,
            name: "shop.example.com".into(),
            token: token.into(),
            key_authorization: format!("{token}.thumb"),
            expires: 100,
        }
    }

    #[test]
    fn dry_runs_leave_room_for_orders() {
        let clock = Clock::new(|| OffsetDateTime::UNIX_EPOCH);
        let table = Challenges::new(clock);
        let mut opened = 0;
        for count in 0..MAX_OPEN {
            let challenge = challenge(ChallengeKind::Http01, &format!("{PROBE}{count}"));
            opened += usize::from(table.open(challenge).is_ok());
        }
        assert_eq!(opened, MAX_PROBES);
        for count in opened..MAX_OPEN {
            table.open(challenge(ChallengeKind::Http01, &count.to_string())).unwrap();
        }
        let full = table.open(challenge(ChallengeKind::Http01, "one-more"));
        assert!(full.unwrap_err().contains("open already"));
    }

    #[test]
    fn each_kind_answers_its_own_way_until_closed_or_expired() {
        let now = Arc::new(AtomicI64::new(0));
        let reads = Arc::clone(&now);
        let clock = Clock::new(move || {
            OffsetDateTime::from_unix_timestamp(reads.load(Ordering::Relaxed)).unwrap()
        });
        let table = Challenges::new(clock);
        table.open(challenge(ChallengeKind::Http01, "one")).unwrap();
        table.open(challenge(ChallengeKind::TlsAlpn01, "two")).unwrap();
        table.open(challenge(ChallengeKind::TlsAlpn01, "probe_2")).unwrap();
        let first = |table: &Challenges| table.tls_alpn("shop.example.com").unwrap();
        let of_authority = first(&table);
        table.close("probe_2");
        assert!(Arc::ptr_eq(&of_authority, &first(&table)));
        assert_eq!(table.http("one").as_deref(), Some("one.thumb"));
        assert_eq!(table.http("two"), None);
        assert!(table.tls_alpn("shop.example.com").is_some());
        assert!(table.tls_alpn("other.example.com").is_none());
        table.close("two");
        assert!(table.tls_alpn("shop.example.com").is_none());
        now.store(100, Ordering::Relaxed);
        assert_eq!(table.http("one"), None);
    }
}
