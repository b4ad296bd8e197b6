//! Who may do what, and what bad clients get.

use crate::{http, rig::Node};
use std::time::Duration;
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// Every route with the least role it needs.
const ROUTES: &[(&str, &str)] = &[
    ("GET /v1/status", "viewer"),
    ("GET /v1/config", "viewer"),
    ("GET /v1/services", "viewer"),
    ("GET /v1/services/shop/weights", "viewer"),
    ("GET /v1/upstreams", "viewer"),
    ("GET /v1/upstreams/blue", "viewer"),
    ("GET /v1/certificates", "viewer"),
    ("GET /v1/certificates/root", "viewer"),
    ("GET /v1/certificates/events?after=0", "viewer"),
    ("GET /v1/explain?url=http%3A%2F%2Fshop%2F", "viewer"),
    ("GET /metrics", "viewer"),
    ("POST /v1/config:reload", "deployer"),
    ("PUT /v1/config", "deployer"),
    ("PATCH /v1/config", "deployer"),
    ("PUT /v1/services/shop/weights", "deployer"),
    ("DELETE /v1/services/shop/weights", "deployer"),
    ("PUT /v1/upstreams/blue/endpoints/127.0.0.1:7001", "deployer"),
    ("POST /v1/certificates:plan", "deployer"),
    ("POST /v1/certificates/shop:renew", "deployer"),
    ("POST /v1/certificates/shop:revoke", "admin"),
    ("POST /v1/issuers/shop:rollover", "admin"),
    ("POST /v1/certificates", "admin"),
    ("GET /v1/tokens", "admin"),
    ("POST /v1/tokens", "admin"),
    ("DELETE /v1/tokens/0123456789abcdef", "admin"),
];

#[tokio::test]
async fn every_route_needs_its_role() {
    let node = Node::alone().await;
    let roles = ["viewer", "deployer", "admin"];
    let mut tokens = Vec::new();
    for role in roles {
        tokens.push(node.token(role).await);
    }
    let host = node.control.to_string();
    for (request, needed) in ROUTES {
        let nobody = node.tcp(request, &[("host", &host)], "").await;
        assert_eq!(
            (nobody.status, nobody.reason().as_str()),
            (401, "unauthenticated"),
            "{request}"
        );
        assert!(nobody.header("www-authenticate").unwrap().starts_with("Bearer"));
        let needed = roles.iter().position(|role| role == needed).unwrap();
        for (index, token) in tokens.iter().enumerate() {
            let reply = node.with_token(token, request, "").await;
            if index < needed {
                assert_eq!(
                    (reply.status, reply.reason().as_str()),
                    (403, "forbidden"),
                    "{request}"
                );
            } else {
                assert!(![401, 403, 404, 405].contains(&reply.status) || request.contains("0123"));
            }
        }
        let owner = node.owner(request, &[], "").await;
        assert!(![401, 403, 405].contains(&owner.status), "{request}: {owner:?}");
    }
}

#[tokio::test]
async fn bad_credentials_are_refused() {
    let node = Node::alone().await;
    let token = node.token("admin").await;
    let host = node.control.to_string();
    let mut flipped = token.clone();
    flipped.pop();
    flipped.push(if token.ends_with('A') { 'B' } else { 'A' });
    for value in ["", "Bearer", "Bearer x", &token, "Basic dTpw", &format!("Bearer {flipped}")] {
        let reply =
            node.tcp("GET /v1/status", &[("host", &host), ("authorization", value)], "").await;
        assert_eq!(reply.status, 401, "{value}");
        assert!(!reply.body.contains(&token[..20]), "nothing is echoed");
        // Also on the Unix socket, whose owner needs none: whoever shows a token means it.
        let reply = node.owner("GET /v1/status", &[("authorization", value)], "").await;
        assert_eq!(reply.status, 401, "{value}");
    }
}

