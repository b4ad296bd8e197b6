use super::{Health, host::server_name};
use crate::shape::{
    Misfit, Reader, TextShape, defaults, duration, optional, percent, set, table, text, whole,
    words,
};
use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

table! {
    /// `[upstreams.NAME]`: a pool of endpoints.
    pub struct Upstream {
        /// IP addresses and ports, at least one, each once.
        endpoints: Vec<SocketAddr> as set(endpoint()).some(),
        /// Default `p2c`.
        balance: Balance = "p2c",
        /// `http1` (default) or `http2` (gRPC).
        protocol: UpstreamProtocol = "http1",
        /// https to the endpoints; without it plain text.
        tls: Option<UpstreamTls>,
        /// Active checks; without them every endpoint counts as healthy.
        health: Option<Health>,
        /// How long each part of an exchange may take.
        timeouts: UpstreamTimeouts = {},
        /// Kept-alive connections.
        pool: Pool = {},
        /// What is tried again.
        retries: Retries = {},
    }
}

words! {
    /// How the endpoint of a request is chosen among those that are usable.
    pub enum Balance: "balancing method" {
        /// In turn, from a random start.
        RoundRobin = "round-robin",
        /// The one with the fewest requests in flight.
        LeastRequests = "least-requests",
        /// The less loaded of two drawn at random.
        P2c = "p2c",
    }
}

words! {
    /// What is spoken to endpoints.
    pub enum UpstreamProtocol: "protocol" {
        /// HTTP/1.1.
        Http1 = "http1",
        /// HTTP/2: by ALPN over TLS, by prior knowledge in plain text.
        Http2 = "http2",
    }
}

table! {
    /// `[upstreams.NAME.tls]`: https to the endpoints. The certificate is always verified.
    pub struct UpstreamTls {
        /// The name sent as SNI and verified; required, endpoints being addresses.
        server_name: String as server_name(),
        /// PEM file of roots to trust instead of the system's.
        ca: Option<PathBuf>,
        /// PEM file of the certificate shown to endpoints that ask for one, with its issuers
        /// behind it; needs `key`. Read again when it changes.
        certificate: Option<PathBuf>,
        /// PEM file of its private key, readable by this user only (mode 0600).
        key: Option<PathBuf>,
        /// `internal`: endpoints that ask for a certificate are shown one of the internal CA, for
        /// this node (the URI `tidegate://NODE`), renewed by itself. They trust the root that
        /// `tidegate certs trust` prints. In the place of `certificate` and `key`.
        identity: Option<UpstreamIdentity>,
    }
    check = certificate_with_key;
}

words! {
    /// Who says to upstreams who this node is.
    pub enum UpstreamIdentity: "identity" {
        /// The internal CA.
        Internal = "internal",
    }
}

fn certificate_with_key(tls: &UpstreamTls, reader: &mut Reader<'_, '_, '_>) {
    if tls.identity.is_some() && tls.certificate.is_some() {
        reader
            .fault_at(Some("identity"), "there is a `certificate` already")
            .help("remove one of the two: one certificate is shown");
    }
    let lacking = match (&tls.certificate, &tls.key) {
        (Some(_), None) => "key",
        (None, Some(_)) => "certificate",
        _ => return,
    };
    reader
        .fault_at(None, format!("`{lacking}` is missing"))
        .help("a client certificate needs both `certificate` and `key`");
}

impl Eq for UpstreamTls {}

table! {
    /// `[upstreams.NAME.timeouts]`: how long each part of an exchange may take, 1 ms to 24 h.
    pub struct UpstreamTimeouts {
        /// TCP and TLS connect. Default 2 s.
        connect: Duration = "2s" as duration("1ms", "24h"),
        /// From the request written to the response head. Default 60 s.
        response: Duration = "60s" as duration("1ms", "24h"),
        /// Longest pause within a response body, a WebSocket or a stream. Default 5 min.
        idle: Duration = "5m" as duration("1ms", "24h"),
        /// Whole exchange, body included; default none.
        total: Option<Duration> as optional(duration("1ms", "24h")),
    }
}

defaults!(UpstreamTimeouts);

table! {
    /// `[upstreams.NAME.pool]`: kept-alive connections, per worker and endpoint.
    pub struct Pool {
        /// Connections kept per worker and endpoint: idle ones, or shared ones with `http2`. Default 64; 0 turns reuse off.
        idle: usize = 64 as whole(0..=10_000),
        /// An idle connection older than this is closed; below common servers' keep-alive (Node 5 s). Default 4 s.
        idle_timeout: Duration = "4s" as duration("1ms", "24h"),
        /// Requests at once on one `http2` connection; more, or more than its server allows, open another. Default 100.
        streams: NonZeroUsize = 100 as whole(1..=10_000),
    }
}

defaults!(Pool);

table! {
    /// `[upstreams.NAME.retries]`: what is tried again on another endpoint; the rules are in
    /// docs/architecture.md.
    pub struct Retries {
        /// Attempts beside the first. Default 2, 0 to 10.
        attempts: u32 = 2 as whole(0..=10),
        /// Retries of what was sent already, as a share of requests in percent; up to 100 of them are saved up, and there at the start. Default 20; 0 allows none.
        budget_percent: u8 = 20 as percent(0..=100),
    }
}

defaults!(Retries);

fn endpoint() -> TextShape<SocketAddr> {
    text("an IP address and port such as `10.0.0.11:8080`", |text| match text.parse() {
        Ok(SocketAddr::V4(address)) if address.port() == 0 => Err(no_port()),
        Ok(SocketAddr::V6(address)) if address.port() == 0 => Err(no_port()),
        Ok(address) => Ok(address),
        Err(_) if text.contains("://") => Err(Misfit::form()
            .help("leave out the scheme; `tls` and `protocol` say how endpoints are spoken to")),
        Err(_) if text.parse::<std::net::IpAddr>().is_ok() => {
            Err(Misfit::form().help("the port is missing"))
        }
        Err(_) if text.bytes().any(|b| b.is_ascii_alphabetic()) && !text.starts_with('[') => {
            Err(Misfit::form().help("DNS discovery is not part of this version; write an address"))
        }
        Err(_) => Err(Misfit::form()),
    })
}

fn no_port() -> Misfit {
    Misfit::because("an endpoint cannot have port 0")
}
