//! Certificates for names that clients bring, from pebble; skipped where it is not installed.

mod support;

use std::{path::Path, sync::Arc, time::Duration};
use support::{
    Node, acme, config,
    edge::Edge,
    issuer, listener,
    pebble::{Pebble, Settings},
    permission::{Permission, Says},
};
use tidegate_certs::{CertificateState, Clock, Source};
use tidegate_config::Config;
use time::OffsetDateTime;
use tokio::{task::JoinSet, time::timeout};

const NAME: &str = "shop.customers.example";
const ORDERS: &str = "tidegate_certificate_orders_total";

fn settings(edge: &Edge) -> Settings {
    Settings {
        http_port: edge.http.port(),
        tls_port: edge.tls.port(),
        validity: 90 * 86_400,
        eab: false,
    }
}

fn with(pebble: &Pebble, on_demand: &str) -> Config {
    with_tls(pebble, &format!("on_demand = {{ {on_demand} }}"))
}

fn with_tls(pebble: &Pebble, tls: &str) -> Config {
    let tls = format!("{{ {tls} }}");
    config(&(listener(&tls, &[]) + &acme(&[issuer("pebble", pebble)], "[\"tls-alpn-01\"]")))
}

fn asking(pebble: &Pebble, permission: &Permission, more: &str) -> Config {
    with(pebble, &format!("ask = \"{}\"{more}", permission.url()))
}

/// How many handshakes on demand came to this.
fn outcomes(node: &Node, outcome: &str) -> f64 {
    let families = node.registry.gather();
    let family = families.iter().find(|family| family.name() == "tidegate_on_demand_total");
    let mut metrics = family.expect("it is registered").get_metric().iter();
    let found = metrics.find(|metric| metric.get_label()[0].value() == outcome);
    found.expect("every outcome is shown").get_counter().get_value()
}

