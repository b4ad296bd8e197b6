//! Every bound of time and size, each with its status and its reason.

use super::reasons;
use crate::support::{
    Act, Ca, Client, Dir, Edge, Origin, RawClient,
    client::{Failure, read, request, with_headers},
    frames::{FrameClient, HEADERS, RST_STREAM},
    get, listener,
    origin::{Gate, Then},
    port::Port,
    route, service,
    text::simple,
    upstream,
};
use std::{net::SocketAddr, time::Duration};
use tokio::time::Instant;

fn with_timeouts(endpoint: SocketAddr, timeouts: &str) -> String {
    listener("http")
        + &upstream("app", &[endpoint])
        + &format!(
            "timeouts = {{ {timeouts} }}\nretries = {{ attempts = 0 }}\npool = {{ idle = 0 }}\n"
        )
        + "[services.app.versions.v1]\nupstream = \"app\"\nweight = 1\n"
        + &route("app")
}

fn with_limits(endpoint: SocketAddr, limits: &str) -> String {
    listener("http")
        + &format!("limits = {{ {limits} }}\n")
        + &service("app", &[("app", 100, endpoint)])
        + &route("app")
}

/// Checks that something took about as long as its bound says.
fn took(started: Instant, bound: Duration) {
    let elapsed = started.elapsed();
    let expected = bound.mul_f64(0.8)..bound + Duration::from_secs(3);
    assert!(expected.contains(&elapsed), "took {elapsed:?}, the bound being {bound:?}");
}

#[tokio::test]
async fn an_endpoint_that_never_accepts_is_504_after_the_connect_timeout() {
    let port = Port::reserve();
    let _full = port.black_hole();
    let edge = Edge::start(&with_timeouts(port.address(), "connect = \"300ms\"")).await;
    let started = Instant::now();
    get(edge.address("http").await, "/").await.assert_refused(504, reasons::CONNECT_TIMEOUT);
    took(started, Duration::from_millis(300));
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_504_after_the_response_timeout() {
    let origin = Origin::start("v1").await;
    origin.on("/", Act::stall());
    let edge = Edge::start(&with_timeouts(origin.address, "response = \"300ms\"")).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let started = Instant::now();
        client.get("/").await.assert_refused(504, reasons::RESPONSE_TIMEOUT);
        took(started, Duration::from_millis(300));
        assert_eq!(client.get("/fine").await.status, 200);
        assert_eq!(client.opened, 1, "the client's connection is not to blame");
    }
    origin.await_connections(0).await;
}

#[tokio::test]
async fn a_body_that_stops_is_cut_after_the_idle_timeout() {
    let origin = Origin::start("v1").await;
    origin.on("/", Act::partial(Then::Stall));
    let edge = Edge::start(&with_timeouts(origin.address, "idle = \"300ms\"")).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let started = Instant::now();
        let response = client.open(request("GET", "/", "")).await.unwrap();
        let whole = read(response).await;
        assert!(matches!(whole, Err(Failure::Cut(_))), "{whole:?}");
        took(started, Duration::from_millis(300));
    }
}

#[tokio::test]
async fn an_exchange_has_a_total_when_it_is_given_one() {
    let origin = Origin::start("v1").await;
    origin.on("/", Act::stall());
    let edge = Edge::start(&with_timeouts(origin.address, "total = \"300ms\"")).await;
    let started = Instant::now();
    get(edge.address("http").await, "/").await.assert_refused(504, reasons::TOTAL_TIMEOUT);
    took(started, Duration::from_millis(300));
}

