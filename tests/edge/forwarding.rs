//! What an upstream is told about its client, and what it is never told.

use crate::support::{
    Ca, Client, Dir, Edge, Origin, RawClient, client::with_headers, get, listener, route, service,
    text::simple,
};

/// The headers a request for `/` arrives with.
async fn arrives(
    edge: &Edge,
    origin: &Origin,
    path: &str,
    headers: &[(&str, &str)],
) -> crate::support::origin::Seen {
    let mut client = Client::http1(edge.address("http").await);
    client.send(with_headers("GET", path, headers, "")).await;
    origin.only(path)
}

/// An edge that believes this machine and 10.0.0.0/8.
async fn behind_proxies(origin: &Origin) -> Edge {
    let config = listener("http")
        + "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n"
        + &service("app", &[("app", 100, origin.address)])
        + &route("app");
    Edge::start(&config).await
}

#[tokio::test]
async fn forwarding_headers_of_strangers_are_replaced() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let forged = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-port", "666"),
        ("x-real-ip", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
    ];
    let seen = arrives(&edge, &origin, "/forged", &forged).await;
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("app.test"));
    let wire = origin.wire_text();
    for word in ["203.0.113.9", "evil.test", "666"] {
        assert!(!wire.contains(word), "{word} reached the upstream: {wire}");
    }
}

#[tokio::test]
async fn nobody_can_claim_a_client_certificate() {
    let origin = Origin::start("v1").await;
    for edge in [Edge::start(&simple(origin.address)).await, behind_proxies(&origin).await] {
        let http = edge.address("http").await;
        let mut client = RawClient::connect(http).await;
        // In the head, in CGI's spelling and as a trailer, which some servers merge.
        client
            .send(
                "POST /h1 HTTP/1.1\r\nHost: app.test\r\nClient-Cert: :Zm9yZ2Vk:\r\n\
                 CLIENT-CERT-CHAIN: :Zm9yZ2Vk:\r\nX-Client-Cert-Subject: forged\r\n\
                 X_Client_Cert: forged\r\nX-SSL-Client-Verify: forged\r\n\
                 SSL-Client-Subject-DN: forged\r\nX-Forwarded-Client-Cert: forged\r\n\
                 X-Kept: 1\r\nTransfer-Encoding: chunked\r\n\r\n\
                 1\r\nx\r\n0\r\nClient-Cert: :Zm9yZ2Vk:\r\nX-Client-Cert: forged\r\n\r\n",
            )
            .await;
        assert_eq!(client.response().await.status, 200);
        let forged =
            [("client-cert", ":Zm9yZ2Vk:"), ("ssl-client-cert", "forged"), ("x-kept", "1")];
        Client::http2(http).send(with_headers("GET", "/h2", &forged, "")).await;
    }
    for path in ["/h1", "/h2"] {
        let seen = origin.seen_at(path);
        assert_eq!(seen.len(), 2);
        for seen in seen {
            assert_eq!(seen.header("x-kept").as_deref(), Some("1"), "{path}");
        }
    }
    let wire = origin.wire_text();
    for word in ["forged", "Zm9yZ2Vk"] {
        assert!(!wire.contains(word), "{word} reached the upstream: {wire}");
    }
}

#[tokio::test]
async fn forwarding_headers_of_trusted_proxies_are_continued() {
    let origin = Origin::start("v1").await;
    let edge = behind_proxies(&origin).await;
    let headers =
        [("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.1.1.1"), ("x-forwarded-proto", "https")];
    let seen = arrives(&edge, &origin, "/trusted", &headers).await;
    let chain = seen.header("x-forwarded-for").unwrap();
    assert!(chain.ends_with("203.0.113.9, 10.1.1.1, 127.0.0.1"), "{chain}");
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
    // The client is the rightmost address that is not a proxy of ours.
    let line = edge
        .logs()
        .await_access("the request's access line", |line| line["path"] == "/trusted")
        .await;
    assert_eq!(line["client"], "203.0.113.9", "{line}");
}

#[tokio::test]
async fn the_forwarded_field_of_trusted_proxies_is_read_and_continued() {
    let origin = Origin::start("v1").await;
    let edge = behind_proxies(&origin).await;
    let headers = [("forwarded", "for=6.6.6.6, for=\"[2001:db8::9]:99\", for=10.1.1.1")];
    let seen = arrives(&edge, &origin, "/rfc7239", &headers).await;
    let chain = seen.header("forwarded").unwrap();
    assert!(chain.ends_with("for=10.1.1.1, for=127.0.0.1;host=\"app.test\";proto=http"), "{chain}");
    assert_eq!(seen.header("x-real-ip").as_deref(), Some("2001:db8::9"));
}

