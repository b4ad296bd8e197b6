//! How much a WAF policy holds, for whom, and for how long.

use super::reasons;
use crate::support::{
    Client, Dir, Edge, Origin, RawClient,
    client::{streaming, with_headers},
    eventually,
    grpc::fed_body,
    listener,
    origin::{Act, Then},
    route, service,
};
use bytes::Bytes;
use hyper::body::Frame;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

const RULES: &str = r#"
SecResponseBodyMimeType text/html
SecRule ARGS "@contains attack" "id:1001,phase:2,deny,log,t:lowercase,msg:'An attack'"
SecRule RESPONSE_BODY "@contains secret-token" "id:2002,phase:4,deny,log,msg:'A leak'"
"#;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// `most` is `server.held_bodies`; clients are who they say to be.
fn config(dir: &Dir, endpoint: SocketAddr, most: &str, limits: &str, policy: &str) -> String {
    let rules = dir.write("rules.conf", RULES);
    format!("[log]\nformat = \"json\"\n[server]\nheld_bodies = \"{most}\"\n")
        + &listener("http")
        + &format!("trusted_proxies = [\"127.0.0.1\"]\nlimits = {{ {limits} }}\n")
        + &format!("\n[waf.strict]\nrules = [{rules:?}]\n{policy}\n")
        + &service("app", &[("app", 100, endpoint)])
        + &route("app")
        + "waf = \"strict\"\n"
}

/// A client that sends this many bytes and never the last one.
async fn stalled(http: SocketAddr, client: &str, bytes: usize) -> RawClient {
    let mut raw = RawClient::connect(http).await;
    let (length, part) = (bytes + 1, "x".repeat(bytes));
    raw.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\nContent-Length: {length}\r\n\r\n{part}"
    ))
    .await;
    raw
}

/// Ten bytes a second, for ever.
async fn trickle(feed: &mpsc::Sender<Frame<Bytes>>) {
    let mut tick = interval(Duration::from_millis(100));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // The pause is what counts, not whether the byte is taken.
        let _ = feed.try_send(Frame::data(Bytes::from_static(b"x")));
    }
}

async fn held(edge: &Edge, what: &str, is_so: impl Fn(f64) -> bool) -> f64 {
    let api = edge.api();
    eventually(what, || async {
        let held = api.metric_sum("tidegate_waf_held_bytes", &[]).await;
        is_so(held).then_some(held)
    })
    .await
}

/// Before, nothing was counted once the upstream had the body, and the values were kept with all
/// that was made of them.
#[tokio::test]
async fn what_is_known_of_a_request_is_counted_until_its_upstream_answers() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    origin.on("/stall", Act::stall());
    let text = config(&dir, origin.address, "1MiB", "", "");
    let edge = Edge::start_in(dir, &text).await;
    let http = edge.address("http").await;
    let body = format!("a={}&z=THE-END", "X".repeat(120_000));
    let length = body.len();
    let mut raw = RawClient::connect(http).await;
    raw.send(format!(
        "POST /stall HTTP/1.1\r\nHost: a\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\r\n{body}",
        FORM.1
    ))
    .await;
    origin.await_wire("THE-END").await;
    // The body and the argument; in lower case it is there while the rules look.
    let now = held(&edge, "both are counted", |held| held >= 240_000.0).await;
    assert!(now < 340_000.0, "{now}");
    drop(raw);
    held(&edge, "nothing is held", |held| held == 0.0).await;
}

/// Before, one address could take all there is, and keep it.
#[tokio::test]
async fn a_client_holds_a_quarter_of_all_and_others_are_served() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let limits = "body_limit = \"1MiB\"\nupload_limit = \"1MiB\"";
    let edge =
        Edge::start_in(dir.clone(), &config(&dir, origin.address, "32MiB", "", limits)).await;
    let http = edge.address("http").await;
    let mut one = Vec::new();
    for n in 0..7 {
        one.push(stalled(http, "2001:db8::1", 1_000_000).await);
        let all = f64::from(n + 1) * 1_000_000.0;
        held(&edge, "the body is held", |held| held >= all).await;
    }
    let post = |client: &str| {
        let body = "y".repeat(1_000_000);
        with_headers("POST", "/", &[("x-forwarded-for", client)], body)
    };
    let mut client = Client::http1(http);
    // Of the same network.
    client.send(post("2001:db8::2")).await.assert_refused(503, reasons::OVERLOADED);
    assert_eq!(client.send(post("2001:db8:1::1")).await.status, 200);
    assert_eq!(client.send(post("192.0.2.1")).await.status, 200);
    one.clear();
    eventually("room again", || async {
        (Client::http1(http).send(post("2001:db8::2")).await.status == 200).then_some(())
    })
    .await;
    let limit = ["policy=\"strict\"", "limit=\"held\""];
    assert!(edge.api().metric_sum("tidegate_waf_limits_total", &limit).await >= 1.0);
}

