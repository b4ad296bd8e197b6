//! What this node shows to upstreams that ask who it is: a certificate of the internal CA, renewed
//! while it runs, and never stored.

use super::{InternalCa, RENEW_AT_PERCENT};
use crate::{clock::after, error::CertsError};
use arc_swap::ArcSwapOption;
use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};
use std::{sync::Arc, time::Duration};
use time::OffsetDateTime;

/// The node's own certificate as a client.
#[derive(Debug)]
pub(crate) struct Identity {
    node: String,
    shown: ArcSwapOption<Shown>,
}

/// A certificate and its end.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) since: OffsetDateTime,
    pub(super) until: OffsetDateTime,
}

impl Shown {
    fn is_due(&self, now: OffsetDateTime) -> bool {
        let life = Duration::try_from(self.until - self.since).unwrap_or_default();
        after(self.since, life / 100 * u32::from(100 - RENEW_AT_PERCENT)) <= now
    }
}

impl Identity {
    pub(crate) fn new(node: &str) -> Arc<Self> {
        Arc::new(Self { node: node.to_owned(), shown: ArcSwapOption::empty() })
    }

    /// Has another certificate made if it is time.
    pub(crate) fn renew(&self, ca: &InternalCa, now: OffsetDateTime) -> Result<(), CertsError> {
        if self.shown.load().as_ref().is_none_or(|shown| shown.is_due(now)) {
            self.shown.store(Some(Arc::new(ca.issue_client(&self.node, now)?)));
        }
        Ok(())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.load_full()?;
        shown.key.key.choose_scheme(schemes).map(|_| Arc::clone(&shown.key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