/// A certificate that is shown, however many handshakes it takes.
async fn served(edge: &Edge, name: &str) -> Vec<u8> {
    let shown = async {
        loop {
            if let Ok(shown) = edge.shown(name).await {
                return shown;
            }
        }
    };
    timeout(Duration::from_secs(30), shown).await.expect("a certificate")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_handshakes_are_one_question_and_one_order_and_a_restart_none() {
    let edge = Arc::new(Edge::start().await);
    let Some(pebble) = Pebble::start(settings(&edge)) else { return };
    let permission = Permission::start(Says::Status(200)).await;
    let config = asking(&pebble, &permission, ", rate = \"1/m\", wait = \"60s\"");
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    node.apply(&config, Some(&edge));
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let edge = Arc::clone(&edge);
        clients.spawn(async move { edge.shown("Shop.Customers.Example").await.unwrap() });
    }
    let mut shown = clients.join_all().await;
    shown.dedup();
    assert_eq!(shown.len(), 1);
    assert_eq!(permission.asked(), ["/allowed?domain=shop.customers.example"]);
    assert_eq!((pebble.issued(), node.metric(ORDERS)), (1, 1.0));
    assert_eq!(outcomes(&node, "served"), 50.0);
    let status = node.status(NAME);
    assert_eq!((status.state, status.source), (CertificateState::Held, Source::Acme));
    assert!(status.on_demand && status.next_renewal.is_some(), "{status:?}");
    assert_eq!(node.metric("tidegate_certificate_expiry_seconds"), 0.0, "its name is no label");
    assert_eq!(node.metric("tidegate_on_demand_certificates"), 1.0);
    assert!(node.metric("tidegate_on_demand_expiry_seconds") > 1e9);
    node.stop().await;

    let node = Node::start(dir.path()).await;
    node.apply(&config, Some(&edge));
    assert_eq!(edge.shown(NAME).await.unwrap(), shown[0]);
    let restarted = node.status(NAME);
    assert_eq!((restarted.serial, restarted.on_demand), (status.serial, true));
    assert_eq!((permission.asked().len(), node.metric(ORDERS)), (1, 0.0));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_costs_no_order_and_no_question_beyond_the_rate() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(settings(&edge)) else { return };
    let permission = Permission::start(Says::Status(404)).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    node.apply(&asking(&pebble, &permission, ", rate = \"3/h\""), Some(&edge));
    for number in 0..20 {
        assert!(edge.shown(&format!("scan{number}.example.com")).await.is_err());
    }
    // Not names that could be had, whoever allows them.
    for name in ["127.0.0.1", "single", "a.internal", "a_b.example.com", ""] {
        assert!(edge.shown(name).await.is_err(), "{name}");
    }
    assert_eq!(permission.asked().len(), 3);
    assert_eq!((outcomes(&node, "denied"), outcomes(&node, "limited")), (6.0, 17.0));

    // A list is looked into without counting.
    let listed = "names = [\"*.customers.example\"], rate = \"1/h\"";
    node.apply(&with(&pebble, listed), Some(&edge));
    for number in 0..20 {
        assert!(edge.shown(&format!("scan{number}.example.com")).await.is_err());
    }
    assert_eq!(node.metric(ORDERS), 0.0);
    assert!(node.certs.list().is_empty());
    served(&edge, NAME).await;
    assert_eq!((permission.asked().len(), pebble.issued()), (3, 1));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_yes_is_refused_in_time_and_remembered() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(settings(&edge)) else { return };
    let permission = Permission::start(Says::Nothing).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let on_demand = format!(
        "on_demand = {{ ask = \"{}\", wait = \"1s\", rate = \"100/m\" }}",
        permission.url()
    );
    node.apply(&with_tls(&pebble, &on_demand), Some(&edge));
    let all = [Says::Status(302), Says::Status(500), Says::Status(201), Says::Nothing];
    for (number, says) in all.into_iter().enumerate() {
        permission.say(says);
        let name = format!("a{number}.customers.example");
        for _ in 0..3 {
            let refused = timeout(Duration::from_secs(5), edge.shown(&name)).await;
            assert!(refused.expect("an answer").is_err(), "{says:?}");
        }
        assert_eq!(permission.asked().len(), number + 1, "{says:?}: {:?}", permission.asked());
    }
    let of = |outcome| outcomes(&node, outcome);
    assert_eq!((of("denied"), of("failed"), of("late")), (6.0, 3.0, 3.0));
    assert_eq!((node.metric(ORDERS), node.certs.list().len()), (0.0, 0));

    // A reload that leaves them alone forgets nothing; other settings deserve another answer.
    permission.say(Says::Status(200));
    let narrowed = format!("min_version = \"1.3\", {on_demand}");
    node.apply(&with_tls(&pebble, &narrowed), Some(&edge));
    assert!(edge.shown("a0.customers.example").await.is_err());
    assert_eq!(permission.asked().len(), 4);
    node.apply(&asking(&pebble, &permission, ", wait = \"60s\""), Some(&edge));
    assert!(edge.shown("a0.customers.example").await.is_ok());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_fails_is_not_repeated_for_each_client() {
    let edge = Edge::start().await;
    let Some(mut pebble) = Pebble::start(settings(&edge)) else { return };
    let permission = Permission::start(Says::Status(200)).await;
    let dir = tempfile::tempdir().unwrap();
    let slow = |options: &mut tidegate_certs::Options| {
        options.schedule.backoff_first = Duration::from_secs(60);
    };
    let node = Node::start_with(dir.path(), true, slow).await;
    node.apply(&asking(&pebble, &permission, ", wait = \"30s\", max_names = 1"), Some(&edge));
    pebble.stop();
    for _ in 0..5 {
        assert!(edge.shown(NAME).await.is_err());
    }
    assert_eq!((permission.asked().len(), node.metric(ORDERS)), (1, 1.0));
    assert_eq!(outcomes(&node, "failed"), 5.0);
    let status = node.status(NAME);
    assert_eq!(status.state, CertificateState::Ordering);
    assert!(status.last_error.unwrap().contains("cannot connect"));
    assert!(edge.shown("other.customers.example").await.is_err());
    assert_eq!((permission.asked().len(), outcomes(&node, "full")), (1, 1.0));

    // It is ordered again like any other name.
    pebble.restart();
    node.certs.renew(NAME, true).unwrap();
    node.held(NAME).await;
    edge.shown(NAME).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_does_not_lead_has_its_names_ordered_by_the_one_that_does() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(settings(&edge)) else { return };
    let permission = Permission::start(Says::Status(200)).await;
    let config = asking(&pebble, &permission, ", wait = \"60s\"");
    let dir = tempfile::tempdir().unwrap();
    let leader = Node::start(dir.path()).await;
    leader.apply(&config, None);
    let follower = Node::start_with(dir.path(), false, |_| {}).await;
    follower.apply(&config, Some(&edge));
    edge.shown(NAME).await.unwrap();
    assert_eq!((leader.metric(ORDERS), follower.metric(ORDERS)), (1.0, 0.0));
    assert_eq!(permission.asked().len(), 1);
    assert!(leader.status(NAME).on_demand && follower.status(NAME).on_demand);
    leader.stop().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_on_their_way_are_bounded_and_who_is_refused_gets_the_default() {
    let edge = Arc::new(Edge::start().await);
    let permission = Permission::start(Says::Nothing).await;
    let ask = permission.url();
    let tls = format!(
        "{{ default = \"localhost\", on_demand = {{ ask = \"{ask}\", wait = \"2s\", \
         rate = \"1000/s\", total_rate = \"1000/s\" }} }}"
    );
    let nowhere = "{ directory = \"https://127.0.0.1:1/dir\" }".to_owned();
    let config = config(&(listener(&tls, &[]) + &acme(&[nowhere], "[\"http-01\"]")));
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    node.apply(&config, Some(&edge));
    let default = edge.shown("").await.unwrap();
    let mut clients = JoinSet::new();
    for number in 0..70 {
        let edge = Arc::clone(&edge);
        let name = format!("a{number}.customers.example");
        clients.spawn(async move { edge.shown(&name).await.unwrap() });
    }
    assert!(clients.join_all().await.into_iter().all(|shown| shown == default));
    assert_eq!((outcomes(&node, "busy"), outcomes(&node, "late")), (6.0, 64.0));
    assert_eq!(permission.asked().len(), 64);
    node.stop().await;
}

/// A node whose clock is ahead by the days told.
async fn ahead(dir: &Path, days: i64) -> Node {
    Node::start_with(dir, true, move |options| {
        options.clock = Clock::new(move || OffsetDateTime::now_utc() + time::Duration::days(days));
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_used_and_still_allowed_is_renewed_and_nothing_is_left_in_the_end() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(settings(&edge)) else { return };
    let permission = Permission::start(Says::Status(200)).await;
    let config = asking(&pebble, &permission, ", wait = \"60s\"");
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    node.apply(&config, Some(&edge));
    edge.shown(NAME).await.unwrap();
    let first = node.status(NAME).serial;
    node.stop().await;

    // Due, and nobody has used it for two months.
    let node = ahead(dir.path(), 75).await;
    node.apply(&config, None);
    let unused = node.status(NAME);
    assert!(unused.remark.as_ref().unwrap().contains("no client used it"), "{unused:?}");
    assert_eq!((unused.next_renewal, unused.serial == first), (None, true));
    // A client comes: it is renewed, once it is clear that it may be.
    node.apply(&config, Some(&edge));
    edge.shown(NAME).await.unwrap();
    let second = node.until(NAME, |status| status.serial != first).await.serial;
    assert_eq!((permission.asked().len(), node.metric(ORDERS)), (2, 1.0));
    node.stop().await;

    permission.say(Says::Status(403));
    let node = ahead(dir.path(), 80).await;
    node.apply(&config, Some(&edge));
    edge.shown(NAME).await.unwrap();
    let told = |status: &tidegate_certs::CertificateStatus| {
        status.remark.as_ref().is_some_and(|remark| remark.contains("no longer allowed"))
    };
    assert_eq!(node.until(NAME, told).await.serial, second);
    assert_eq!(node.metric(ORDERS), 0.0);
    edge.shown(NAME).await.unwrap();
    node.stop().await;

    let node = ahead(dir.path(), 91).await;
    node.apply(&config, Some(&edge));
    let gone = async {
        while !node.certs.list().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.expect("nothing is left of it");
    assert!(edge.shown(NAME).await.is_err());
    assert_eq!(permission.asked().len(), 4, "asked like a name nobody knew");
    for key in ["certs/demand/", "certs/acme/", "acme/pending/", "acme/retry/", "acme/renewal/"] {
        let left = tidegate_store::Store::range(&node.store, key).await.unwrap().0;
        assert!(left.is_empty(), "{key}: {left:?}");
    }
    node.stop().await;
}
