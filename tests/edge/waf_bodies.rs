//! What a WAF policy gets to see of bodies and upgrades, and what it tells when a client leaves.

use super::reasons;
use crate::support::{
    Act, Client, Dir, Edge, Origin, RawClient,
    client::{streaming, with_headers},
    eventually,
    frames::{DATA, END_HEADERS, FrameClient, HEADERS, RST_STREAM, request_block},
    grpc::{H2Origin, fed_body},
    listener,
    origin::Then,
    route, upstream, websocket,
};
use bytes::Bytes;
use hyper::body::Frame;
use std::net::SocketAddr;

const RULES: &str = r#"
SecRule REQUEST_HEADERS:User-Agent "@contains odd" "id:1001,phase:1,pass,log,msg:'An odd client'"
SecRule REQUEST_BODY "@contains attack" "id:1002,phase:2,deny,log,msg:'An attack'"
SecRule RESPONSE_HEADERS:X-Debug "@rx ." "id:1003,phase:3,deny,log,msg:'Debugging is on'"
"#;

/// A route under a policy to a service of one or two versions.
fn config(dir: &Dir, versions: &[(SocketAddr, &str)], lines: &str) -> String {
    let rules = dir.write("rules.conf", RULES);
    let mut text = "[log]\nformat = \"json\"\n".to_owned()
        + &listener("http")
        + &format!("\n[waf.strict]\nrules = [{rules:?}]\n");
    for (n, (address, protocol)) in versions.iter().enumerate() {
        text += &upstream(&format!("v{n}"), &[*address]);
        text += &format!("protocol = \"{protocol}\"\n[services.app.versions.v{n}]\n");
        text += &format!("upstream = \"v{n}\"\nweight = {}\n", if n == 0 { 100 } else { 0 });
    }
    text + &route("app") + "waf = \"strict\"\n" + lines
}

/// Before, a content type took any body out of sight over HTTP/2.
#[tokio::test]
async fn a_grpc_body_is_left_alone_only_where_every_upstream_speaks_http2() {
    let (h1, h2) = (Origin::start("v1").await, H2Origin::start("v2").await);
    for (versions, status) in [
        (&[(h2.address, "http2")][..], 200),
        (&[(h1.address, "http1")], 403),
        (&[(h2.address, "http2"), (h1.address, "http1")], 403),
    ] {
        let dir = Dir::new();
        let edge = Edge::start_in(dir.clone(), &config(&dir, versions, "")).await;
        let mut client = Client::http2(edge.address("http").await);
        let grpc = [("content-type", "application/grpc")];
        let reply = client.send(with_headers("POST", "/x", &grpc, "attack")).await;
        assert_eq!(reply.status, status, "{versions:?}");
    }
    assert_eq!(h1.requests(), 0);
}

/// Before, the policy's limit alone bounded what was held of a body of unknown length.
#[tokio::test]
async fn a_body_beyond_the_routes_limit_is_refused_as_soon_as_it_is() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let text = config(&dir, &[(origin.address, "http1")], "body_limit = \"1KiB\"\n");
    let edge = Edge::start_in(dir, &text).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let (feed, body) = fed_body();
        feed.send(Frame::data(Bytes::from("x".repeat(1_024)))).await.unwrap();
        drop(feed);
        assert_eq!(client.send(streaming("POST", "/x", body)).await.status, 200);
        // It has no end.
        let (feed, body) = fed_body();
        feed.send(Frame::data(Bytes::from("x".repeat(1_025)))).await.unwrap();
        let reply = client.send(streaming("POST", "/x", body)).await;
        reply.assert_refused(413, reasons::BODY_TOO_LARGE);
    }
    assert_eq!(origin.requests(), 2);
}

/// Before, nothing of it was told.
#[tokio::test]
async fn what_was_found_in_a_head_is_told_when_the_client_leaves_during_its_body() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let text = config(&dir, &[(origin.address, "http1")], "");
    let edge = Edge::start_in(dir, &text).await;
    let mut client = FrameClient::connect(edge.address("http").await).await;
    let head = request_block("POST", "/left", &[("user-agent", "odd")]);
    client.send(HEADERS, END_HEADERS, 1, &head).await;
    client.send(DATA, 0, 1, b"some of it").await;
    let api = edge.api();
    eventually("the body is waited for", || async {
        (api.metric_sum("tidegate_waf_held_bytes", &[]).await > 0.0).then_some(())
    })
    .await;
    client.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes()).await;
    let line = edge.logs().await_access("its line", |line| line["path"] == "/left").await;
    assert_eq!(line["waf"]["rules"][0]["id"], 1001, "{line}");
    api.counted("tidegate_waf_matches_total", &["rule=\"1001\""], 1.0).await;
}

/// Before, such a head was the only one that rules did not see.
#[tokio::test]
async fn the_head_of_an_upgrade_is_looked_at_before_the_switch() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let switch = |field: &str| {
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
        Act::raw(format!("{head}{field}\r\n"), Then::Stall)
    };
    origin.on("/debug", switch("X-Debug: 1\r\n")).on("/fine", switch(""));
    let text = config(&dir, &[(origin.address, "http1")], "");
    let edge = Edge::start_in(dir, &text).await;
    let http = edge.address("http").await;
    for (path, status) in [("/debug", 403), ("/fine", 101)] {
        let mut raw = RawClient::connect(http).await;
        raw.send(websocket::handshake(path)).await;
        assert_eq!(raw.response().await.status, status, "{path}");
    }
    let mut raw = RawClient::connect(http).await;
    websocket::open(&mut raw, "/chat").await;
    assert_eq!(websocket::say(&mut raw, "attack").await, "attack");
}
