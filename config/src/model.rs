//! The validated configuration: every value parsed, every name resolvable.

use crate::{ByteSize, Name, Rate, Secret, Weight};
use ipnet::IpNet;
use std::{
    collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration,
};

/// A whole configuration. Built only by validation, so that holders may rely on: every
/// reference names something that exists, every service has a version with weight, route
/// precedence is a total order.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub server: Server,
    pub log: Log,
    pub listeners: BTreeMap<Name, Listener>,
    pub acme: Option<Acme>,
    pub upstreams: BTreeMap<Name, Upstream>,
    pub services: BTreeMap<Name, Service>,
    pub rate_limits: BTreeMap<Name, RateLimit>,
    pub routes: BTreeMap<Name, Route>,
    pub control: Control,
}

/// `[server]`: the process.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Worker threads; default one per core the process may use. Read at start only.
    pub workers: Option<NonZeroUsize>,
    /// How long streams and WebSockets may live on after SIGTERM, an upgrade or the removal of
    /// their listener. Default 30 s.
    pub drain: Duration,
    /// Live keys in the rate limit table, for all limits together. Default 1,000,000; read at
    /// start only.
    pub rate_limit_keys: NonZeroUsize,
    /// Client connections open at once in the whole process. Default 100,000 (and never more
    /// than the process' descriptors allow).
    pub connections: NonZeroUsize,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `human` (default) or `json`.
    pub format: LogFormat,
    /// The least severe level written: `error`, `warn`, `info` (default), `debug`, `trace`.
    pub level: LogLevel,
    /// Where access lines go: `stdout` (default), `off` or a file's path.
    pub access: AccessLog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Stdout,
    Off,
    File(PathBuf),
}

/// `[listeners.NAME]`: an address that accepts connections.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// IP address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Answers every request by a 308 to https: `true` (port 443) or the https port as clients
    /// see it. ACME challenges are answered before that. `None` = off.
    pub redirect_https: Option<u16>,
    /// TLS; `None` = plain text.
    pub tls: Option<Tls>,
    /// HTTP versions spoken, default both: over TLS by ALPN, in plain text by prior knowledge.
    pub protocols: Protocols,
    /// Peers whose forwarding headers are believed; default none.
    pub trusted_proxies: Vec<IpNet>,
    pub limits: ListenerLimits,
}

/// HTTP versions of a listener: at least one is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    pub http1: bool,
    pub http2: bool,
}

/// `[listeners.NAME.limits]`: what one client may use. Each is a hard bound.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerLimits {
    /// Bytes of a request's head (request line and headers); 431 above. Default 32 KiB, 1 KiB to 1 MiB.
    pub header_bytes: ByteSize,
    /// Header fields of a request; 431 above. Default 100.
    pub headers: NonZeroUsize,
    /// Bytes of a request target; 414 above. Default 8 KiB.
    pub uri_bytes: ByteSize,
    /// Open connections of this listener. Default 50,000.
    pub connections: NonZeroUsize,
    /// TLS handshake, total. Default 10 s.
    pub handshake_timeout: Duration,
    /// From a request's first byte (or the connection's start) to the end of its head. Default 10 s.
    pub header_timeout: Duration,
    /// Longest pause within a request body, and longest pause of a client that takes no
    /// response bytes. Default 30 s.
    pub body_timeout: Duration,
    /// Between two requests. Default 75 s.
    pub keepalive_timeout: Duration,
    /// Streams a client may have open on one h2 connection. Default 128.
    pub h2_streams: NonZeroUsize,
}