#[tokio::test]
async fn a_head_that_dribbles_is_408_after_the_header_timeout() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&with_limits(origin.address, "header_timeout = \"300ms\"")).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    let started = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nHost: app.test\r\nX-Slow: 1" {
        // Each byte in time, the head not: the bound is for all of it.
        if client.try_send([*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let response = client.response().await;
    assert_eq!((response.status, response.reason()), (408, Some(reasons::HEADER_TIMEOUT)));
    assert!(client.closed().await);
    took(started, Duration::from_millis(300));
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let origin = Origin::start("v1").await;
    let limits = "header_timeout = \"300ms\", keepalive_timeout = \"400ms\"";
    let edge = Edge::start(&with_limits(origin.address, limits)).await;
    let http = edge.address("http").await;
    let started = Instant::now();
    let mut silent = RawClient::connect(http).await;
    assert_eq!(silent.read_to_close().await, b"", "nothing was asked, nothing is said");
    took(started, Duration::from_millis(300));

    let mut idle = RawClient::connect(http).await;
    idle.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    idle.response().await;
    let started = Instant::now();
    assert!(idle.closed().await);
    took(started, Duration::from_millis(400));
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408_after_the_body_timeout() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&with_limits(origin.address, "body_timeout = \"300ms\"")).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    let started = Instant::now();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100\r\n\r\nonly this").await;
    let response = client.response().await;
    assert_eq!((response.status, response.reason()), (408, Some(reasons::BODY_TIMEOUT)));
    assert!(client.closed().await);
    took(started, Duration::from_millis(300));
    origin.await_connections(0).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed_after_the_body_timeout() {
    let origin = Origin::start("v1").await.forgetful();
    origin.on("/huge", Act::Bytes(64 * 1024 * 1024));
    let edge = Edge::start(&with_limits(origin.address, "body_timeout = \"500ms\"")).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    client.send("GET /huge HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    origin.await_requests(1).await;
    // Without a byte read, the upstream's connection must come free again.
    origin.await_connections(0).await;
    drop(client);
}

#[tokio::test]
async fn what_is_too_large_is_named() {
    let origin = Origin::start("v1").await;
    let limits = "header_bytes = \"4KiB\", headers = 20, uri_bytes = \"1KiB\"";
    let edge =
        Edge::start(&(with_limits(origin.address, limits) + "body_limit = \"1KiB\"\n")).await;
    let http = edge.address("http").await;
    let long = |length: usize| "x".repeat(length);
    let fields: String = (0..30).map(|n| format!("X-{n}: 1\r\n")).collect();
    let head = "HTTP/1.1\r\nHost: app.test\r\n";
    for (what, bytes, status, reason) in [
        ("URI", format!("GET /{} {head}\r\n", long(2_000)), 414, reasons::URI_TOO_LONG),
        (
            "head",
            format!("GET / {head}X-L: {}\r\n\r\n", long(5_000)),
            431,
            reasons::HEADER_TOO_LARGE,
        ),
        ("fields", format!("GET / {head}{fields}\r\n"), 431, reasons::HEADER_TOO_LARGE),
        (
            "length",
            format!("POST / {head}Content-Length: 2000\r\n\r\n"),
            413,
            reasons::BODY_TOO_LARGE,
        ),
        (
            "chunks",
            format!(
                "POST / {head}Transfer-Encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n",
                long(2_000)
            ),
            413,
            reasons::BODY_TOO_LARGE,
        ),
    ] {
        let mut client = RawClient::connect(http).await;
        client.send(bytes).await;
        let response = client.response().await;
        assert_eq!((response.status, response.reason()), (status, Some(reason)), "{what}");
    }
    assert!(!origin.wire_text().contains("GET"), "{}", origin.wire_text());

    let mut client = Client::http2(http);
    let reply = client.send(request("POST", "/", long(2_000))).await;
    reply.assert_refused(413, reasons::BODY_TOO_LARGE);
    let reply = client.get(&format!("/{}", long(2_000))).await;
    reply.assert_refused(414, reasons::URI_TOO_LONG);
    let names: Vec<String> = (0..30).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "1")).collect();
    let reply = client.send(with_headers("GET", "/", &many, "")).await;
    reply.assert_refused(431, reasons::HEADER_TOO_LARGE);
}

