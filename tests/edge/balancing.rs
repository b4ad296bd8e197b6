//! Which endpoint a request goes to, and what happens when it is not there.

use super::reasons;
use crate::support::{
    Act, Ca, Client, Dir, Edge, Load, Origin,
    client::request,
    eventually, get,
    grpc::H2Origin,
    listener,
    load::Plan,
    origin::{Gate, OnAccept, Then},
    port::Port,
    route, upstream, within,
};
use std::{collections::BTreeMap, net::SocketAddr};
use tokio::time::Instant;

/// One worker, one upstream `app` with these lines, one service, one route.
fn pool(endpoints: &[SocketAddr], lines: &str) -> String {
    "[server]\nworkers = 1\ndrain = \"5s\"\n".to_owned()
        + &listener("http")
        + &upstream("app", endpoints)
        + lines
        + "\n[services.app.versions.v1]\nupstream = \"app\"\nweight = 1\n"
        + &route("app")
}

const QUICK_CHECKS: &str = r#"
health = { path = "/healthz", interval = "100ms", timeout = "500ms", healthy_after = 2, unhealthy_after = 2 }
"#;

async fn spread(client: &mut Client, requests: usize) -> BTreeMap<String, usize> {
    let mut by_version = BTreeMap::new();
    for _ in 0..requests {
        *by_version.entry(client.get("/").await.version().to_owned()).or_default() += 1;
    }
    by_version
}

#[tokio::test]
async fn round_robin_takes_turns() {
    let (a, b, c) = (Origin::start("a").await, Origin::start("b").await, Origin::start("c").await);
    let config = pool(&[a.address, b.address, c.address], "balance = \"round-robin\"");
    let edge = Edge::start(&config).await;
    let mut client = Client::http1(edge.address("http").await);
    let spread = spread(&mut client, 30).await;
    assert_eq!(spread.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[tokio::test]
async fn least_requests_avoids_the_busy_one() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let gate = Gate::default();
    for origin in [&a, &b] {
        origin.on("/held", Act::Gate(gate.clone()));
    }
    let edge = Edge::start(&pool(&[a.address, b.address], "balance = \"least-requests\"")).await;
    let http = edge.address("http").await;
    let held = tokio::spawn(async move { get(http, "/held").await });
    eventually("the held request", || async { (a.requests() + b.requests() == 1).then_some(()) })
        .await;
    let busy = if a.requests() == 1 { "a" } else { "b" };
    let spread = spread(&mut Client::http1(http), 10).await;
    assert_eq!(spread.get(busy), None, "{spread:?} while {busy} was busy");
    gate.open();
    assert_eq!(held.await.unwrap().status, 200);
}

#[tokio::test]
async fn two_choices_use_every_endpoint() {
    let (a, b, c) = (Origin::start("a").await, Origin::start("b").await, Origin::start("c").await);
    let edge = Edge::start(&pool(&[a.address, b.address, c.address], "balance = \"p2c\"")).await;
    let spread = spread(&mut Client::http1(edge.address("http").await), 300).await;
    // Binomial, n = 300, p = 1/3: six standard deviations are 49.
    assert!(spread.len() == 3 && spread.values().all(|&n| (51..=149).contains(&n)), "{spread:?}");
}

#[tokio::test]
async fn an_endpoint_that_fails_its_checks_is_left_out_and_taken_back() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let edge = Edge::start(&pool(&[a.address, b.address], QUICK_CHECKS)).await;
    let api = edge.api();
    let mut client = Client::http1(edge.address("http").await);
    api.await_health("app", a.address, "healthy").await;
    api.await_health("app", b.address, "healthy").await;

    a.on("/healthz", Act::Status(500));
    api.await_health("app", a.address, "unhealthy").await;
    let last = api.endpoint("app", a.address).await["last_failure"].to_string();
    assert!(last.contains("500"), "{last}");
    assert_eq!(spread(&mut client, 20).await, BTreeMap::from([("b".to_owned(), 20)]));

    a.on("/healthz", Act::Echo);
    api.await_health("app", a.address, "healthy").await;
    assert_eq!(spread(&mut client, 200).await.len(), 2);
}