/// Before, a byte in every pause kept a body for as long as its client wanted.
#[tokio::test]
async fn a_body_that_trickles_in_is_not_held() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let text = config(&dir, origin.address, "1MiB", "body_timeout = \"1s\"", "");
    let edge = Edge::start_in(dir, &text).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let (feed, body) = fed_body();
        let refused = tokio::select! {
            reply = client.send(streaming("POST", "/", body)) => reply,
            () = trickle(&feed) => unreachable!("it has no end"),
        };
        refused.assert_refused(408, reasons::BODY_TIMEOUT);
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn detect_mode_refuses_nothing_for_want_of_memory() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let detect = "mode = \"detect\"\nbody_limit = \"2MiB\"";
    let limits = "body_timeout = \"1s\"";
    let text = config(&dir, origin.address, "1MiB", limits, detect);
    let edge = Edge::start_in(dir, &text).await;
    let http = edge.address("http").await;
    let (feed, body) = fed_body();
    let mut slow = Client::http1(http);
    let slow = tokio::spawn(async move { slow.send(streaming("POST", "/slow", body)).await });
    feed.send(Frame::data(Bytes::from("x".repeat(1_000_000)))).await.unwrap();
    held(&edge, "the body is held", |held| held >= 1_000_000.0).await;
    let body = format!("a=attack&b={}", "x".repeat(100_000));
    let mut client = Client::http1(http);
    let reply = client.send(with_headers("POST", "/full", &[FORM], body.clone())).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["body_length"]), (200, &body.len().into()));
    // Too slow to be held, it goes on as it comes.
    tokio::select! {
        () = origin.await_requests(2) => {}
        () = trickle(&feed) => {}
    }
    feed.send(Frame::data(Bytes::from_static(b"the end"))).await.unwrap();
    drop(feed);
    let told = slow.await.unwrap().json()["body_length"].as_u64().unwrap();
    assert!((1_000_008..1_001_000).contains(&told), "{told}");
    for path in ["/full", "/slow"] {
        let line = edge.logs().await_access("its line", |line| line["path"] == path).await;
        let told = (&line["waf"]["outcome"], &line["waf"]["limits"]);
        assert_eq!(told, (&"detected".into(), &serde_json::json!(["held"])), "{line}");
    }
}

/// Before, an answer of an upstream that had acted already became a 503.
#[tokio::test]
async fn a_response_without_room_passes_where_a_long_one_may() {
    for (lines, status) in
        [("", 200), ("mode = \"detect\"", 200), ("on_limit = { response = \"block\" }", 503)]
    {
        let (origin, dir) = (Origin::start("v1").await, Dir::new());
        let page = "x".repeat(200_000);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n",
            page.len()
        );
        origin.on("/page", Act::raw(head + &page, Then::Close));
        let lines = format!("response_bodies = true\nbody_limit = \"2MiB\"\n{lines}");
        let text = config(&dir, origin.address, "1MiB", "", &lines);
        let edge = Edge::start_in(dir, &text).await;
        let http = edge.address("http").await;
        let _stalled = stalled(http, "192.0.2.1", 1_000_000).await;
        held(&edge, "the body is held", |held| held >= 1_000_000.0).await;
        let reply = Client::http1(http).get("/page").await;
        assert_eq!(reply.status, status, "{lines}");
        match status {
            200 => assert_eq!(reply.text().len(), page.len(), "{lines}"),
            _ => reply.assert_refused(503, reasons::OVERLOADED),
        }
        let line = edge.logs().await_access("its line", |line| line["path"] == "/page").await;
        assert_eq!(line["waf"]["limits"], serde_json::json!(["held"]), "{line}");
    }
}