#[tokio::test]
async fn a_listener_takes_so_many_connections_and_no_more() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&with_limits(origin.address, "connections = 4")).await;
    let http = edge.address("http").await;
    let mut kept = Vec::new();
    for _ in 0..4 {
        let mut client = Client::http1(http);
        assert_eq!(client.get("/").await.status, 200);
        kept.push(client);
    }
    let mut fifth = RawClient::connect(http).await;
    fifth.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let said = String::from_utf8_lossy(&fifth.read_to_close().await).into_owned();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 503"), "{said}");
    for client in &mut kept {
        assert_eq!(client.get("/").await.status, 200, "those who are in stay in");
    }
    kept.pop();
    crate::support::eventually("a place for another", || async {
        let asked = Client::http1(http).try_send(request("GET", "/", "")).await;
        asked.is_ok_and(|reply| reply.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_process_takes_so_many_connections_over_all_listeners() {
    let origin = Origin::start("v1").await;
    let config = "[server]\nworkers = 2\ndrain = \"5s\"\nconnections = 3\n".to_owned()
        + &listener("one")
        + &listener("two")
        + &service("app", &[("app", 100, origin.address)])
        + &route("app");
    let edge = Edge::start(&config).await;
    let (one, two) = (edge.address("one").await, edge.address("two").await);
    let mut kept = Vec::new();
    for address in [one, one, two] {
        let mut client = Client::http1(address);
        assert_eq!(client.get("/").await.status, 200);
        kept.push(client);
    }
    for address in [one, two] {
        let mut more = RawClient::connect(address).await;
        more.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        assert!(more.read_to_close().await.is_empty());
    }
    for client in &mut kept {
        assert_eq!(client.get("/").await.status, 200, "those who are in stay in");
    }
}

#[tokio::test]
async fn a_tls_handshake_that_does_not_go_on_ends_after_its_timeout() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let leaf = ca.issue(&["app.test"]).table(&dir, "edge");
    let config = listener("https")
        + &format!("tls = {{ certificates = [{leaf}] }}\n")
        + "[listeners.https.limits]\nhandshake_timeout = \"300ms\"\n"
        + "\n[routes.ok]\nrespond = { status = 200, body = \"ok\" }\n";
    let edge = Edge::start_in(dir, &config).await;
    let mut silent = RawClient::connect(edge.address("https").await).await;
    // A record's head: a ClientHello that never comes.
    silent.send([22, 3, 1, 1, 0]).await;
    let started = Instant::now();
    silent.read_to_close().await;
    took(started, Duration::from_millis(300));
    let failed = ["listener=\"https\"", "outcome=\"failed\""];
    edge.api().counted("tidegate_tls_handshakes_total", &failed, 1.0).await;
}

#[tokio::test]
async fn an_h2_connection_has_so_many_streams_and_no_more() {
    let origin = Origin::start("v1").await;
    let gate = Gate::default();
    origin.on("/held", Act::Gate(gate.clone()));
    let edge = Edge::start(&with_limits(origin.address, "h2_streams = 2")).await;
    let mut client = FrameClient::connect(edge.address("http").await).await;
    for stream in [1, 3, 5] {
        client.get(stream, "/held").await;
    }
    let reset = client.next_of(RST_STREAM).await.expect("one is refused");
    assert_eq!((reset.stream, &*reset.payload), (5, &[0, 0, 0, 7][..]), "REFUSED_STREAM");
    gate.open();
    for _ in 0..2 {
        let head = client.next_of(HEADERS).await.expect("the others are answered");
        assert_eq!(FrameClient::status(&head), 200);
    }
}

#[tokio::test]
async fn a_request_that_ends_well_is_bounded_by_none_of_it() {
    let origin = Origin::start("v1").await;
    origin.on("/slow", Act::Slow(Duration::from_millis(400)));
    let edge = Edge::start(&simple(origin.address)).await;
    assert_eq!(get(edge.address("http").await, "/slow").await.status, 200);
}
