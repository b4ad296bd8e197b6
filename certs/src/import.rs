//! Certificates that somebody else obtained: served at once, renewed by ACME when they are due.

use crate::{
    Inner,
    certificate::{BadCertificate, Certificate},
    clock::rfc3339,
    event::EventKind,
    held::Held,
    names::{covers, is_public},
    pem,
    state::Issuance,
    stored::{StoredCertificate, certificate_key, encode, retry_key},
    table::Origin,
};
use serde::Serialize;
use std::sync::Arc;
use tidegate_store::{Committed, Op, StoreError};

/// The authority of what was imported: nobody who could be asked, and no reason to order anew.
pub(crate) const IMPORTED: &str = "imported";
/// Names one certificate may have here: each is two writes of one transaction.
const MAX_NAMES: usize = 60;

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The names it is kept for.
    pub names: Vec<String>,
    /// Those among them that no listener has a use for now.
    pub unused: Vec<String>,
    /// Until when it is good (RFC 3339).
    pub not_after: String,
}

/// Why a certificate cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is not one, or the key is not its own.
    #[error("{0}")]
    Bad(String),
    /// It has ended, or names nothing or too much.
    #[error("{0}")]
    Useless(String),
    /// The store refused; nothing was imported.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<BadCertificate> for ImportError {
    fn from(bad: BadCertificate) -> Self {
        let what = if bad.is_about_key() { "key" } else { "chain" };
        Self::Bad(format!("the {what} {bad}"))
    }
}

pub(crate) async fn import(inner: &Inner, chain: &str, key: &str) -> Result<Imported, ImportError> {
    let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes())?;
    let (now, not_after) = (inner.clock.now(), certificate.not_after);
    let ended = rfc3339(not_after);
    if not_after <= now {
        return Err(ImportError::Useless(format!("the certificate ended {ended}")));
    }
    let mut names = certificate.names.clone();
    // Others are not had by ACME; they become keys and names of files.
    names.retain(|name| is_public(name.strip_prefix("*.").unwrap_or(name)));
    if names.is_empty() || names.len() > MAX_NAMES {
        let count = names.len();
        let what = format!("the certificate has {count} host names; expected 1 to {MAX_NAMES}");
        return Err(ImportError::Useless(what));
    }
    let stored = StoredCertificate {
        authority: IMPORTED.to_owned(),
        chain: pem::chain(&certificate.key.cert),
        key: pem::key(key)?,
        issued: Some(now.unix_timestamp()),
    };
    let value = encode(&stored);
    let mut ops = Vec::new();
    for name in &names {
        ops.push(Op::Put { key: certificate_key(Origin::Acme, name), value: value.clone() });
        ops.push(Op::Delete { key: retry_key(name) });
    }
    let held = match inner.store.txn(vec![], ops).await? {
        Committed::Yes(revision) => Held::stored(certificate, revision),
        Committed::No => unreachable!("nothing was compared"),
    };
    let fresh: Vec<_> =
        names.iter().map(|name| (Origin::Acme, name.clone(), Arc::clone(&held))).collect();
    inner.managed.replace(&fresh);
    let mut unused = Vec::new();
    {
        let mut state = inner.state.lock();
        for name in &names {
            state.attempts.remove(name);
            state.issued.insert(name.clone(), Issuance::of(&stored));
        }
        let wanted: Vec<_> = state.ordered(now).collect();
        let of_use = |name: &String| wanted.iter().any(|wanted| covers(name, wanted));
        unused.extend(names.iter().filter(|name| !of_use(name)).cloned());
    }
    let text = format!("until {}", rfc3339(not_after));
    inner.events.tell(EventKind::Imported, &names.join(", "), text);
    inner.wake.notify_one();
    Ok(Imported { names, unused, not_after: rfc3339(not_after) })
}
