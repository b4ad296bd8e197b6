//! How a process ends: everybody is served, nobody is cut before the deadline.

use crate::support::{
    Act, Client, Edge, Load, Origin, RawClient,
    frames::{DATA, FrameClient, GOAWAY, HEADERS, RST_STREAM},
    get, listener,
    load::Plan,
    origin::Gate,
    route,
    text::simple,
    upstream, websocket,
};
use rustix::process::Signal;
use std::time::Duration;
use tokio::{net::TcpStream, time::Instant};

fn with_drain(endpoint: std::net::SocketAddr, drain: &str) -> String {
    format!("[server]\nworkers = 2\ndrain = \"{drain}\"\n") + &simple(endpoint)
}

#[tokio::test]
async fn sigterm_with_nothing_to_do_ends_at_once_and_well() {
    let origin = Origin::start("v1").await;
    let mut edge = Edge::start(&with_drain(origin.address, "60s")).await;
    get(edge.address("http").await, "/").await;
    edge.sigterm();
    let started = Instant::now();
    let status = edge.wait_exit().await;
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(3), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn sigterm_lets_h1_requests_finish_and_announces_the_end() {
    let origin = Origin::start("v1").await;
    let gate = Gate::default();
    origin.on("/held", Act::Gate(gate.clone()));
    let mut edge = Edge::start(&with_drain(origin.address, "20s")).await;
    let http = edge.address("http").await;
    let mut busy = RawClient::connect(http).await;
    busy.send("GET /held HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    origin.await_requests(1).await;
    let mut idle = RawClient::connect(http).await;
    idle.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert_eq!(idle.response().await.header("connection"), None);

    edge.sigterm();
    crate::support::eventually("the port to be closed", || async {
        TcpStream::connect(http).await.is_err().then_some(())
    })
    .await;
    // A request that was already on its way when the drain began is answered.
    assert!(idle.open(), "an idle connection is not cut under a request");
    idle.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let last = idle.response().await;
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert!(idle.closed().await);

    gate.open();
    let held = busy.response().await;
    assert_eq!((held.status, held.header("connection")), (200, Some("close")));
    assert!(busy.closed().await);
    assert!(edge.wait_exit().await.success());
}

#[tokio::test]
async fn sigterm_says_goaway_in_two_steps_on_h2() {
    let origin = Origin::start("v1").await;
    let gate = Gate::default();
    origin.on("/held", Act::Gate(gate.clone()));
    let mut edge = Edge::start(&with_drain(origin.address, "20s")).await;
    let mut client = FrameClient::connect(edge.address("http").await).await;
    assert!(client.get(1, "/held").await);
    origin.await_requests(1).await;

    edge.sigterm();
    let (last, code) = client.next_of(GOAWAY).await.expect("a GOAWAY").goaway();
    assert_eq!((last, code), (0x7fff_ffff, 0), "first: nothing is refused yet");
    // On its way when the first GOAWAY came: still answered.
    assert!(client.get(3, "/late").await);
    let mut answered = Vec::new();
    let mut goaway = None;
    gate.open();
    while let Some(frame) = client.next().await {
        match frame.kind {
            HEADERS => {
                assert_eq!(FrameClient::status(&frame), 200);
                answered.push(frame.stream);
            }
            GOAWAY => goaway = Some(frame.goaway()),
            DATA => {}
            RST_STREAM => panic!("stream {} was reset", frame.stream),
            _ => {}
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
    assert_eq!(goaway, Some((3, 0)), "the real one names the last stream it took");
    assert!(edge.wait_exit().await.success());
}

#[tokio::test]
async fn streams_live_until_the_drain_deadline_and_no_longer() {
    let origin = Origin::start("v1").await;
    let mut edge = Edge::start(&with_drain(origin.address, "2s")).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    websocket::open(&mut client, "/chat").await;
    edge.sigterm();
    let started = Instant::now();
    assert_eq!(websocket::say(&mut client, "still here").await, "still here");
    client.read_to_close().await;
    let lived = started.elapsed();
    assert!(lived > Duration::from_millis(1_500), "cut after {lived:?} of 2 s");
    let status = edge.wait_exit().await;
    assert!(started.elapsed() < Duration::from_secs(6), "ended after {:?}", started.elapsed());
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn nothing_fails_when_a_load_meets_sigterm() {
    let origin = Origin::start("v1").await.forgetful();
    let mut edge = Edge::start(&with_drain(origin.address, "20s")).await;
    let load = Load::start(Plan::plain(edge.address("http").await, 8)).await;
    load.await_answers(500).await;
    edge.sigterm();
    let status = edge.wait_exit().await;
    assert!(status.success(), "{status}");
    let report = load.stop().await;
    println!("{}", report.summary());
    // New connections are refused once it is gone; no request on an old one may be cut.
    let cut: Vec<_> = report.failed.keys().filter(|how| !how.starts_with("Connect")).collect();
    assert!(cut.is_empty(), "{:?}", report.failed);
    assert_eq!(report.closed_silently, 0, "ends are announced");
    assert!(report.statuses().keys().all(|&status| status == 200), "{:?}", report.statuses());
}

#[tokio::test]
async fn a_second_sigterm_does_not_wait() {
    let origin = Origin::start("v1").await;
    origin.on("/held", Act::stall());
    let mut edge = Edge::start(&with_drain(origin.address, "60s")).await;
    let http = edge.address("http").await;
    let held = tokio::spawn(async move {
        Client::http1(http).try_send(crate::support::client::request("GET", "/held", "")).await
    });
    origin.await_requests(1).await;
    edge.sigterm();
    crate::support::eventually("the drain to begin", || async {
        TcpStream::connect(http).await.is_err().then_some(())
    })
    .await;
    edge.sigterm();
    let started = Instant::now();
    edge.wait_exit().await;
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
    assert!(held.await.unwrap().is_err());
}

#[tokio::test]
async fn an_upgrade_hands_over_and_loses_nothing() {
    let origin = Origin::start("v1").await.forgetful();
    let mut edge = Edge::start(&with_drain(origin.address, "20s")).await;
    let http = edge.address("http").await;
    let load = Load::start(Plan::plain(http, 8)).await;
    load.await_answers(500).await;
    for round in 0..3 {
        let mut old = edge.upgrade().await;
        assert_eq!(edge.address("http").await, http, "the same socket");
        let status = old.wait_exit().await;
        assert!(status.success(), "round {round}: the old process ended with {status}");
        load.await_answers(500).await;
    }
    let report = load.stop().await;
    println!("{}", report.summary());
    report.assert_nothing_failed();
    assert_eq!(report.closed_silently, 0, "{}", report.summary());
}

#[tokio::test]
async fn an_upgrade_keeps_weights_drains_and_what_checks_say() {
    let origins = [Origin::start("a").await, Origin::start("b").await, Origin::start("c").await];
    let [a, b, c] = &origins;
    let green = Origin::start("green").await;
    a.on("/healthz", Act::Status(500));
    let config = "[server]\nworkers = 1\ndrain = \"10s\"\n".to_owned()
        + &listener("http")
        + &upstream("blue", &[a.address, b.address, c.address])
        + "health = { path = \"/healthz\", interval = \"100ms\", unhealthy_after = 1 }\n"
        + &upstream("green", &[green.address])
        + "\n[services.app.versions]\nblue = { upstream = \"blue\", weight = 100 }\n\
           green = { upstream = \"green\", weight = 0 }\n"
        + &route("app");
    let mut edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    edge.api().await_health("blue", a.address, "unhealthy").await;
    edge.api().weights("app", &[("blue", 50.0), ("green", 50.0)]).await;
    edge.api().endpoint_state("blue", b.address, "drain").await;

    let mut old = edge.upgrade().await;
    assert!(old.wait_exit().await.success());
    let api = edge.api();
    let weights = api.json("/v1/services/app/weights").await;
    assert_eq!(weights["weights"]["green"], 50.0, "{weights}");
    assert_eq!(api.endpoint("blue", b.address).await["admin"], "drain");
    assert_eq!(api.endpoint("blue", a.address).await["health"], "unhealthy");
    let mut versions = std::collections::BTreeMap::<String, u32>::new();
    let mut client = Client::http1(http);
    for _ in 0..200 {
        *versions.entry(client.get("/").await.version().to_owned()).or_default() += 1;
    }
    let found: Vec<_> = versions.keys().map(String::as_str).collect();
    assert_eq!(found, ["c", "green"], "{versions:?}");
    // Binomial, n = 200, p = 1/2: six standard deviations are 42.
    assert!((58..=142).contains(&versions["green"]), "{versions:?}");
}

#[tokio::test]
async fn an_old_process_that_dies_before_it_let_go_leaves_the_new_one_serving() {
    let origin = Origin::start("v1").await;
    let checks = "health = { path = \"/healthz\", interval = \"1h\", timeout = \"20s\" }\n";
    let config = "[server]\nworkers = 1\ndrain = \"5s\"\n".to_owned()
        + &listener("http")
        + &upstream("app", &[origin.address])
        + checks
        + "\n[services.app.versions.app]\nupstream = \"app\"\nweight = 100\n"
        + &route("app");
    let mut edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    // The new process waits for its first check, the old one for the new one.
    let gate = Gate::default();
    origin.on("/healthz", Act::Gate(gate.clone()));
    let checked = origin.seen_at("/healthz").len();
    let new = edge.begin_upgrade();
    crate::support::eventually("the new process to check", || async {
        (origin.seen_at("/healthz").len() > checked).then_some(())
    })
    .await;
    edge.kill().await;
    gate.open();
    edge.succeed(new);
    edge.logs().await_log(&["the process before is gone"]).await;
    assert_eq!(get(http, "/").await.status, 200);
    // And it can be upgraded in turn.
    let mut old = edge.upgrade().await;
    assert!(old.wait_exit().await.success());
    assert_eq!(get(http, "/").await.status, 200);
}

#[tokio::test]
async fn an_upgrade_lets_streams_finish_in_the_old_process() {
    let origin = Origin::start("v1").await;
    let mut edge = Edge::start(&with_drain(origin.address, "30s")).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    websocket::open(&mut client, "/chat").await;
    let mut old = edge.upgrade().await;
    assert_eq!(websocket::say(&mut client, "still here").await, "still here");
    assert!(old.runs());
    drop(client);
    assert!(old.wait_exit().await.success());
}

#[tokio::test]
async fn an_upgrade_that_cannot_start_leaves_the_old_process_serving() {
    let origin = Origin::start("v1").await;
    let config = with_drain(origin.address, "5s");
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    let good = edge.dir.path("edge.toml");
    let bad = edge.dir.path("bad.toml");
    std::fs::write(&bad, std::fs::read_to_string(&good).unwrap() + "\n[nonsense]\nx = 1\n")
        .unwrap();
    let (rig, bad) = (edge.dir.path("rig.toml"), bad);
    let arguments = ["run", "-c", rig.to_str().unwrap(), "-c", bad.to_str().unwrap(), "--upgrade"];
    let output = crate::support::edge::run_cli(&arguments, &[]).await;
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("nonsense"), "{}", output.stderr);
    assert_eq!(get(http, "/").await.status, 200);
    assert_eq!(edge.api().get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_new_process_that_dies_while_taking_over_leaves_the_old_one_serving() {
    let origin = Origin::start("v1").await.forgetful();
    let edge = Edge::start(&with_drain(origin.address, "5s")).await;
    let http = edge.address("http").await;
    let load = Load::start(Plan::plain(http, 4)).await;
    // Somebody connects to the hand-over socket and goes away without a word.
    for _ in 0..3 {
        let socket = edge.dir.path("state/upgrade.sock");
        drop(tokio::net::UnixStream::connect(&socket).await.expect("the hand-over socket"));
        load.await_answers(100).await;
    }
    let report = load.stop().await;
    report.assert_nothing_failed();
    assert_eq!(edge.api().get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_crash_loses_no_state() {
    let origin = Origin::start("v1").await;
    let mut edge = Edge::start(&with_drain(origin.address, "5s")).await;
    for _ in 0..3 {
        edge.kill().await;
        edge = edge.restart().await;
        assert_eq!(get(edge.address("http").await, "/").await.status, 200);
    }
    // A signal that means nothing to us ends nothing.
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(edge.pid().cast_signed()).unwrap(),
        Signal::WINCH,
    )
    .unwrap();
    assert_eq!(get(edge.address("http").await, "/").await.status, 200);
}