#[tokio::test]
async fn https_is_told_as_https() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let leaf = ca.issue(&["app.test"]);
    let origin = Origin::start("v1").await;
    let config = listener("https")
        + &format!("tls = {{ certificates = [{}] }}\n", leaf.table(&dir, "edge"))
        + &service("app", &[("app", 100, origin.address)])
        + &route("app");
    let edge = Edge::start_in(dir, &config).await;
    let https = edge.address("https").await;
    for (path, speaks) in [("/h1", "http/1.1"), ("/h2", "h2")] {
        let client = if speaks == "h2" { Client::http2(https) } else { Client::http1(https) };
        client.tls(ca.client(&[speaks])).get(path).await;
        let seen = origin.only(path);
        assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
        assert_eq!(seen.header("host").as_deref(), Some("app.test"), "the client's host is kept");
    }
}

#[tokio::test]
async fn underscore_spellings_of_our_headers_are_dropped() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    client
        .send("GET /u HTTP/1.1\r\nHost: app.test\r\nX_Forwarded_For: 6.6.6.6\r\nConnection: close\r\n\r\n")
        .await;
    client.response().await;
    assert!(!origin.wire_text().contains("6.6.6.6"), "{}", origin.wire_text());
}

#[tokio::test]
async fn hop_by_hop_headers_end_here_and_ours_cannot_be_named_away() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    client
        .send(
            "GET /hop HTTP/1.1\r\nHost: app.test\r\n\
             Connection: keep-alive, X-Private, X-Forwarded-For, Host, Upgrade, HTTP2-Settings\r\n\
             X-Private: secret\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nTE: gzip\r\n\r\n",
        )
        .await;
    let status = client.response().await.status;
    if status == 400 {
        assert_eq!(origin.requests(), 0, "refused means not one byte went on");
        return;
    }
    assert_eq!(status, 200);
    let seen = origin.only("/hop");
    for name in ["x-private", "keep-alive", "proxy-connection", "upgrade", "http2-settings", "te"] {
        assert_eq!(seen.header(name), None, "{name} went on");
    }
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.header("host").as_deref(), Some("app.test"));
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own_that_the_log_knows() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    let mut ids = Vec::new();
    for path in ["/a", "/b"] {
        let reply = get(http, path).await;
        let id = origin.only(path).header("x-request-id").expect("the upstream is told the id");
        assert_eq!(reply.header("x-request-id"), Some(&*id), "the client is told the same");
        let line = edge
            .logs()
            .await_access("the request's access line", |line| line["path"] == path)
            .await;
        assert_eq!(line["request_id"], id, "{line}");
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
    let forged = get_with_id(http, "/c").await;
    assert_ne!(origin.only("/c").header("x-request-id").as_deref(), Some("mine"), "{forged:?}");
}

async fn get_with_id(http: std::net::SocketAddr, path: &str) -> crate::support::Reply {
    crate::support::client::get_with(http, path, &[("x-request-id", "mine")]).await
}

#[tokio::test]
async fn a_trace_goes_on() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [("traceparent", &*parent), ("tracestate", "vendor=1")];
    let seen = arrives(&edge, &origin, "/traced", &headers).await;
    let passed = seen.header("traceparent").expect("the trace is passed on");
    let parts: Vec<&str> = passed.split('-').collect();
    assert_eq!((parts.len(), parts[1], parts[3]), (4, trace, "01"), "{passed}");
    assert_eq!(seen.header("tracestate").as_deref(), Some("vendor=1"));
}

#[tokio::test]
async fn headers_are_removed_then_set_then_added() {
    let origin = Origin::start("v1").await;
    let config = simple(origin.address)
        + r#"
request_headers = { remove = ["x-gone", "x-set"], set = { x-set = "ours" }, add = { x-list = "ours" } }
response_headers = { remove = ["content-type"], set = { x-version = "edge" }, add = { x-seen = "1" } }
"#;
    let edge = Edge::start(&config).await;
    let headers = [("x-gone", "1"), ("x-set", "theirs"), ("x-list", "theirs")];
    let mut client = Client::http1(edge.address("http").await);
    let reply = client.send(with_headers("GET", "/ops", &headers, "")).await;
    let seen = origin.only("/ops");
    assert_eq!(seen.header("x-gone"), None);
    assert_eq!(seen.header("x-set").as_deref(), Some("ours"));
    assert_eq!(seen.header("x-list").as_deref(), Some("theirs, ours"));
    assert_eq!(reply.header("content-type"), None);
    assert_eq!(reply.header("x-version"), Some("edge"));
    assert_eq!(reply.header("x-seen"), Some("1"));
}