/// `tls = {}`: how a listener proves its names.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// Certificates from files, served for the names they contain; reloaded when they change.
    pub certificates: Vec<CertificateFiles>,
    /// Who issues what the files do not cover: `acme` (default) or `internal`. Local names
    /// (`localhost`, `*.localhost`, `*.local`, `*.internal`, `*.test`, `*.home.arpa`, IP
    /// addresses) always come from the internal CA.
    pub issuer: TlsIssuer,
    /// The name whose certificate answers clients without SNI or with an unknown one; without
    /// it those are refused with `unrecognized_name`.
    pub default: Option<String>,
    /// Further names to hold certificates for, beside the hosts of the listener's routes.
    pub names: Vec<String>,
    /// The oldest TLS version: `1.2` (default) or `1.3`.
    pub min_version: TlsVersion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsIssuer {
    Acme,
    Internal,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// A certificate chain and its key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// `[acme]`: certificates from a certificate authority.
#[derive(Clone, Debug, PartialEq)]
pub struct Acme {
    pub email: Option<String>,
    /// Tried in order. Default `["letsencrypt"]`.
    pub issuers: Vec<Issuer>,
    /// `http-01` and `tls-alpn-01`, tried in order; default both (tls-alpn-01 first).
    pub challenges: Vec<Challenge>,
    /// Renewal begins when this part of the lifetime is left, in percent; default 33, 5 to 90.
    pub renew_at_percent: u8,
}

/// One certificate authority: `"letsencrypt"`, `"letsencrypt-staging"`, or a table with
/// `directory` (and `name`, `ca`, `eab`).
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// Shown to people and part of the storage keys; default the directory's host.
    pub name: String,
    /// The directory's https URL.
    pub directory: String,
    /// PEM file of roots to trust for the directory's own TLS, instead of the system's.
    pub ca: Option<PathBuf>,
    /// External account binding (RFC 8555 section 7.3.4).
    pub eab: Option<ExternalAccount>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ExternalAccount {
    pub kid: String,
    /** base64url */
    pub hmac_key: Secret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    Http01,
    TlsAlpn01,
}

/// `[upstreams.NAME]`: a pool of endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// IP addresses and ports, at least one, each once.
    pub endpoints: Vec<SocketAddr>,
    /// Default `p2c`.
    pub balance: Balance,
    /// `http1` (default) or `http2` (gRPC).
    pub protocol: UpstreamProtocol,
    /// https to the endpoints; `None` = plain text.
    pub tls: Option<UpstreamTls>,
    /// Active checks; without them every endpoint counts as healthy.
    pub health: Option<Health>,
    pub timeouts: UpstreamTimeouts,
    pub pool: Pool,
    pub retries: Retries,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    LeastRequests,
    P2c,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    Http1,
    Http2,
}

/// `[upstreams.NAME.tls]`: the certificate is always verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name sent as SNI and verified; required, endpoints being addresses.
    pub server_name: String,
    /// PEM file of roots to trust instead of the system's.
    pub ca: Option<PathBuf>,
}

/// `[upstreams.NAME.health]`: HTTP when `path` is given, else TCP connect.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    pub check: HealthCheck,
    /// Between two checks of an endpoint, with +-10 % jitter. Default 2 s, 100 ms to 1 h.
    pub interval: Duration,
    /// One check, connect included. Default 1 s.
    pub timeout: Duration,
    /// Successes in a row that make an unhealthy endpoint healthy. Default 2.
    pub healthy_after: u32,
    /// Failures in a row that make a healthy endpoint unhealthy. Default 3.
    pub unhealthy_after: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// Connects and closes.
    Tcp,
    /// GET `path` with `host` (default: the endpoint's address); healthy if the status is in
    /// `status` (inclusive, default 200-399).
    Http { path: String, host: Option<String>, status: (u16, u16) },
}

/// `[upstreams.NAME.timeouts]`.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTimeouts {
    /// TCP and TLS connect. Default 2 s.
    pub connect: Duration,
    /// From the request written to the response head. Default 60 s.
    pub response: Duration,
    /// Longest pause within a response body, a WebSocket or a stream. Default 5 min.
    pub idle: Duration,
    /// Whole exchange, body included; default none.
    pub total: Option<Duration>,
}

