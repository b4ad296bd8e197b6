//! Clients that want something for nothing. Each story is named for the symptom it once had.

use super::reasons;
use crate::support::{
    Act, Ca, Client, Edge, Origin, RawClient,
    client::{get_with, streaming, with_headers},
    frames::{END_HEADERS, END_STREAM, FrameClient, HEADERS, RST_STREAM, SETTINGS, request_block},
    get,
    grpc::fed_body,
    listener,
    origin::{Gate, Then},
    route,
    text::simple,
    within,
};
use bytes::Bytes;
use hyper::body::Frame;
use std::time::Duration;

#[tokio::test]
async fn an_early_answer_does_not_leave_the_next_client_behind_an_upload() {
    let origin = Origin::start("v1").await;
    let early = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    origin.on("/early", Act::raw(early, Then::KeepOpen));
    let edge = Edge::start(&("[server]\nworkers = 1\n".to_owned() + &simple(origin.address))).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let (feed, body) = fed_body();
        feed.send(Frame::data(Bytes::from("not yet all"))).await.unwrap();
        let answer = client.open(streaming("POST", "/early", body)).await.unwrap();
        assert_eq!(answer.status(), 200);
        // The upload goes on; others have nothing to do with it.
        for _ in 0..3 {
            assert_eq!(within("somebody else's answer", get(http, "/")).await.status, 200);
        }
        drop(feed);
    }
}

#[tokio::test]
async fn a_slow_upload_is_not_the_upstreams_slowness() {
    let origin = Origin::start("v1").await;
    let config = simple(origin.address) + "\n[upstreams.app.timeouts]\nresponse = \"600ms\"\n";
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    let (feed, body) = fed_body();
    let mut client = Client::http1(http);
    let asked = tokio::spawn(async move { client.send(streaming("POST", "/up", body)).await });
    for _ in 0..8 {
        feed.send(Frame::data(Bytes::from("x"))).await.unwrap();
        // The pace of the client is what this is about.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(feed);
    let reply = asked.await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.json()["body"]), (200, &"xxxxxxxx".into()));
}

#[tokio::test]
async fn cookies_in_several_h2_fields_reach_h1_upstreams_as_one() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let mut client = Client::http2(edge.address("http").await);
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2")];
    assert_eq!(client.send(with_headers("GET", "/crumbs", &crumbs, "")).await.status, 200);
    assert_eq!(origin.only("/crumbs").header("cookie").as_deref(), Some("a=1; b=2"));
}

#[tokio::test]
async fn the_body_of_a_get_arrives() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    let mut client = RawClient::connect(http).await;
    let request = "GET /search HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\n\r\n";
    client.send(request).await;
    let response = client.response().await;
    let text = String::from_utf8_lossy(&response.body).into_owned();
    assert!(text.contains("\"body\":\"hello\""), "{text}");
    let (feed, body) = fed_body();
    feed.send(Frame::data(Bytes::from("over h2"))).await.unwrap();
    drop(feed);
    let reply = Client::http2(http).send(streaming("GET", "/search", body)).await;
    assert_eq!(reply.json()["body"], "over h2");
}

#[tokio::test]
async fn an_upstream_that_is_to_be_tls_is_not_spoken_to_over_old_connections() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for _ in 0..5 {
        assert_eq!(get(http, "/").await.status, 200);
    }
    let ca = Ca::new().root_file(&edge.dir);
    let tls = format!("tls = {{ server_name = \"a.test\", ca = {ca:?} }}\n");
    let config = listener("http")
        + &crate::support::upstream("app", &[origin.address])
        + &tls
        + "timeouts = { connect = \"300ms\" }\n"
        + "\n[services.app.versions.app]\nupstream = \"app\"\nweight = 100\n"
        + &route("app");
    edge.reload(&config).await;
    // This origin takes a ClientHello for half a request and waits for the rest.
    get(http, "/").await.assert_refused(504, "connect_timeout");
}

#[tokio::test]
async fn an_h2_client_without_a_request_does_not_stay() {
    let origin = Origin::start("v1").await;
    let limits = "protocols = [\"http2\"]\n[listeners.http.limits]\nheader_timeout = \"300ms\"\n\
                  keepalive_timeout = \"300ms\"\n";
    let config = listener("http")
        + limits
        + &crate::support::service("app", &[("app", 100, origin.address)])
        + &route("app");
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    let mut silent = RawClient::connect(http).await;
    let mut idle = FrameClient::connect(http).await;
    idle.get(1, "/").await;
    assert!(idle.next_of(HEADERS).await.is_some());
    assert!(idle.goaway_at_end().await.is_some(), "told to go, then gone");
    within("the end of the silent one", silent.read_to_close()).await;
}

#[tokio::test]
async fn an_h2_stream_nobody_reads_ends_and_the_others_go_on() {
    let origin = Origin::start("v1").await;
    origin.on("/big", Act::Bytes(4_000_000));
    let gate = Gate::default();
    origin.on("/held", Act::Gate(gate.clone()));
    let config = listener("http")
        + "[listeners.http.limits]\nbody_timeout = \"500ms\"\n"
        + &crate::support::service("app", &[("app", 100, origin.address)])
        + &route("app");
    let edge = Edge::start(&config).await;
    let mut client = FrameClient::connect(edge.address("http").await).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    client.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
    client.get(1, "/big").await;
    client.get(3, "/held").await;
    let reset = client.next_of(RST_STREAM).await.expect("the stream is reset");
    assert_eq!(reset.stream, 1);
    // What goes on beside it keeps nobody's stream alive, and loses nothing.
    gate.open();
    let head = client.next_of(HEADERS).await.expect("the other one is answered");
    assert_eq!((head.stream, FrameClient::status(&head)), (3, 200));
    drop(client);
    let api = edge.api();
    let flying = || async {
        (api.metric_sum("tidegate_endpoint_in_flight", &[]).await == 0.0).then_some(())
    };
    crate::support::eventually("nothing is in flight", flying).await;
}

