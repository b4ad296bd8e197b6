//! The long runs of `scripts/test --full`; `SOAK_SECONDS` and `SOAK_KILLS` bound them.

use crate::support::{Ca, Dir, Edge, Load, Origin, get, listener, load::Plan, route, service};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test]
#[ignore = "long; scripts/test --full runs it"]
async fn changes_without_end_under_load_fail_nothing_and_keep_memory_flat() {
    let length = Duration::from_secs(number("SOAK_SECONDS", 600));
    let (ca, dir) = (Ca::new(), Dir::new());
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let (blue, green) = (blue.forgetful(), green.forgetful());
    let tls = ca.issue(&["app.test"]).table(&dir, "edge");
    let config = |more: &str, note: u64| {
        listener("http")
            + &listener("https")
            + &format!("tls = {{ certificates = [{tls}] }}\n")
            + more
            + &service("app", &[("blue", 100, blue.address), ("green", 0, green.address)])
            + &route("app")
            + &format!("response_headers = {{ set = {{ x-note = \"{note}\" }} }}\n")
    };
    let mut edge = Edge::start_in(dir, &config("", 0)).await;
    let (http, https) = (edge.address("http").await, edge.address("https").await);
    let plan = Plan {
        most: u64::MAX,
        longest: length + Duration::from_secs(120),
        pause: Duration::from_millis(10),
        ..Plan::plain(http, 8)
    };
    let loads = [
        Load::start(plan.clone()).await,
        Load::start(Plan { target: https, ..plan }.tls(&ca)).await,
    ];

    let end = Instant::now() + length;
    let mut settled = None;
    let mut turn = 0;
    while Instant::now() < end {
        turn += 1;
        let share = (turn * 37 % 101) as f64;
        edge.api().weights("app", &[("blue", 100.0 - share), ("green", share)]).await;
        edge.reload(&config(
            if turn % 2 == 0 { "" } else { "\n[listeners.more]\naddress = \"127.0.0.1:0\"\n" },
            turn,
        ))
        .await;
        if turn % 10 == 0 {
            ca.issue(&["app.test"]).write(&edge.dir, "edge");
        }
        if turn % 50 == 0 {
            let mut old = edge.upgrade().await;
            assert!(old.wait_exit().await.success());
            settled = None;
        }
        for load in &loads {
            load.await_answers(50).await;
        }
        // Twenty rounds warm everything; from then on a process must not grow.
        if turn % 50 == 20 {
            settled = Some(edge.resident());
        } else if let Some(settled) = settled {
            let now = edge.resident();
            assert!(now < settled + 32 * 1024, "grew from {settled} to {now} KiB in turn {turn}");
        }
    }
    println!("{turn} turns");
    for load in loads {
        let report = load.stop().await;
        println!("{}", report.summary());
        report.assert_nothing_failed();
        assert_eq!(report.closed_silently, 0, "{}", report.summary());
    }
}

#[tokio::test]
#[ignore = "long; scripts/test --full runs it"]
async fn what_was_acknowledged_survives_hundreds_of_kills() {
    let kills = number("SOAK_KILLS", 300);
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = listener("http")
        + &service("app", &[("blue", 100, blue.address), ("green", 0, green.address)])
        + &route("app");
    let mut edge = Edge::start(&config).await;
    let mut acknowledged = None;
    for kill in 0..kills {
        if let Some(expected) = acknowledged {
            let told = edge.api().json("/v1/services/app/weights").await;
            assert_eq!(told["weights"]["green"], expected, "after kill {kill}: {told}");
        }
        // Writes without a pause; the kill comes at a moment nobody chose.
        let api = edge.api();
        let writer = tokio::spawn(async move {
            let mut last = None;
            for step in 1..200 {
                let green = f64::from(step) / 2.0;
                let body = json!({ "weights": { "blue": 100.0 - green, "green": green } });
                let mut request =
                    crate::support::api::request("PUT", "/v1/services/app/weights", Some(&body));
                request.headers_mut().insert("if-match", "*".parse().unwrap());
                match api.try_send(request).await {
                    Some(reply) if reply.status.is_success() => last = Some(green),
                    _ => break,
                }
            }
            last
        });
        tokio::time::sleep(Duration::from_micros(kill * 7_919 % 60_000)).await;
        edge.kill().await;
        // What was acknowledged last, or the one write after it that was never answered.
        let last = writer.await.unwrap();
        edge = edge.restart().await;
        let told = edge.api().json("/v1/services/app/weights").await;
        let found = told["weights"]["green"].as_f64().expect("a weight");
        if let Some(last) = last {
            assert!([last, last + 0.5].contains(&found), "after kill {kill}: {found}, not {last}");
        }
        acknowledged = Some(found);
        assert_eq!(get(edge.address("http").await, "/").await.status, 200);
    }
}

#[tokio::test]
#[ignore = "long; scripts/test --full runs it"]
async fn a_thousand_reloads_of_the_core_rule_set_keep_memory_flat() {
    if !std::path::Path::new("/usr/share/modsecurity-crs").is_dir() {
        eprintln!("skipped: no package modsecurity-crs");
        return;
    }
    let reloads = number("SOAK_RELOADS", 1_000);
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    // Every reload compiles all rules anew: a file of rules changed, and with it the set.
    let config = |turn: u64| {
        let own = format!("SecRule ARGS:own \"@streq {turn}\" \"id:1,phase:2,deny,status:403\"\n");
        let own = dir.write("own.conf", &own);
        listener("http")
            + &format!(
                "[waf.crs]\nrules = [\"crs\", {own:?}]\ninbound_threshold = {}\n",
                5 + turn % 2
            )
            + &service("app", &[("app", 100, origin.address)])
            + &route("app")
            + "waf = \"crs\"\n"
    };
    let first = config(0);
    let edge = Edge::start_in(Dir::new(), &first).await;
    let http = edge.address("http").await;
    // The old set lives on beside the new one for a moment, and the allocator returns memory
    // later, much later on a busy machine: what counts is the least of two hundred turns, once
    // the first two hundred have settled.
    const WINDOW: u64 = 200;
    let (mut settled, mut least) = (None, u64::MAX);
    for turn in 1..=reloads {
        edge.reload(&config(turn)).await;
        assert_eq!(get(http, &format!("/?own={turn}")).await.status, 403, "turn {turn}");
        assert_eq!(get(http, "/?own=no").await.status, 200, "turn {turn}");
        least = least.min(edge.resident());
        if turn % WINDOW == 0 {
            println!("turn {turn}: {least} KiB");
            if turn > WINDOW {
                let settled = *settled.get_or_insert(least);
                assert!(least < settled + 24 * 1024, "grew from {settled} KiB");
            }
            least = u64::MAX;
        }
    }
}
