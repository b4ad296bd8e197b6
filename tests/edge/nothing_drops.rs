//! The promise everything else stands on: whatever changes, no request fails.

use crate::support::{
    Ca, Client, Dir, Edge, Load, Origin, eventually, listener,
    load::{Plan, Report},
    route, service,
};
use std::net::SocketAddr;
use tokio::time::Instant;

/// A plain and a TLS listener before `blue` and `green`; `note` makes each text another.
fn config(tls: &str, more: &str, blue: SocketAddr, green: SocketAddr, note: usize) -> String {
    listener("http")
        + &listener("https")
        + &format!("tls = {{ certificates = [{tls}] }}\n")
        + more
        + &service("app", &[("blue", 100, blue), ("green", 0, green)])
        + &route("app")
        + &format!("response_headers = {{ set = {{ x-note = \"{note}\" }} }}\n")
}

/// Checks that `green` had its share of what was sent in a window, within six standard
/// deviations.
fn follows(report: &Report, window: (Instant, Instant), green_percent: f64) -> usize {
    let versions = report.versions(window.0, window.1);
    let total: usize = versions.values().sum();
    let green = versions.get("green").copied().unwrap_or(0) as f64;
    let (n, p) = (total as f64, green_percent / 100.0);
    let bound = 6.0 * (n * p * (1.0 - p)).sqrt();
    assert!(
        (green - n * p).abs() <= bound,
        "{green} of {n} on green at {green_percent} %, allowed are {} +- {bound:.0}",
        n * p
    );
    total
}

#[tokio::test]
async fn fifty_weight_changes_twenty_reloads_a_certificate_a_listener_and_an_upgrade() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue, green) = (blue.forgetful(), green.forgetful());
    let leaf = ca.issue(&["app.test"]);
    let tls = leaf.table(&dir, "edge");
    let text = |more: &str, note: usize| config(&tls, more, blue.address, green.address, note);
    let mut edge = Edge::start_in(dir, &text("", 0)).await;
    let (http, https) = (edge.address("http").await, edge.address("https").await);
    let api = edge.api();

    let plain = Load::start(Plan::plain(http, 8)).await;
    let secure = Load::start(Plan::plain(https, 8).tls(&ca)).await;
    let loads = [&plain, &secure];
    let more = async |answers: usize| {
        for load in loads {
            load.await_answers(answers).await;
        }
    };

    // Weights: each window begins when the reply came and ends before the next change is sent.
    let mut windows = Vec::new();
    for change in 0..50_u32 {
        let share = f64::from([0, 100, 50, 10, 90, 25, 75][change as usize % 7]);
        api.weights("app", &[("blue", 100.0 - share), ("green", share)]).await;
        let start = Instant::now();
        more(40).await;
        windows.push((share, (start, Instant::now())));
    }

    // Reloads: every other one through the file alone.
    let mut probe = Client::http1(http);
    for note in 1..=20 {
        if note % 2 == 0 {
            edge.reload(&text("", note)).await;
        } else {
            edge.write_config(&text("", note));
        }
        let expected = note.to_string();
        loop {
            let reply = probe.get("/probe").await;
            if reply.header("x-note") == Some(&expected) {
                break;
            }
            assert!(note % 2 == 1, "the API answered before the swap");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        more(20).await;
    }
    assert_eq!(probe.opened, 1);

    // A certificate.
    let next = ca.issue(&["app.test"]);
    next.write(&edge.dir, "edge");
    eventually("the new certificate", || async {
        let mut client = Client::http2(https).tls(ca.client(&["h2"]));
        client.connect().await.ok()?;
        (client.certificate.as_ref() == Some(&next.certificate)).then_some(())
    })
    .await;
    more(50).await;

    // So far not one connection has ended.
    for load in loads {
        let report = load.so_far();
        report.assert_nothing_failed();
        report.assert_no_connection_closed();
    }

    // A listener comes, is used, and goes.
    edge.reload(&text(&listener("third"), 21)).await;
    let third = Load::start(Plan::plain(edge.address("third").await, 8)).await;
    third.await_answers(200).await;
    edge.reload(&text("", 22)).await;
    let third = third.stop().await;
    println!("the listener that went: {}", third.summary());
    let cut: Vec<_> = third.failed.keys().filter(|how| !how.starts_with("Connect")).collect();
    assert!(cut.is_empty(), "{:?}", third.failed);
    assert_eq!(third.closed_silently, 0, "{}", third.summary());
    assert!(third.statuses().keys().all(|&status| status == 200), "{:?}", third.statuses());
    more(50).await;
    for load in loads {
        load.so_far().assert_no_connection_closed();
    }

    // The binary.
    let mut old = edge.upgrade().await;
    let status = old.wait_exit().await;
    assert!(status.success(), "the old process ended with {status}");
    more(200).await;
    assert_eq!((edge.address("http").await, edge.address("https").await), (http, https));

    let mut judged = 0;
    for (name, load) in [("plain", plain), ("TLS", secure)] {
        let report = load.stop().await;
        println!("{name}: {}", report.summary());
        report.assert_nothing_failed();
        assert_eq!(report.closed_silently, 0, "{}", report.summary());
        assert!(report.closed_gracefully > 0, "the upgrade moved everybody to the new process");
        for (share, window) in &windows {
            judged += follows(&report, *window, *share);
        }
    }
    println!("{judged} requests judged by the weights in force when they were sent");
}