#[tokio::test]
async fn tcp_checks_notice_a_closed_port() {
    let (mut a, b) = (Origin::start("a").await, Origin::start("b").await);
    let checks = "health = { interval = \"100ms\", healthy_after = 1, unhealthy_after = 1 }";
    let edge = Edge::start(&pool(&[a.address, b.address], checks)).await;
    edge.api().await_health("app", a.address, "healthy").await;
    a.stop().await;
    edge.api().await_health("app", a.address, "unhealthy").await;
    a.restart().await;
    edge.api().await_health("app", a.address, "healthy").await;
}

#[tokio::test]
async fn without_a_usable_endpoint_the_answer_is_503_at_once_and_recovery_is_noticed() {
    let mut origin = Origin::start("v1").await;
    let edge = Edge::start(&pool(&[origin.address], QUICK_CHECKS)).await;
    edge.api().await_health("app", origin.address, "healthy").await;
    let mut client = Client::http1(edge.address("http").await);
    assert_eq!(client.get("/").await.status, 200);

    origin.stop().await;
    edge.api().await_health("app", origin.address, "unhealthy").await;
    let asked = Instant::now();
    client.get("/").await.assert_refused(503, reasons::NO_ENDPOINT);
    assert!(asked.elapsed().as_millis() < 500, "at once, not after {:?}", asked.elapsed());

    origin.restart().await;
    let back = Instant::now();
    eventually("the endpoint back in use", || async {
        let reply = get(edge.address("http").await, "/").await;
        (reply.status == 200).then_some(())
    })
    .await;
    // Two checks 100 ms apart with 10 % jitter, and what a shared core adds.
    assert!(back.elapsed().as_millis() < 3_000, "noticed only after {:?}", back.elapsed());
    assert!(client.connected(), "the client's connection outlived all of it");
}

#[tokio::test]
async fn readiness_waits_for_the_first_round_of_checks() {
    let origin = Origin::start("v1").await;
    let gate = Gate::default();
    origin.on("/healthz", Act::Gate(gate.clone()));
    let checks =
        "health = { path = \"/healthz\", interval = \"1h\", timeout = \"20s\", healthy_after = 1 }";
    let edge = Edge::spawn_in(Dir::new(), &pool(&[origin.address], checks));
    origin.await_requests(1).await;
    let api = edge.api();
    let answer = eventually("an answer of /readyz", || async {
        api.try_send(crate::support::api::request("GET", "/readyz", None)).await
    })
    .await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("app"), "says what it waits for: {}", answer.text());
    gate.open();
    eventually("readiness", || async { (api.get("/readyz").await.status == 200).then_some(()) })
        .await;
}

#[tokio::test]
async fn a_refused_connection_is_tried_elsewhere_even_for_post() {
    let (dead, live) = (Port::reserve(), Origin::start("live").await);
    let edge =
        Edge::start(&pool(&[dead.address(), live.address], "balance = \"round-robin\"")).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        for _ in 0..6 {
            let reply = client.send(request("POST", "/", "body")).await;
            assert_eq!((reply.status.as_u16(), reply.version()), (200, "live"));
        }
    }
}

#[tokio::test]
async fn with_nobody_listening_the_answer_is_502_with_its_reason() {
    let dead = Port::reserve();
    let edge = Edge::start(&pool(&[dead.address()], "")).await;
    get(edge.address("http").await, "/").await.assert_refused(502, reasons::CONNECT_FAILED);
}

