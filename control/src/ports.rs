//! What the control plane asks of the data path. The root package implements it; control and
//! proxy never see each other.

use crate::source::SourceFile;
use serde::Serialize;
use std::{net::SocketAddr, sync::Arc};
use tidegate_certs::{
    CertificateStatus, Certs, CertsError, Event, ImportError, Imported, Plan, RevocationReason,
};
use tidegate_config::{Config, Name};
use tidegate_release::RuntimeState;

/// The data path, as control sees it. Every call is quick; none runs on a worker.
#[async_trait::async_trait]
pub trait Edge: Send + Sync + 'static {
    /// Compiles `config` with `state`, binds new listeners and swaps the snapshot: all or
    /// nothing. When it returns, the next request on any connection follows it.
    async fn apply(&self, config: Arc<Config>, state: Arc<RuntimeState>) -> Result<(), ApplyError>;

    /// What the rules in force were read from beside what the document names: files with a digest
    /// of what was compiled, or of what is there `now`.
    async fn rules_read(&self, now: bool) -> Vec<SourceFile>;

    /// Swaps runtime state only: rebuilds the services and endpoints that changed and nothing
    /// else. Cannot fail.
    async fn apply_state(&self, state: Arc<RuntimeState>);

    /// The listeners that accept now.
    fn listeners(&self) -> Vec<ListenerStatus>;

    /// Every service with its effective weights and counters since start.
    fn services(&self) -> Vec<ServiceStatus>;

    /// Every upstream with its endpoints.
    fn upstreams(&self) -> Vec<UpstreamStatus>;

    /// Which route, policies, version and endpoint a request would get.
    fn explain(&self, query: &ExplainQuery) -> Explanation;

    /// What `/readyz` says: empty when ready, else the reasons why not.
    fn unready(&self) -> Vec<String>;
}

/// The certificates, as control sees them.
#[async_trait::async_trait]
pub trait Certificates: Send + Sync + 'static {
    /// Every certificate held or wanted.
    fn list(&self) -> Vec<CertificateStatus>;

    /// The internal CA's root, for clients that are to trust local names: PEM.
    fn root_pem(&self) -> String;

    /// Has a certificate ordered anew, now.
    fn renew(&self, name: &str, insist: bool) -> Result<(), CertsError>;

    /// See [`Certs::events`].
    fn events(&self, id: u64) -> Vec<Event>;

    /// See [`Certs::plan`].
    async fn plan(&self, names: &[String]) -> Plan;

    /// Revokes a certificate, and has another ordered.
    async fn revoke(&self, name: &str, reason: RevocationReason) -> Result<(), CertsError>;

    /// Gives the account at an issuer another key.
    async fn roll_account_over(&self, issuer: &str) -> Result<(), CertsError>;

    /// Takes a certificate with its key, both in PEM.
    async fn import(&self, chain: &str, key: &str) -> Result<Imported, ImportError>;
}

#[async_trait::async_trait]
impl Certificates for Certs {
    fn list(&self) -> Vec<CertificateStatus> {
        Certs::list(self)
    }

    fn root_pem(&self) -> String {
        Certs::root_pem(self)
    }

    fn renew(&self, name: &str, insist: bool) -> Result<(), CertsError> {
        Certs::renew(self, name, insist)
    }

    fn events(&self, id: u64) -> Vec<Event> {
        Certs::events(self, id)
    }

    async fn plan(&self, names: &[String]) -> Plan {
        Certs::plan(self, names).await
    }

    async fn revoke(&self, name: &str, reason: RevocationReason) -> Result<(), CertsError> {
        Certs::revoke(self, name, reason).await
    }

    async fn roll_account_over(&self, issuer: &str) -> Result<(), CertsError> {
        Certs::roll_account_over(self, issuer).await
    }

    async fn import(&self, chain: &str, key: &str) -> Result<Imported, ImportError> {
        Certs::import(self, chain, key).await
    }
}

/// Why a configuration could not be put into force; the old one still serves.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ApplyError(
    /// One fragment per cause, such as "listener `https`: address 0.0.0.0:443 is in use".
    pub Vec<String>,
);

/// A listener in force.
#[derive(Clone, Debug, Serialize)]
pub struct ListenerStatus {
    /// Its name in the document.
    pub name: Name,
    /// The address bound, the port resolved.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// `http/1.1` and `h2`, as far as on.
    pub protocols: Vec<&'static str>,
    /// Open connections.
    pub connections: u64,
}

/// A service in force.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: Name,
    /// Its versions, by name.
    pub versions: Vec<VersionStatus>,
}

/// A version with what it did since the process started.
#[derive(Clone, Debug, Serialize)]
pub struct VersionStatus {
    /// Its name.
    pub name: Name,
    /// The upstream it points at.
    pub upstream: Name,
    /// The weight in force, in hundredths.
    pub weight_hundredths: u32,
    /// Requests finished.
    pub requests: u64,
    /// Of these, how many ended with a status of 500 or more, or without one.
    pub failures: u64,
    /// Requests in flight.
    pub in_flight: u64,
}

/// An upstream in force.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: Name,
    /// Its endpoints, in the document's order.
    pub endpoints: Vec<EndpointStatus>,
}

/// An endpoint in force.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStatus {
    /// Its address.
    pub address: SocketAddr,
    /// `unchecked`, `unknown`, `healthy` or `unhealthy`.
    pub health: &'static str,
    /// What the last failed check said, if the last one failed.
    pub last_failure: Option<String>,
    /// `active`, `drain` or `disable`.
    pub admin: &'static str,
    /// Requests in flight.
    pub in_flight: u64,
}

/// A request that nobody sends.
#[derive(Clone, Debug)]
pub struct ExplainQuery {
    /// Scheme, host and path with query, such as `https://shop.example.com/cart`.
    pub url: String,
    /// Default GET.
    pub method: http::Method,
    /// Headers, to see header routes, sticky cookies and limit keys at work.
    pub headers: http::HeaderMap,
    /// The client's address; default 127.0.0.1.
    pub client: Option<std::net::IpAddr>,
}

/// What would happen to it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// One sentence per stage, in the order of a request's way.
    pub steps: Vec<ExplainStep>,
    /// How it would end: `service`, `redirect`, `respond` or `refused`.
    pub outcome: &'static str,
    /// The matching route.
    pub route: Option<Name>,
    /// The service and the version this request (or, without stickiness, one such request) gets.
    pub service: Option<Name>,
    /// See `service`.
    pub version: Option<Name>,
    /// Endpoints that could be chosen.
    pub endpoints: Vec<SocketAddr>,
    /// The reason word of a refusal.
    pub reason: Option<&'static str>,
}

/// One stage of an explanation.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainStep {
    /// `normalise`, `route`, `limits`, `release`, `balance`.
    pub stage: &'static str,
    /// What it decided and why.
    pub says: String,
}
