use super::{ListenerLimits, Tls};
use crate::{
    document::{Node, Value},
    shape::{Catalogue, Cx, Reader, Shape, Written, mapped, optional, set, table, whole, words},
};
use ipnet::IpNet;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;

table! {
    /// `[listeners.NAME]`: an address that accepts connections.
    pub struct Listener {
        /// IP address and port; port 0 lets the system choose.
        address: SocketAddr,
        /// Answers every request by a 308 to https: `true` (port 443) or the https port as clients
        /// see it. ACME challenges are answered before that. Off by default.
        redirect_https: Option<u16> as RedirectPort,
        /// TLS; without it plain text. `{}` takes every default: certificates for every route's
        /// host, by ACME.
        tls: Option<Tls>,
        /// HTTP versions spoken, default both: over TLS by ALPN, in plain text by prior knowledge.
        protocols: Protocols = ["http1", "http2"],
        /// Peers whose forwarding headers are believed; default none.
        trusted_proxies: Vec<IpNet> = [],
        /// What one client may use.
        limits: ListenerLimits = {},
    }
    check = check;
}

fn check(listener: &Listener, reader: &mut Reader<'_, '_, '_>) {
    if listener.redirect_https.is_some() && reader.get("tls").is_some() {
        reader
            .fault_at(Some("redirect_https"), "a listener with `tls` serves https already")
            .help("set it on the plain text listener");
    }
}

/// HTTP versions of a listener: at least one is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/1.1 (and 1.0).
    pub http1: bool,
    /// HTTP/2.
    pub http2: bool,
}

impl Default for Protocols {
    fn default() -> Self {
        Self { http1: true, http2: true }
    }
}

words! {
    /// An HTTP version, as written.
    pub(crate) enum Protocol: "protocol" {
        /// HTTP/1.1 (and 1.0).
        Http1 = "http1",
        /// HTTP/2.
        Http2 = "http2",
    }
}

impl Written for Protocols {
    fn shape() -> impl Shape<Value = Self> {
        mapped(set(Protocol::shape()).some(), |spoken: Vec<_>| Self {
            http1: spoken.contains(&Protocol::Http1),
            http2: spoken.contains(&Protocol::Http2),
        })
    }
}

/// `true`, `false` or a port.
struct RedirectPort;

impl Shape for RedirectPort {
    type Value = Option<u16>;

    fn expected(&self) -> String {
        "`true` or the https port as clients see it".to_owned()
    }

    fn schema(&self, _: &mut Catalogue) -> Json {
        json!({ "anyOf": [
            { "type": "boolean" },
            { "type": "integer", "minimum": 1, "maximum": 65_535 },
        ] })
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<Option<u16>> {
        match &node.value {
            Value::Boolean(on) => Some(on.then_some(443)),
            Value::Integer(_) => optional(whole(1..=65_535)).read(node, cx),
            _ => {
                cx.unexpected(node, &self.expected());
                None
            }
        }
    }

    fn absent(&self) -> Option<Option<u16>> {
        Some(None)
    }
}