/// `[upstreams.NAME.pool]`: kept-alive connections, per worker and endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Idle connections kept per worker and endpoint. Default 64; 0 turns reuse off.
    pub idle: usize,
    /// An idle connection older than this is closed; below common servers' keep-alive (Node 5 s). Default 4 s.
    pub idle_timeout: Duration,
}

/// `[upstreams.NAME.retries]`; the rules are in docs/architecture.md.
#[derive(Clone, Debug, PartialEq)]
pub struct Retries {
    /// Attempts beside the first. Default 2, 0 to 10.
    pub attempts: u32,
    /// Retries allowed as a share of requests, in percent. Default 20.
    pub budget_percent: u8,
}

/// `[services.NAME]`: what routes send to.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub sticky: Option<Sticky>,
    /// At least one, at least one with weight.
    pub versions: BTreeMap<Name, Version>,
}

/// `sticky = { cookie = "name" }` (or `header = "x-user"`): what ties a client to a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// A random unit id of our own, set when absent.
    Cookie(String),
    /// A header's value; requests without it are their own unit.
    Header(http::HeaderName),
    /// The client's address (IPv6 by /64).
    ClientIp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub upstream: Name,
    pub weight: Weight,
}

/// `[rate_limits.NAME]`: requests per key, GCRA.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// What is counted together; several make one combined key.
    pub key: Vec<LimitKey>,
    pub rate: Rate,
    /// Requests accepted at once after a pause. Default: the rate's count.
    pub burst: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    ClientIp,
    Header(http::HeaderName),
    Cookie(String),
    Path,
}

/// `[routes.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Empty: every host.
    pub hosts: Vec<HostPattern>,
    /// Default `/`.
    pub path: PathPattern,
    /// Empty: every method.
    pub methods: Vec<http::Method>,
    /// Headers a request must carry with exactly this value.
    pub headers: BTreeMap<String, String>,
    /// Listener names; empty: all.
    pub listeners: Vec<Name>,
    pub action: Action,
    /// Names of rate limits, applied in order.
    pub rate_limits: Vec<Name>,
    pub request_headers: HeaderOps,
    pub response_headers: HeaderOps,
    /// Largest request body; 413 above. Default none.
    pub body_limit: Option<ByteSize>,
    /// POST and PATCH may be retried too. Default false.
    pub retry_unsafe: bool,
}

/// `host = "shop.example.com"`, `"*.example.com"` (one label or more) or `"~regex"`; kept in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    Exact(String),
    /// The suffix after `*`, with its dot: `.example.com`.
    Wildcard(String),
    Regex(String),
}

/// `path = "/shop"` (by segment), `"=/exact"` or `"~^/v[0-9]"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathPattern {
    Prefix(String),
    Exact(String),
    Regex(String),
}

/// What a route does; exactly one of `service`, `redirect`, `respond`.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Service(Name),
    /// `redirect = { to = "https://new.example.com", status = 308, keep_path = true }`
    Redirect {
        /// An absolute URL or a path.
        to: String,
        /// 301, 302, 303, 307 or 308 (default).
        status: u16,
        /// Appends the request's path and query to `to`. Default false.
        keep_path: bool,
    },
    /// `respond = { status = 200, body = "ok", content_type = "text/plain" }`
    Respond {
        status: u16,
        body: String,
        content_type: String,
    },
}

/// `request_headers = { set = { a = "b" }, add = { .. }, remove = [..] }`: removed first, then set, then added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderOps {
    pub set: Vec<(http::HeaderName, http::HeaderValue)>,
    pub add: Vec<(http::HeaderName, http::HeaderValue)>,
    pub remove: Vec<http::HeaderName>,
}

impl HeaderOps {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// `[control]`: always from the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// Default `127.0.0.1:9180`.
    pub address: ControlAddress,
    /// `/livez`, `/readyz` and `/metrics` only, without authentication; off by default.
    pub probes: Option<SocketAddr>,
    /// The state directory. Default `/var/lib/tidegate`.
    pub state: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}