#[tokio::test]
async fn the_total_timeout_holds_for_clients_that_read_slowly_or_not_at_all() {
    let origin = Origin::start("v1").await;
    origin.on("/big", Act::Bytes(64_000_000));
    let total = "timeouts = { total = \"700ms\" }\n";
    let config = listener("http")
        + &crate::support::upstream("app", &[origin.address])
        + total
        + "\n[services.app.versions.app]\nupstream = \"app\"\nweight = 100\n"
        + &route("app");
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    let mut h1 = RawClient::connect(http).await;
    h1.send("GET /big HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let mut h2 = FrameClient::connect(http).await;
    h2.get(1, "/big").await;
    // Neither reads on; both are over long before the 30 s a client may be silent.
    origin.await_requests(2).await;
    within("the end of both", origin.await_connections(0)).await;
}

#[tokio::test]
async fn a_dribbled_upload_costs_what_it_weighs() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    assert_eq!(get(http, "/").await.status, 200);
    let before = edge.resident();
    let mut client = RawClient::connect(http).await;
    client.send("POST /up HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9000\r\n\r\n").await;
    for sent in 0..4_000 {
        client.send("x").await;
        if sent % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    origin.await_wire(&"x".repeat(4_000)).await;
    let grown = edge.resident().saturating_sub(before);
    // Each byte used to keep the buffer it was read into: 16 KiB.
    assert!(grown < 6 * 1024, "{grown} KiB for 4,000 bytes");
}

#[tokio::test]
async fn a_plain_connection_ends_with_its_listeners_plain_text() {
    let origin = Origin::start("v1").await;
    let ca = Ca::new();
    let port = crate::support::port::Port::reserve();
    let edge = Edge::start("").await;
    let config = |tls: &str| {
        format!("\n[listeners.web]\naddress = \"{}\"\n{tls}", port.address())
            + &crate::support::service("app", &[("app", 100, origin.address)])
            + &route("app")
    };
    edge.reload(&config("")).await;
    let mut old = RawClient::connect(port.address()).await;
    let request = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
    old.send(request).await;
    assert_eq!(old.response().await.status, 200);
    let leaf = ca.issue(&["app.test"]).table(&edge.dir, "edge");
    edge.reload(&config(&format!("tls = {{ certificates = [{leaf}] }}\n"))).await;
    old.send(request).await;
    let refused = old.response().await;
    assert_eq!((refused.status, refused.reason()), (421, Some(reasons::MISDIRECTED)));
    assert!(old.closed().await);
}

#[tokio::test]
async fn h2_lengths_and_heads_are_as_narrow_as_on_h1() {
    let origin = Origin::start("v1").await;
    let config = listener("http")
        + "[listeners.http.limits]\nheader_bytes = \"4KiB\"\n"
        + &crate::support::service("app", &[("app", 100, origin.address)])
        + &route("app");
    let edge = Edge::start(&config).await;
    let long = "x".repeat(5_000);
    for (fields, status, reason) in [
        (&[("content-length", "0"), ("content-length", "0")][..], 400, "malformed_request"),
        (&[("content-length", "")], 400, "malformed_request"),
        (&[("x-long", &*long)], 431, "header_too_large"),
    ] {
        let mut client = FrameClient::connect(edge.address("http").await).await;
        client.send(HEADERS, END_STREAM | END_HEADERS, 1, &request_block("GET", "/", fields)).await;
        let head = client.next_of(HEADERS).await.expect("an answer");
        assert_eq!(FrameClient::status(&head), status, "{fields:?}");
        let label = format!("reason=\"{reason}\"");
        assert!(edge.api().metric_sum("tidegate_refusals_total", &[&label]).await >= 1.0);
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn claims_of_untrusted_clients_do_not_reach_upstreams() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let claims =
        [("x-forwarded-ssl", "on"), ("x-original-url", "/admin"), ("front-end-https", "on")];
    get_with(edge.address("http").await, "/claims", &claims).await;
    for (name, _) in claims {
        assert_eq!(origin.only("/claims").header(name), None, "{name}");
    }
}

#[tokio::test]
async fn an_empty_fixed_answer_is_not_a_client_that_left() {
    let config = listener("http") + "\n[routes.ok]\nrespond = { status = 200, body = \"\" }\n";
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    assert_eq!(get(http, "/").await.status, 200);
    assert_eq!(Client::http2(http).get("/").await.status, 200);
    let left = ["reason=\"client_closed\""];
    assert_eq!(edge.api().metric_sum("tidegate_refusals_total", &left).await, 0.0);
}

#[tokio::test]
async fn h2_targets_are_as_narrow_as_h1_targets() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    for path in ["/\u{e9}", "/?%00", "/x%0d%0a", "*"] {
        let mut client = FrameClient::connect(edge.address("http").await).await;
        client.get(1, path).await;
        // A target that is no URI at all ends the stream; one that is gets 400.
        if let Some(head) = client.next_of(HEADERS).await {
            assert_eq!(FrameClient::status(&head), 400, "{path}");
        }
    }
    assert_eq!(origin.requests(), 0);
}
