//! What a listener answers a ClientHello with.

use crate::{
    challenges::Challenges,
    held::{FileIndex, Held, Served, choose},
    names,
    policy::{ACME_TLS, Policy},
    table::{Managed, Origin},
};
use arc_swap::ArcSwap;
use rustls::{ServerConfig, SignatureScheme, server::ClientHello};
use std::sync::Arc;
use tidegate_config::{Protocols, Tls};

/// A TLS listener's certificates and policy. Shared with the connections of the listener;
/// renewed certificates appear in it by themselves.
#[derive(Debug)]
pub struct ListenerTls {
    settings: Tls,
    pub(crate) policy: Arc<Policy>,
    files: ArcSwap<FileIndex>,
    managed: Arc<Managed>,
    challenges: Arc<Challenges>,
}

/// The answer to a ClientHello.
#[derive(Debug)]
pub enum Selected {
    /// Go on with this configuration; `served` goes with the connection for
    /// [`ListenerTls::allows`].
    Serve {
        /// Shows the certificate chosen.
        config: Arc<ServerConfig>,
        /// What the certificate covers.
        served: Arc<Served>,
    },
    /// A CA validates a TLS-ALPN-01 challenge: finish the handshake and close.
    Challenge(Arc<ServerConfig>),
    /// No certificate answers this name: send the alert `unrecognized_name`.
    UnrecognizedName,
}

impl ListenerTls {
    pub(crate) fn new(
        settings: Tls,
        policy: Arc<Policy>,
        files: FileIndex,
        managed: Arc<Managed>,
        challenges: Arc<Challenges>,
    ) -> Self {
        Self { settings, policy, files: ArcSwap::from_pointee(files), managed, challenges }
    }

    /// Called with the ClientHello by the acceptor, before anything is sent. Takes no locks.
    pub fn select(&self, hello: &ClientHello<'_>) -> Selected {
        let name = hello.server_name().map(names::lower);
        // Only when it is the one protocol offered (RFC 8737 section 3).
        if hello
            .alpn()
            .is_some_and(|mut offered| offered.next() == Some(ACME_TLS) && offered.next().is_none())
        {
            let challenge = name.and_then(|name| self.challenges.tls_alpn(&name));
            return challenge.map_or(Selected::UnrecognizedName, Selected::Challenge);
        }
        match self.find(name.as_deref(), hello.signature_schemes()) {
            Some(held) => Selected::Serve {
                config: held.config(&self.policy),
                served: Arc::clone(&held.served),
            },
            None => Selected::UnrecognizedName,
        }
    }

    /// Whether a request for `host` (lower case, no port) may be answered on a connection that
    /// was served with `served`; if not, the answer is 421. All names of a listener share one
    /// policy, so the certificate decides.
    pub fn allows(&self, served: &Served, host: &str) -> bool {
        served.covers(host)
    }

    /// Files first, then managed certificates, then the default.
    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<Held>> {
        let default = self.settings.default.as_deref();
        name.and_then(|name| self.find_name(name, schemes))
            .or_else(|| default.and_then(|name| self.find_name(name, schemes)))
    }

    fn find_name(&self, name: &str, schemes: &[SignatureScheme]) -> Option<Arc<Held>> {
        if let Some(held) = self.files.load().find(name) {
            return choose(held, schemes).cloned();
        }
        let origin = Origin::of(name, self.settings.issuer);
        self.managed.load().of(origin).find(name).cloned()
    }

    /// Whether the listener was made for these settings.
    pub(crate) fn is_for(&self, settings: &Tls, protocols: Protocols) -> bool {
        self.settings == *settings && self.policy.terms.protocols == protocols
    }

    /// The pairs of files it serves.
    pub(crate) fn settings(&self) -> &Tls {
        &self.settings
    }

    /// Replaces the certificates from files.
    pub(crate) fn set_files(&self, files: FileIndex) {
        self.files.store(Arc::new(files));
    }
}