#[tokio::test]
async fn a_get_whose_connection_breaks_is_sent_again_and_a_post_is_not() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&pool(&[origin.address], "")).await;
    let mut client = Client::http1(edge.address("http").await);
    for (how, act) in [("closed", Act::close()), ("reset", Act::reset())] {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            let path = format!("/{how}/{method}");
            origin.once(&path, act.clone());
            let reply = client.send(request(method, &path, "")).await;
            assert_eq!(reply.status, 200, "{method} after {how}");
            assert_eq!(origin.seen_at(&path).len(), 2, "{method} after {how}");
        }
        for method in ["POST", "PATCH"] {
            let path = format!("/{how}/{method}");
            origin.once(&path, act.clone());
            let reply = client.send(request(method, &path, "x")).await;
            reply.assert_refused(502, reasons::UPSTREAM_RESET);
            assert_eq!(origin.seen_at(&path).len(), 1, "{method} must not be sent twice");
        }
    }
}

#[tokio::test]
async fn a_route_may_allow_post_to_be_sent_again() {
    let origin = Origin::start("v1").await;
    origin.once("/post", Act::close());
    let edge = Edge::start(&(pool(&[origin.address], "") + "retry_unsafe = true\n")).await;
    let mut client = Client::http1(edge.address("http").await);
    let reply = client.send(request("POST", "/post", "payload")).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["body"]), (200, &"payload".into()));
    assert_eq!(origin.seen_at("/post").len(), 2);
}

#[tokio::test]
async fn a_stream_refused_by_an_h2_upstream_is_sent_again_whatever_its_method() {
    let origin = H2Origin::start("v1").await;
    let edge = Edge::start(&pool(&[origin.address], "protocol = \"http2\"")).await;
    let mut client = Client::http2(edge.address("http").await);
    origin.refuse_next(1);
    let reply = client.send(request("POST", "/refuse", "payload")).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["body_length"]), (200, &7.into()));
    assert_eq!(origin.requests(), 2);
    let reply = client.send(request("POST", "/reset", "payload")).await;
    assert_eq!(reply.status, 502);
    assert!(reply.reason().is_some());
}

#[tokio::test]
async fn a_request_above_the_last_stream_of_a_goaway_is_sent_again_whatever_its_method() {
    let origin = H2Origin::start("v1").await;
    let edge = Edge::start(&pool(&[origin.address], "protocol = \"http2\"")).await;
    origin.goaway_next(1);
    let mut client = Client::http1(edge.address("http").await);
    let reply = client.send(request("POST", "/once", "payload")).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["body_length"]), (200, &7.into()));
    assert_eq!((origin.requests(), origin.connections()), (1, 2));
}

