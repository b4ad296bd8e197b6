//! What bad input gets, byte by byte: the upstream must never see what two parsers could read
//! differently. Each row checks the answer, the end of the connection and what reached the
//! upstream.

use crate::support::{
    Edge, Origin, RawClient, listener,
    raw::{RawResponse, exchange},
    route, service,
    text::simple,
};

/// One request that must be refused, then one that an attacker hopes to smuggle.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";

/// What a row's answer may be.
fn statuses(response: &RawResponse, allowed: &[u16], what: &str) {
    assert!(allowed.contains(&response.status), "{what}: {}", response.head);
}

/// Sends each row on a connection of its own, and behind it what an attacker hopes to smuggle:
/// refused with one of the statuses and a reason, closed after it, nothing of it at the upstream.
async fn refused_and_closed(rows: &[(&str, Vec<u8>, &[u16])]) {
    never_forwarded(rows, true).await;
}

/// As [`refused_and_closed`] for requests whose end is beyond doubt: the connection may live on.
async fn refused(rows: &[(&str, Vec<u8>, &[u16])]) {
    never_forwarded(rows, false).await;
}

async fn never_forwarded(rows: &[(&str, Vec<u8>, &[u16])], closes: bool) {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    let mut faults = Vec::new();
    for (what, bytes, allowed) in rows {
        let mut client = RawClient::connect(http).await;
        client.send(bytes).await;
        if closes {
            client.send(SMUGGLED).await;
        }
        let Some(response) = client.try_response().await else {
            faults.push(format!("{what}: closed without an answer"));
            continue;
        };
        if !allowed.contains(&response.status) {
            faults.push(format!("{what}: {}", response.head.lines().next().unwrap_or_default()));
        } else if response.reason().is_none() {
            faults.push(format!("{what}: no reason in {}", response.head));
        }
        if closes {
            let more = client.read_to_close().await;
            if !more.is_empty() {
                faults.push(format!("{what}: a second answer: {}", String::from_utf8_lossy(&more)));
            }
        }
        let reached = origin.wire_text();
        if reached.contains("/row") || reached.contains("smuggled") {
            faults.push(format!("{what}: reached the upstream: {reached:?}"));
            break;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /row HTTP/1.1\r\nHost: app.test\r\n{headers}\r\n{body}").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

#[tokio::test]
async fn ambiguous_framing_is_refused() {
    let both = |te: &str| post(&format!("Content-Length: 5\r\n{te}\r\n"), "0\r\n\r\n");
    let te = |value: &str| post(&format!("Transfer-Encoding:{value}\r\n"), "0\r\n\r\n");
    let cl = |lines: &str| post(lines, "hello");
    refused_and_closed(&[
        ("CL and TE", both("Transfer-Encoding: chunked"), &[400]),
        (
            "TE and CL",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
            &[400],
        ),
        (
            "CL 0 and TE",
            post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            &[400],
        ),
        ("CL and TE in odd case", both("tRANSFER-eNCODING: Chunked"), &[400]),
        ("xchunked", te(" xchunked"), &[400, 501]),
        ("chunked, identity", te(" chunked, identity"), &[400, 501]),
        ("identity", te(" identity"), &[400, 501]),
        ("gzip, chunked", te(" gzip, chunked"), &[400, 501]),
        ("chunked, chunked", te(" chunked, chunked"), &[400, 501]),
        ("doubled", te(" chunked\r\nTransfer-Encoding: chunked"), &[400, 501]),
        ("doubled, other", te(" chunked\r\nTransfer-Encoding: cow"), &[400, 501]),
        ("empty TE", te(""), &[400, 501]),
        ("quoted", te(" \"chunked\""), &[400, 501]),
        (
            "TE with space before the colon",
            post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
            &[400],
        ),
        ("TE with VT", te("\x0bchunked"), &[400, 501]),
        ("TE folded", te("\r\n chunked"), &[400, 501]),
        ("TE with a parameter", te(" chunked;q=1"), &[400, 501]),
        ("chunk-ed by NUL", te(" chunked\0"), &[400]),
        (
            "HTTP/1.0 with TE",
            b"POST /row HTTP/1.0\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_vec(),
            &[400],
        ),
        ("CL twice, equal", cl("Content-Length: 5\r\nContent-Length: 5\r\n"), &[400]),
        ("CL twice, different", cl("Content-Length: 5\r\nContent-Length: 0\r\n"), &[400]),
        ("CL list", cl("Content-Length: 5, 5\r\n"), &[400]),
        ("CL +5", cl("Content-Length: +5\r\n"), &[400]),
        ("CL -5", cl("Content-Length: -5\r\n"), &[400]),
        ("CL 0x5", cl("Content-Length: 0x5\r\n"), &[400]),
        ("CL 5 5", cl("Content-Length: 5 5\r\n"), &[400]),
        ("CL empty", cl("Content-Length: \r\n"), &[400]),
        ("CL overflow", cl("Content-Length: 18446744073709551621\r\n"), &[400, 413]),
        ("CL with NBSP", cl("Content-Length: 5\u{a0}\r\n"), &[400]),
    ])
    .await;
}

#[tokio::test]
async fn broken_heads_are_refused() {
    let line = |line: &str| format!("{line}\r\nHost: app.test\r\n\r\n").into_bytes();
    let header = |header: &[u8]| {
        let mut bytes = b"GET /row HTTP/1.1\r\nHost: app.test\r\n".to_vec();
        bytes.extend(header);
        bytes.extend(b"\r\n\r\n");
        bytes
    };
    refused_and_closed(&[
        ("bare LF lines", b"GET /row HTTP/1.1\nHost: app.test\n\n".to_vec(), &[400]),
        ("bare LF in a header", header(b"X-A: 1\nX-B: 2"), &[400]),
        ("bare CR in a value", header(b"X-A: 1\rX-B: 2"), &[400]),
        ("NUL in a value", header(b"X-A: 1\x002"), &[400]),
        ("folded", header(b"X-A: 1\r\n 2"), &[400]),
        ("folded first", b"GET /row HTTP/1.1\r\n Host: app.test\r\n\r\n".to_vec(), &[400]),
        ("no colon", header(b"X-A"), &[400]),
        ("empty name", header(b": 1"), &[400]),
        ("space in a name", header(b"X A: 1"), &[400]),
        ("space before the colon", header(b"X-A : 1"), &[400]),
        ("byte over 127 in a name", header(b"X-\xe9: 1"), &[400]),
        ("control in a name", header(b"X-\x01: 1"), &[400]),
        ("raw space in the target", line("GET /row HTTP/1.1 HTTP/1.1"), &[400]),
        ("two spaces", line("GET  /row HTTP/1.1"), &[400]),
        ("tab", line("GET\t/row\tHTTP/1.1"), &[400]),
        ("lower-case version", line("GET /row http/1.1"), &[400, 505]),
        ("HTTP/1.2", line("GET /row HTTP/1.2"), &[400, 505]),
        ("HTTP/2.0", line("GET /row HTTP/2.0"), &[400, 505]),
        ("HTTP/1.10", line("GET /row HTTP/1.10"), &[400, 505]),
        ("no version", b"GET /row\r\n".to_vec(), &[400, 505]),
        ("no target", line("GET HTTP/1.1"), &[400]),
        ("method with a bracket", line("G(T /row HTTP/1.1"), &[400]),
        ("fragment", line("GET /row#x HTTP/1.1"), &[400]),
        (
            "byte 0xff in the target",
            b"GET /row\xff HTTP/1.1\r\nHost: app.test\r\n\r\n".to_vec(),
            &[400],
        ),
        ("NUL in the target", b"GET /row\0 HTTP/1.1\r\nHost: app.test\r\n\r\n".to_vec(), &[400]),
    ])
    .await;
}

#[tokio::test]
async fn broken_hosts_are_refused() {
    let hosts = |lines: &str| format!("GET /row HTTP/1.1\r\n{lines}\r\n").into_bytes();
    refused(&[
        ("no Host", hosts(""), &[400]),
        ("two Hosts", hosts("Host: app.test\r\nHost: app.test\r\n"), &[400]),
        ("empty Host", hosts("Host: \r\n"), &[400]),
        ("userinfo", hosts("Host: user@app.test\r\n"), &[400]),
        ("a path", hosts("Host: app.test/path\r\n"), &[400]),
        ("a list", hosts("Host: app.test, evil.test\r\n"), &[400]),
        ("a bad port", hosts("Host: app.test:port\r\n"), &[400]),
        ("a port too large", hosts("Host: app.test:99999\r\n"), &[400]),
        ("a space", hosts("Host: app.test evil.test\r\n"), &[400]),
    ])
    .await;
}

#[tokio::test]
async fn bad_paths_are_refused() {
    let get =
        |target: &str| format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n").into_bytes();
    refused(&[
        ("above the root", get("/../../row"), &[400]),
        ("above the root, escaped", get("/%2e%2e/row"), &[400]),
        ("hidden dots", get("/a/..;/row"), &[400]),
        ("%00", get("/row%00"), &[400]),
        ("%0d%0a", get("/row%0d%0aX: y"), &[400]),
        ("%zz", get("/row%zz"), &[400]),
        ("% at the end", get("/row%"), &[400]),
        ("CONNECT", b"CONNECT row:80 HTTP/1.1\r\nHost: app.test\r\n\r\n".to_vec(), &[400, 405]),
        ("TRACE", b"TRACE /row HTTP/1.1\r\nHost: app.test\r\n\r\n".to_vec(), &[405]),
    ])
    .await;
}

#[tokio::test]
async fn each_kind_of_refusal_has_its_word() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for (request, status, reason) in [
        ("GET /row HTTP/1.1\r\nHost: app.test\r\nX-A\r\n\r\n", 400, "malformed_request"),
        ("GET /../../row HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "bad_path"),
        ("GET /row HTTP/1.1\r\n\r\n", 400, "bad_host"),
        ("GET /row HTTP/1.2\r\nHost: app.test\r\n\r\n", 505, "http_version"),
        (
            "POST /row HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
            "transfer_coding",
        ),
        ("GET /row HTTP/1.1\r\nHost: app.test\r\nExpect: rain\r\n\r\n", 417, "expectation"),
        ("CONNECT row:80 HTTP/1.1\r\nHost: row:80\r\n\r\n", 405, "method_not_allowed"),
        ("TRACE /row HTTP/1.1\r\nHost: app.test\r\n\r\n", 405, "method_not_allowed"),
    ] {
        let mut client = RawClient::connect(http).await;
        client.send(request).await;
        let refused = client.response().await;
        assert_eq!((refused.status, refused.reason()), (status, Some(reason)), "{request:?}");
    }
    assert_eq!(origin.requests(), 0);
}

/// A body whose framing breaks may have begun at the upstream; what follows it never gets there.
#[tokio::test]
async fn broken_chunks_never_become_a_second_request() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for (what, body) in [
        ("bare LF after the size", "5\nhello\r\n0\r\n\r\n".to_owned()),
        ("bare LF after the data", "5\r\nhello\n0\r\n\r\n".to_owned()),
        ("bare CR after the size", "5\rhello\r\n0\r\n\r\n".to_owned()),
        ("0x5", "0x5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("+5", "+5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("a space before", " 5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("overflow", "10000000000000005\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("empty size", "\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("data too long", "5\r\nhello!\r\n0\r\n\r\n".to_owned()),
        ("data without CRLF", "5\r\nhello0\r\n\r\n".to_owned()),
        ("a large extension", format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(65_536))),
        ("NUL in an extension", "5;a=\0\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("LF in an extension", "5;a\nhello\r\n0\r\n\r\n".to_owned()),
        ("a bad trailer", "0\r\nno colon\r\n\r\n".to_owned()),
        ("bare LF at the end", "0\r\n\n".to_owned()),
    ] {
        let mut client = RawClient::connect(http).await;
        client.send(chunked(&body)).await;
        client.send(SMUGGLED).await;
        if let Some(response) = client.try_response().await {
            statuses(&response, &[400, 413, 431], what);
        }
        client.read_to_close().await;
        let wire = origin.wire_text();
        assert!(!wire.contains("smuggled"), "{what}: {wire:?}");
        for seen in origin.seen_at("/row") {
            assert!(
                seen.header("content-length").is_none()
                    || seen.header("transfer-encoding").is_none()
            );
        }
    }
}

#[tokio::test]
async fn what_is_allowed_is_passed_in_one_spelling() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for (number, (sent, arrives)) in [
        ("/n/a/../b", "/n/b"),
        ("/n/a/%2e%2e/b", "/n/b"),
        ("/n/%61", "/n/a"),
        ("/n/a%2fb%5cc", "/n/a%2fb%5cc"),
        ("/n//a", "/n//a"),
        ("/n/%252e%252e/b", "/n/%252e%252e/b"),
        ("/n/a?x=/../y", "/n/a?x=/../y"),
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("GET {sent} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n");
        exchange(http, line).await;
        assert_eq!(origin.seen()[number].target(), arrives, "{sent}");
    }
}

#[tokio::test]
async fn an_absolute_target_and_host_agree_at_the_upstream() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    let mut client = RawClient::connect(http).await;
    client.send("GET http://app.test/abs HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    let seen = origin.only("/abs");
    assert_eq!(seen.header("host").as_deref(), Some("app.test"), "origin-form goes on: {seen:?}");

    let mut client = RawClient::connect(http).await;
    client.send("GET http://one.test/differs HTTP/1.1\r\nHost: two.test\r\n\r\n").await;
    let response = client.response().await;
    if response.status == 400 {
        assert!(origin.seen_at("/differs").is_empty());
    } else {
        let seen = origin.only("/differs");
        assert_eq!(
            seen.header("host").as_deref(),
            Some("one.test"),
            "the URI wins and Host follows"
        );
    }
}

#[tokio::test]
async fn trailers_cannot_become_headers() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    client
        .send(chunked("5\r\nhello\r\n0\r\nHost: evil.test\r\nContent-Length: 99\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"))
        .await;
    let response = client.response().await;
    statuses(&response, &[200, 400], "trailers");
    let wire = origin.wire_text();
    for word in ["evil.test", "Content-Length: 99", "content-length: 99", "6.6.6.6"] {
        assert!(!wire.contains(word), "{word} reached the upstream: {wire:?}");
    }
}

#[tokio::test]
async fn an_upstream_connection_is_never_left_between_two_requests() {
    let origin = Origin::start("v1").await;
    let config = "[server]\nworkers = 1\n".to_owned()
        + &listener("http")
        + "limits = { body_timeout = \"300ms\" }\n"
        + &service("app", &[("app", 1, origin.address)])
        + &route("app");
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    // An upload that breaks off after a piece that looks like a request.
    let mut client = RawClient::connect(http).await;
    let piece = "GET /poison HTTP/1.1\r\nHost: app.test\r\n\r\n";
    client.send(post("Content-Length: 1000\r\n", piece)).await;
    origin.await_wire("/poison").await;
    drop(client);
    for _ in 0..3 {
        let mut client = RawClient::connect(http).await;
        client.send("GET /clean HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!(response.status, 200);
        assert!(String::from_utf8_lossy(&response.body).contains("/clean"));
    }
    let broken = origin.seen_at("/row")[0].connection;
    assert!(
        origin.seen_at("/clean").iter().all(|seen| seen.connection != broken),
        "a connection in the middle of a body was used again"
    );
}
