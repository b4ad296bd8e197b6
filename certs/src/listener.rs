//! What a listener answers a ClientHello with.

use crate::{
    challenges::Challenges,
    client_auth::ClientAuth,
    held::{FileIndex, Held, choose},
    names,
    on_demand::{Demand, OnDemand},
    policies::Policies,
    policy::ACME_TLS,
    session::Session,
    table::{Managed, Origin},
};
use arc_swap::ArcSwap;
use rustls::{ServerConfig, SignatureScheme, pki_types::UnixTime, server::ClientHello};
use std::sync::Arc;
use tidegate_config::Tls;

/// A TLS listener's certificates and policies. Shared with the connections of the listener;
/// renewed certificates appear in it by themselves.
#[derive(Debug)]
pub struct ListenerTls {
    settings: Tls,
    pub(crate) policies: Policies,
    files: ArcSwap<FileIndex>,
    managed: Arc<Managed>,
    challenges: Arc<Challenges>,
    pub(crate) on_demand: Option<Arc<OnDemand>>,
}

/// The answer to a ClientHello.
#[derive(Debug)]
pub enum Selected {
    /// Go on with this configuration; `session` goes with the connection for
    /// [`ListenerTls::admits`].
    Serve {
        /// Shows the certificate chosen, under the policy of the name.
        config: Arc<ServerConfig>,
        /// To be told when the handshake is over: [`Session::established`].
        session: Session,
    },
    /// A CA validates a TLS-ALPN-01 challenge: finish the handshake and close.
    Challenge(Arc<ServerConfig>),
    /// There may be a certificate soon: wait ([`Demand::settle`]), then select with
    /// [`ListenerTls::select_held`].
    OnDemand(Demand),
    /// No certificate answers this name: send the alert `unrecognized_name`.
    UnrecognizedName,
}

/// Why a request may not be answered on its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Another connection may do (421): the certificate covers another host, or the host is served
    /// under other terms than the connection was made on.
    Misdirected,
    /// Another connection may do (421): this one is older than the need for a client certificate.
    Unauthenticated,
    /// The client's certificate is not accepted any more; why is for the operator.
    Certificate(String),
}

impl ListenerTls {
    pub(crate) fn new(
        settings: Tls,
        policies: Policies,
        files: FileIndex,
        managed: Arc<Managed>,
        challenges: Arc<Challenges>,
        on_demand: Option<Arc<OnDemand>>,
    ) -> Self {
        let files = ArcSwap::from_pointee(files);
        Self { settings, policies, files, managed, challenges, on_demand }
    }

    /// Called with the ClientHello by the acceptor, before anything is sent. Takes no locks.
    pub fn select(&self, hello: &ClientHello<'_>) -> Selected {
        self.answer(hello, self.on_demand.as_ref())
    }

    /// As [`Self::select`], of what there is now: never [`Selected::OnDemand`].
    pub fn select_held(&self, hello: &ClientHello<'_>) -> Selected {
        self.answer(hello, None)
    }

    fn answer(&self, hello: &ClientHello<'_>, on_demand: Option<&Arc<OnDemand>>) -> Selected {
        let name = hello.server_name().map(names::lower);
        // Only when it is the one protocol offered (RFC 8737 section 3).
        if hello
            .alpn()
            .is_some_and(|mut offered| offered.next() == Some(ACME_TLS) && offered.next().is_none())
        {
            let challenge = name.and_then(|name| self.challenges.tls_alpn(&name));
            return challenge.map_or(Selected::UnrecognizedName, Selected::Challenge);
        }
        let find = |name: &str| self.find(name, hello.signature_schemes());
        let chosen = match name.as_deref().and_then(find).zip(name.as_deref()) {
            None => {
                let unknown = name.zip(on_demand);
                if let Some(demand) = unknown.and_then(|(name, here)| here.demand(name)) {
                    return Selected::OnDemand(demand);
                }
                let default = self.settings.default.as_deref();
                default.and_then(find).zip(default.map(str::to_owned))
            }
            Some((held, name)) => Some((held, name.to_owned())),
        };
        let Some((held, name)) = chosen else { return Selected::UnrecognizedName };
        held.note_use();
        let policy = self.policies.find(&name);
        let auth = policy.terms.auth.clone();
        Selected::Serve {
            config: held.config(policy),
            session: Session::new(Arc::clone(&held.served), name, auth),
        }
    }

    /// Whether a request for `host` (lower case, no port) may be answered on a connection that
    /// was opened as `session`: the certificate covers the host, the host is served under the
    /// terms of the name the connection was opened for, and the client's certificate is accepted
    /// now. If clients are asked for certificates, says how upstreams are told of them.
    pub fn admits(
        &self,
        session: &Session,
        host: &str,
        now: impl FnOnce() -> UnixTime,
    ) -> Result<Option<&Arc<ClientAuth>>, Denied> {
        if !session.served.covers(host) {
            return Err(Denied::Misdirected);
        }
        let policy = self.policies.find(host);
        if !Arc::ptr_eq(policy, self.policies.find(&session.name)) {
            return Err(Denied::Misdirected);
        }
        let Some(auth) = &policy.terms.auth else { return Ok(None) };
        match &session.client {
            Some(client) => auth.confirm(client, now()).map_err(Denied::Certificate)?,
            None if auth.is_required() => return Err(Denied::Unauthenticated),
            None => {}
        }
        Ok(Some(auth))
    }

    /// Files first, then managed certificates.
    fn find(&self, name: &str, schemes: &[SignatureScheme]) -> Option<Arc<Held>> {
        if let Some(held) = self.files.load().find(name) {
            return choose(held, schemes).cloned();
        }
        let origin = Origin::of(name, self.settings.issuer);
        self.managed.load().of(origin).find(name).cloned()
    }

    /// Whether the listener was made for these settings.
    pub(crate) fn is_for(&self, settings: &Tls, policies: &Policies) -> bool {
        self.settings == *settings && self.policies.are_the_same_as(policies)
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