#[tokio::test]
async fn a_full_h2_connection_gets_a_second_one_beside_it() {
    let origin = H2Origin::start_narrow("v1", 2).await;
    let config = pool(
        &[origin.address],
        "protocol = \"http2\"\npool = { idle_timeout = \"300ms\" }\n\
             timeouts = { response = \"20s\" }",
    );
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    // The first answer brings the server's limit.
    assert_eq!(get(http, "/").await.status, 200);
    let held: Vec<_> = (0..2)
        .map(|_| tokio::spawn(async move { Client::http1(http).get("/held").await }))
        .collect();
    eventually("both streams are taken", || async { (origin.requests() == 3).then_some(()) }).await;
    for _ in 0..3 {
        assert_eq!(within("room", get(http, "/")).await.status, 200);
    }
    assert_eq!(origin.connections(), 2);
    held.iter().for_each(tokio::task::JoinHandle::abort);
    // What nobody uses any more is closed.
    eventually("no idle connection", || async {
        let idle = edge.api().metric_sum("tidegate_endpoint_idle_connections", &[]).await;
        (idle == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_budget_of_nothing_allows_no_retry_of_what_was_sent() {
    let origin = Origin::start("v1").await;
    origin.once("/once", Act::close());
    let edge = Edge::start(&pool(&[origin.address], "retries = { budget_percent = 0 }")).await;
    get(edge.address("http").await, "/once").await.assert_refused(502, reasons::UPSTREAM_RESET);
    assert_eq!(origin.seen_at("/once").len(), 1);
}

#[tokio::test]
async fn checks_speak_what_the_upstream_speaks() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let leaf = ca.issue(&["a.test"]);
    let tls = format!("tls = {{ server_name = \"a.test\", ca = {:?} }}\n", ca.root_file(&dir));
    let check = "health = { path = \"/healthz\", host = \"check.test\", status = \"200-204\", \
                 interval = \"100ms\", healthy_after = 1, unhealthy_after = 1 }\n";
    let secure = Origin::start_tls("v1", leaf.server(&["http/1.1"])).await;
    let (h2, h2s) =
        (H2Origin::start("v2").await, H2Origin::start_tls("v3", leaf.server(&["h2"])).await);
    for (address, more) in [
        (secure.address, tls.clone()),
        (h2.address, "protocol = \"http2\"\n".to_owned()),
        (h2s.address, "protocol = \"http2\"\n".to_owned() + &tls),
    ] {
        let edge = Edge::start(&pool(&[address], &(more + check))).await;
        edge.api().await_health("app", address, "healthy").await;
        assert_eq!(get(edge.address("http").await, "/").await.status, 200);
    }
    assert_eq!(secure.seen_at("/healthz")[0].header("host").as_deref(), Some("check.test"));
    // A status outside the range is a failure.
    secure.on("/healthz", Act::Status(302));
    let edge = Edge::start(&pool(&[secure.address], &(tls + check))).await;
    edge.api().await_health("app", secure.address, "unhealthy").await;
}

#[tokio::test]
async fn attempts_and_budget_bound_what_a_dead_upstream_costs() {
    let origin = Origin::start("v1").await;
    origin.on("/dead", Act::close());
    let edge =
        Edge::start(&pool(&[origin.address], "retries = { attempts = 2, budget_percent = 20 }"))
            .await;
    let mut client = Client::http1(edge.address("http").await);
    let mut attempts = Vec::new();
    for _ in 0..2 {
        let before = origin.requests();
        for _ in 0..200 {
            let reply = client.get("/dead").await;
            reply.assert_refused(502, reasons::UPSTREAM_RESET);
        }
        attempts.push(origin.requests() - before);
    }
    // A reserve of 100 for quiet times, and 20 % of what is asked.
    assert!(attempts[0] <= 345, "{attempts:?} attempts for 200 requests each");
    assert!((236..=244).contains(&attempts[1]), "{attempts:?} attempts for 200 requests each");
}

#[tokio::test]
async fn no_retries_means_none() {
    let origin = Origin::start("v1").await;
    origin.once("/once", Act::close());
    let edge = Edge::start(&pool(&[origin.address], "retries = { attempts = 0 }")).await;
    get(edge.address("http").await, "/once").await.assert_refused(502, reasons::UPSTREAM_RESET);
    assert_eq!(origin.seen_at("/once").len(), 1);
}

#[tokio::test]
async fn what_is_not_http_answers_502_with_its_reason() {
    let origin = Origin::start("v1").await;
    for (path, bytes) in [
        ("/garbage", "\x00\x01\x02 this is no HTTP\r\n\r\n"),
        ("/two-lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        ("/no-status", "HTTP/1.1 banana\r\n\r\n"),
    ] {
        origin.on(path, Act::raw(bytes, Then::Close));
        let edge = Edge::start(&pool(&[origin.address], "")).await;
        get(edge.address("http").await, path)
            .await
            .assert_refused(502, reasons::UPSTREAM_MALFORMED);
    }
}

#[tokio::test]
async fn an_endpoint_killed_under_load_costs_no_answer() {
    let (mut a, b) = (Origin::start("a").await.forgetful(), Origin::start("b").await.forgetful());
    let config = pool(&[a.address, b.address], QUICK_CHECKS);
    let edge = Edge::start(&config).await;
    let load = Load::start(Plan::plain(edge.address("http").await, 8)).await;
    load.await_answers(200).await;
    for _ in 0..3 {
        a.stop().await;
        edge.api().await_health("app", a.address, "unhealthy").await;
        load.await_answers(200).await;
        a.restart().await;
        edge.api().await_health("app", a.address, "healthy").await;
        load.await_answers(200).await;
    }
    let report = load.stop().await;
    println!("{}", report.summary());
    report.assert_nothing_failed();
    report.assert_no_connection_closed();
}

#[tokio::test]
async fn posts_to_an_endpoint_killed_under_load_fail_with_their_reason_or_not_at_all() {
    let (mut a, b) = (Origin::start("a").await.forgetful(), Origin::start("b").await.forgetful());
    for origin in [&a, &b] {
        origin.on("/load", Act::Slow(std::time::Duration::from_millis(5)));
    }
    let edge = Edge::start(&pool(&[a.address, b.address], QUICK_CHECKS)).await;
    let plan = Plan { method: "POST", ..Plan::plain(edge.address("http").await, 8) };
    let load = Load::start(plan).await;
    load.await_answers(200).await;
    for _ in 0..3 {
        a.stop().await;
        edge.api().await_health("app", a.address, "unhealthy").await;
        load.await_answers(100).await;
        a.restart().await;
        edge.api().await_health("app", a.address, "healthy").await;
        load.await_answers(100).await;
    }
    let report = load.stop().await;
    println!("{}", report.summary());
    assert!(report.failed.is_empty(), "every request has an answer: {:?}", report.failed);
    report.assert_no_connection_closed();
    let reasons = report.reasons();
    let allowed = |reason: &String| {
        ["", reasons::UPSTREAM_RESET, reasons::CONNECT_FAILED].contains(&reason.as_str())
    };
    assert!(reasons.keys().all(allowed), "{reasons:?}");
    assert!(report.statuses().keys().all(|status| [200, 502].contains(status)));
    // What was in flight when the endpoint died, and no more.
    assert!(report.statuses().get(&502).is_none_or(|&n| n <= 3 * 8), "{}", report.summary());
}

#[tokio::test]
async fn an_endpoint_that_slams_the_door_costs_no_answer() {
    let (a, b) = (Origin::start("a").await.forgetful(), Origin::start("b").await.forgetful());
    let edge = Edge::start(&pool(&[a.address, b.address], QUICK_CHECKS)).await;
    for address in [a.address, b.address] {
        edge.api().await_health("app", address, "healthy").await;
    }
    let load = Load::start(Plan::plain(edge.address("http").await, 4)).await;
    for on_accept in [OnAccept::Close, OnAccept::Reset, OnAccept::Serve] {
        a.on_accept(on_accept);
        load.await_answers(150).await;
    }
    let report = load.stop().await;
    report.assert_nothing_failed();
}

#[tokio::test]
async fn an_endpoint_in_drain_finishes_and_gets_nothing_new() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let gate = Gate::default();
    for origin in [&a, &b] {
        origin.on("/held", Act::Gate(gate.clone()));
    }
    let edge = Edge::start(&pool(&[a.address, b.address], "balance = \"round-robin\"")).await;
    let http = edge.address("http").await;
    let held: Vec<_> =
        (0..2).map(|_| tokio::spawn(async move { get(http, "/held").await })).collect();
    a.await_requests(1).await;
    b.await_requests(1).await;

    let api = edge.api();
    api.endpoint_state("app", a.address, "drain").await;
    assert_eq!(api.endpoint("app", a.address).await["admin"], "drain");
    assert_eq!(spread(&mut Client::http1(http), 10).await, BTreeMap::from([("b".to_owned(), 10)]));
    gate.open();
    for reply in held {
        assert_eq!(reply.await.unwrap().status, 200, "what was in flight finishes");
    }
    api.endpoint_state("app", a.address, "active").await;
    assert_eq!(spread(&mut Client::http1(http), 10).await.len(), 2);
}
