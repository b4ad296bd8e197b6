//! Hop-by-hop fields end here (RFC 9110 section 7.6.1): they speak of one connection, and each
//! side of a proxy has its own. `Trailer` passes: it announces what is passed on.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
    },
};

/// Whether the client asks for a WebSocket (RFC 6455 section 4.1).
pub(crate) fn wants_websocket(headers: &HeaderMap) -> bool {
    let token = |name, token: &str| {
        let values = headers.get_all(name).iter();
        values
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    };
    headers.contains_key(UPGRADE) && token(CONNECTION, "upgrade") && token(UPGRADE, "websocket")
}

/// Removes what concerns the client's connection only. `te: trailers` stays (gRPC needs it),
/// since trailers are passed on.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    let trailers = headers
        .get(TE)
        .and_then(|te| te.to_str().ok())
        .is_some_and(|te| te.split(',').any(|t| t.trim().eq_ignore_ascii_case("trailers")));
    strip(headers);
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(http::header::EXPECT); // answered by us
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes what concerns the upstream's connection only.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    strip(headers);
    headers.remove(PROXY_AUTHENTICATE);
}

fn strip(headers: &mut HeaderMap) {
    // Most messages have none of these: one look at the names is cheaper than eight searches.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|token| token.trim().parse().ok())
            .filter(|name| !NO_OPTIONS.contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Never removed because `Connection` names them: framing and target are not options, and a body
/// is what rules took it for.
const NO_OPTIONS: [HeaderName; 4] = [CONTENT_LENGTH, HOST, CONTENT_TYPE, CONTENT_ENCODING];

const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Whether a name is one of [`HOP_BY_HOP`], told apart by its length first.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "te" | "upgrade"
            | "connection"
            | "keep-alive"
            | "http2-settings"
            | "proxy-connection"
            | "transfer-encoding"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|&(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn connection_takes_what_it_names_but_neither_host_nor_what_the_body_is() {
        let mut headers = map(&[
            ("connection", "close, X-Secret, Host, content-length, content-TYPE, content-encoding"),
            ("x-secret", "1"),
            ("host", "h"),
            ("content-length", "5"),
            ("content-type", "text/xml"),
            ("content-encoding", "gzip"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
        ]);
        strip_request(&mut headers);
        let left = [
            ("host", "h"),
            ("content-length", "5"),
            ("content-type", "text/xml"),
            ("content-encoding", "gzip"),
            ("te", "trailers"),
        ];
        assert_eq!(headers, map(&left));
    }

    #[test]
    fn every_hop_by_hop_name_is_known_to_the_quick_look() {
        assert!(HOP_BY_HOP.iter().all(is_hop_by_hop));
    }

    #[test]
    fn only_websocket_upgrades_count() {
        assert!(wants_websocket(&map(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket")
        ])));
        assert!(!wants_websocket(&map(&[("connection", "upgrade"), ("upgrade", "h2c")])));
        assert!(!wants_websocket(&map(&[("upgrade", "websocket")])));
    }
}