#[tokio::test]
async fn the_probes_say_no_more_than_they_must() {
    let node = Node::alone().await;
    let probe = async |path: &str| {
        let stream = TcpStream::connect(node.probes).await.unwrap();
        http::send(stream, &format!("GET {path}"), &[("host", "10.0.0.1")], "").await
    };
    let host = node.control.to_string();
    for (live, ready) in [
        (probe("/livez").await, probe("/readyz").await),
        (
            node.tcp("GET /livez", &[("host", &host)], "").await,
            node.tcp("GET /readyz", &[("host", &host)], "").await,
        ),
    ] {
        assert_eq!(live.status, 200);
        assert_eq!((ready.status, ready.body.as_str()), (200, r#"{"ready":true}"#));
    }
    *node.edge.unready.lock() = vec!["upstream `blue` is unknown".to_owned()];
    let unready = probe("/readyz").await;
    assert_eq!((unready.status, unready.body.as_str()), (503, r#"{"ready":false}"#));
    let detail = node.get("/readyz").await;
    assert_eq!(detail.status, 503);
    assert_eq!(detail.json()["reasons"][0], "upstream `blue` is unknown");
    assert_eq!(detail.json()["durable"], true);
    assert_eq!(probe("/livez").await.status, 200);
    assert!(probe("/metrics").await.body.contains("tidegate_config_revision 1"));
    assert_eq!(probe("/v1/status").await.reason(), "not_found");
}

#[tokio::test]
async fn a_rebound_name_and_a_foreign_page_are_refused() {
    let node = Node::alone().await;
    let bearer = format!("Bearer {}", node.token("admin").await);
    let auth = ("authorization", bearer.as_str());
    let own = node.control.to_string();
    let port = node.control.port();
    for host in [&own, &format!("localhost:{port}"), "edge.example.com", "[::1]:1"] {
        let reply = node.tcp("GET /v1/status", &[("host", host), auth], "").await;
        assert_eq!(reply.status, 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:9180"] {
        for request in ["GET /v1/status", "GET /livez", "POST /v1/config:reload"] {
            let reply = node.tcp(request, &[("host", host), auth], "").await;
            assert_eq!((reply.status, reply.reason().as_str()), (421, "foreign_host"), "{host}");
        }
    }
    for headers in [&[auth][..], &[("host", &own), ("host", "a"), auth], &[("host", "a b"), auth]] {
        assert_eq!(node.tcp("GET /v1/status", headers, "").await.status, 400);
    }
    let same = format!("http://{own}");
    for (name, value, status) in [
        ("origin", same.as_str(), 200),
        ("origin", "null", 403),
        ("origin", "http://evil.example", 403),
        ("origin", "http://127.0.0.1:1", 403),
        ("sec-fetch-site", "same-origin", 200),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
    ] {
        let reply = node.tcp("GET /v1/status", &[("host", &own), auth, (name, value)], "").await;
        assert_eq!(reply.status, status, "{name}: {value}");
        if status == 403 {
            assert_eq!(reply.reason(), "foreign_origin");
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let node = Node::alone().await;
    let body = " ".repeat(1024 * 1024 + 1);
    let reply = node.set_weights("*", &body).await;
    assert_eq!((reply.status, reply.reason().as_str()), (413, "body_too_large"));
    // Nobody knows how long this one is until it is read.
    let stream = TcpStream::connect(node.control).await.unwrap();
    let (read, mut write) = stream.into_split();
    let bearer = node.token("deployer").await;
    let head = format!(
        "PUT /v1/services/shop/weights HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {bearer}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    write.write_all(head.as_bytes()).await.unwrap();
    tokio::spawn(async move {
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        while write.write_all(chunk.as_bytes()).await.is_ok() {}
    });
    assert_eq!(http::receive(read).await.status, 413);
}

#[tokio::test]
async fn a_client_that_sends_nothing_holds_nobody_up() {
    let node = Node::alone().await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(node.control).await.unwrap();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: local").await.unwrap();
        idle.push(stream);
    }
    let token = node.token("viewer").await;
    let asked = node.with_token(&token, "GET /v1/status", "");
    let reply = tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap();
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn bodies_that_never_come_hold_nobody_up() {
    let node = Node::alone().await;
    let bearer = node.token("viewer").await;
    let head = format!(
        "POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {bearer}\r\n\
         content-length: 10\r\n\r\n"
    );
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(node.control).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for _ in 0..20 {
        let asked = node.with_token(&bearer, "GET /v1/status", "");
        let reply = tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap();
        assert_eq!(reply.status, 200);
    }
}

#[tokio::test]
async fn a_question_is_passed_on_whole() {
    let node = Node::alone().await;
    let path = "/v1/explain?url=https%3A%2F%2Fshop.example%2Fcart&method=POST\
                &header=x-user%3A%20anna&header=cookie%3A%20a%3Db";
    let says = node.get(path).await.json()["steps"][0]["says"].as_str().unwrap().to_owned();
    assert_eq!(says, r#"POST https://shop.example/cart {"x-user": "anna", "cookie": "a=b"}"#);
    for query in ["", "?url=", "?url=/cart", "?url=ftp%3A%2F%2Fa", "?url=http://a&verb=GET"] {
        let reply = node.get(&format!("/v1/explain{query}")).await;
        assert_eq!(reply.reason(), "bad_request", "{query}");
    }
}

#[tokio::test]
async fn problems_are_documents() {
    let node = Node::alone().await;
    let mut all = Vec::new();
    for (request, headers, body) in [
        ("GET /v1/nothing", &[][..], ""),
        ("PATCH /v1/status", &[], ""),
        ("PUT /v1/services/shop/weights", &[], "{}"),
        ("PUT /v1/services/shop/weights", &[("if-match", "*")], r#"{"weights": {"red": 1}}"#),
        ("PUT /v1/services/shop/weights", &[("if-match", "*")], r#"{"weights": {"blue": 0.001}}"#),
        (
            "PUT /v1/services/shop/weights",
            &[("if-match", "\"old\"")],
            r#"{"weights": {"blue": 1}}"#,
        ),
        ("POST /v1/tokens", &[("authorization", "Bearer x")], ""),
    ] {
        all.push(node.owner(request, headers, body).await.json());
    }
    insta::assert_json_snapshot!(all);
}

#[tokio::test]
async fn only_admins_have_certificates_renewed_again_at_once() {
    let node = Node::alone().await;
    for (role, status) in [("deployer", 409), ("admin", 202)] {
        let token = node.token(role).await;
        let reply = node.with_token(&token, "POST /v1/certificates/fresh:renew", "").await;
        assert_eq!(reply.status, status, "{role}");
        if status == 409 {
            assert_eq!(reply.reason(), "too_early");
        }
    }
}
