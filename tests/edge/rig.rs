//! The rig against itself: a load that counts wrongly would prove nothing.

use crate::support::{
    Act, Ca, Client, Load, Origin, RawClient,
    client::{Failure, request},
    frames::FrameClient,
    grpc::H2Origin,
    load::Plan,
    origin::{OnAccept, Then},
    port::Port,
    websocket, within,
};
use std::time::Duration;

fn http1_only(plan: Plan) -> Plan {
    Plan { http1: 2, http2: 0, ..plan }
}

#[tokio::test]
async fn a_load_on_a_good_server_sees_nothing() {
    let origin = Origin::start("v1").await;
    let load = Load::start(http1_only(Plan::plain(origin.address, 2))).await;
    load.await_answers(50).await;
    let report = load.stop().await;
    report.assert_nothing_failed();
    report.assert_no_connection_closed();
    assert_eq!(report.answered() as u64, origin.requests());
    assert_eq!(origin.wire().len(), 2, "two connections, kept");
    assert!(report.answers.iter().all(|answer| answer.version == "v1" && answer.reason.is_none()));
}

#[tokio::test]
async fn a_load_sees_cuts_refusals_and_ends() {
    let origin = Origin::start("v1").await;
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let silent = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for act in [
        Act::Echo,
        Act::close(),
        Act::partial(Then::Close),
        Act::Status(503),
        Act::raw(closing, Then::Close),
        Act::raw(silent, Then::Close),
    ] {
        origin.once("/load", act);
    }
    let plan =
        Plan { http1: 1, pause: Duration::from_millis(20), ..Plan::plain(origin.address, 1) };
    let load = Load::start(plan).await;
    load.await_answers(10).await;
    let report = load.stop().await;
    assert_eq!(report.failed.values().sum::<u64>(), 2, "{:?}", report.failed);
    assert_eq!(report.statuses()[&503], 1);
    assert_eq!((report.closed_gracefully, report.closed_silently), (1, 1), "{}", report.summary());
}

#[tokio::test]
async fn an_h2_load_counts_too() {
    let origin = H2Origin::start("v1").await;
    let plan = Plan { http1: 0, http2: 3, ..Plan::plain(origin.address, 3) };
    let load = Load::start(plan).await;
    load.await_answers(30).await;
    let report = load.stop().await;
    report.assert_nothing_failed();
    report.assert_no_connection_closed();
    assert_eq!((report.answered() as u64, origin.connections()), (origin.requests(), 3));
}

#[tokio::test]
async fn a_load_over_tls_checks_the_certificate() {
    let ca = Ca::new();
    let good = Origin::start_tls("v1", ca.issue(&["app.test"]).server(&["http/1.1"])).await;
    let load = Load::start(http1_only(Plan::plain(good.address, 2).tls(&ca))).await;
    load.await_answers(10).await;
    load.stop().await.assert_nothing_failed();
    let mut stranger = Client::http1(good.address).tls(Ca::new().client(&["http/1.1"]));
    assert!(matches!(stranger.connect().await, Err(Failure::Connect(_))));
}

#[tokio::test]
async fn an_origin_stops_and_comes_back_on_its_port() {
    let mut origin = Origin::start("v1").await;
    let mut client = Client::http1(origin.address);
    assert_eq!(client.get("/").await.version(), "v1");
    origin.stop().await;
    assert!(client.try_send(request("GET", "/", "")).await.is_err());
    assert!(matches!(client.connect().await, Err(Failure::Connect(_))), "nobody listens");
    origin.restart().await;
    assert_eq!(client.get("/").await.version(), "v1");
    origin.on_accept(OnAccept::Reset);
    client.disconnect();
    assert!(client.try_send(request("GET", "/", "")).await.is_err());
}

#[tokio::test]
async fn a_black_hole_swallows_connections() {
    let port = Port::reserve();
    let _full = port.black_hole();
    let attempt = tokio::net::TcpStream::connect(port.address());
    assert!(tokio::time::timeout(Duration::from_millis(300), attempt).await.is_err());
}

#[tokio::test]
async fn a_websocket_and_raw_frames_work_without_an_edge() {
    let origin = Origin::start("v1").await;
    let mut client = RawClient::connect(origin.address).await;
    websocket::open(&mut client, "/chat").await;
    assert_eq!(websocket::say(&mut client, "hello").await, "hello");

    let h2 = H2Origin::start("v1").await;
    let mut client = FrameClient::connect(h2.address).await;
    assert!(client.get(1, "/").await);
    let head = within("a response", client.next()).await.unwrap();
    assert_eq!(FrameClient::status(&head), 200);
}

#[test]
fn huffman_statuses_are_read() {
    // 503, 429 and 101 as the code of RFC 7541 appendix B spells their digits.
    let frame = |value: &[u8]| crate::support::frames::Frame {
        kind: crate::support::frames::HEADERS,
        flags: 0,
        stream: 1,
        payload: [&[0x48, 0x80 | value.len() as u8], value].concat(),
    };
    for (bits, status) in [
        ("011011" /*5*/, "00000" /*0*/, "011001" /*3*/, 503),
        ("011010" /*4*/, "00010" /*2*/, "011111" /*9*/, 429),
        ("00001" /*1*/, "00000" /*0*/, "00001" /*1*/, 101),
    ]
    .map(|(a, b, c, status)| (format!("{a}{b}{c}"), status))
    {
        let padded = format!("{bits:1<24}");
        let length = bits.len().div_ceil(8);
        let bytes: Vec<u8> = (0..length)
            .map(|at| u8::from_str_radix(&padded[at * 8..at * 8 + 8], 2).unwrap())
            .collect();
        assert_eq!(FrameClient::status(&frame(&bytes)), status, "{bits}");
    }
}

#[tokio::test]
async fn pebble_runs_and_shows_its_root() {
    let (http, tls) = (Port::reserve(), Port::reserve());
    let settings = crate::support::pebble::Settings::new(http.address(), tls.address());
    let mut pebble = crate::support::pebble::Pebble::start(settings);
    let first = pebble.root().await;
    pebble.restart();
    assert_ne!(pebble.root().await, first);
    assert_eq!(pebble.issued(), 0);
}
