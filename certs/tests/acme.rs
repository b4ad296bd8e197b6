//! Certificates from a real ACME server, pebble; skipped where it is not installed.

mod support;

use std::time::Duration;
use support::{
    Node, acme, config,
    edge::{Edge, any_certificate, ask, connect},
    issuer, listener,
    pebble::{EAB, Pebble, Settings},
};
use tidegate_certs::{CertificateState, Source};
use tidegate_store::{Op, Store};

const SHOP: &str = "shop.example.com";
const ORDERS: &str = "tidegate_certificate_orders_total";

fn settings(edge: &Edge) -> Settings {
    Settings {
        http_port: edge.http.port(),
        tls_port: edge.tls.port(),
        validity: 86_400,
        eab: false,
    }
}

fn shop(pebble: &Pebble, challenges: &str) -> tidegate_config::Config {
    config(&(listener("{}", &[SHOP]) + &acme(&[issuer("pebble", pebble)], challenges)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_challenges_issue_and_a_restart_orders_nothing() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(settings(&edge)) else { return };
    for challenge in ["[\"tls-alpn-01\"]", "[\"http-01\"]"] {
        let dir = tempfile::tempdir().unwrap();
        let config = shop(&pebble, challenge);
        let node = Node::start(dir.path()).await;
        node.apply(&config, Some(&edge));
        assert!(edge.shown(SHOP).await.is_err(), "there is none yet");
        let status = node.held(SHOP).await;
        assert_eq!(status.source, Source::Acme);
        assert_eq!(status.authority.as_deref(), Some("pebble"));
        assert!(status.issuer.unwrap().contains("Pebble"));
        let shown = edge.shown(SHOP).await.unwrap();
        assert_eq!(node.metric(ORDERS), 1.0);
        assert!(node.metric("tidegate_certificate_expiry_seconds") > 1e9);
        node.stop().await;

        let node = Node::start(dir.path()).await;
        node.apply(&config, Some(&edge));
        assert_eq!(edge.shown(SHOP).await.unwrap(), shown, "served before any maintenance");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(node.metric(ORDERS), 0.0);
        assert_eq!(node.status(SHOP).serial, status.serial);
        node.stop().await;
    }
    assert_eq!(pebble.issued(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_swapped_under_open_connections() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(Settings { validity: 16, ..settings(&edge) }) else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let text = acme(&[issuer("pebble", &pebble)], "[\"http-01\"]") + "renew_at_percent = 50\n";
    node.apply(&config(&(listener("{}", &[SHOP]) + &text)), Some(&edge));
    let first = node.held(SHOP).await;
    let mut open = connect(edge.tls, SHOP, any_certificate()).await.unwrap();
    let shown = edge.shown(SHOP).await.unwrap();
    let second = node.until(SHOP, |status| status.serial != first.serial).await;
    assert_eq!(second.last_error, None);
    assert_ne!(edge.shown(SHOP).await.unwrap(), shown);
    assert_eq!(ask(&mut open, SHOP).await, "200");
    assert_eq!(ask(&mut open, "other.example.com").await, "421");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_away_takes_nothing_that_is_held() {
    let edge = Edge::start().await;
    let Some(mut pebble) = Pebble::start(settings(&edge)) else { return };
    let dir = tempfile::tempdir().unwrap();
    let text = |hosts: &[&str]| {
        config(&(listener("{}", hosts) + &acme(&[issuer("pebble", &pebble)], "[\"http-01\"]")))
    };
    let (one, two) = (text(&[SHOP]), text(&[SHOP, "new.example.com"]));
    let node = Node::start(dir.path()).await;
    node.apply(&one, Some(&edge));
    node.held(SHOP).await;
    node.stop().await;
    pebble.stop();

    let node = Node::start(dir.path()).await;
    node.apply(&two, Some(&edge));
    assert!(edge.shown(SHOP).await.is_ok());
    let failing = node.until("new.example.com", |status| status.last_error.is_some()).await;
    assert_eq!(failing.state, CertificateState::Ordering);
    let text = failing.last_error.unwrap();
    assert!(text.contains("pebble: ") && text.contains("cannot connect"), "{text}");
    assert!(node.metric("tidegate_certificate_errors_total") >= 1.0);

    // Back again, with no memory of our account.
    pebble.restart();
    let healed = node.held("new.example.com").await;
    assert_eq!(healed.last_error, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_store_order_once_and_answer_for_each_other() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(settings(&edge)) else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = shop(&pebble, "[\"http-01\"]");
    let (first, second) = (Node::start(dir.path()).await, Node::start(dir.path()).await);
    first.apply(&config, Some(&edge));
    // The edge asks the last one for http-01 answers: this one, whoever orders.
    second.apply(&config, Some(&edge));
    let (one, other) = tokio::join!(first.held(SHOP), second.held(SHOP));
    assert_eq!(one.serial, other.serial);
    assert_eq!(pebble.issued(), 1);
    assert_eq!(first.metric(ORDERS) + second.metric(ORDERS), 1.0);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_does_not_lead_orders_nothing_and_takes_what_the_other_got() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(settings(&edge)) else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = shop(&pebble, "[\"tls-alpn-01\"]");
    let follower = Node::start_with(dir.path(), false, |_| {}).await;
    follower.apply(&config, None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(follower.status(SHOP).state, CertificateState::Ordering);
    let leader = Node::start(dir.path()).await;
    leader.apply(&config, None);
    // Validation reaches the follower only.
    follower.apply(&config, Some(&edge));
    let (one, other) = tokio::join!(leader.held(SHOP), follower.held(SHOP));
    assert_eq!(one.serial, other.serial);
    assert_eq!(follower.metric(ORDERS), 0.0);
    leader.stop().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_challenge_and_the_next_issuer_are_tried() {
    let edge = Edge::start().await;
    // Nobody listens where tls-alpn-01 is validated.
    let blind = Settings { tls_port: 1, ..settings(&edge) };
    let Some(pebble) = Pebble::start(blind) else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let away = "{ name = \"away\", directory = \"https://127.0.0.1:1/dir\" }".to_owned();
    let issuers = [away, issuer("pebble", &pebble)];
    let text = listener("{}", &[SHOP]) + &acme(&issuers, "[\"tls-alpn-01\", \"http-01\"]");
    node.apply(&config(&text), Some(&edge));
    assert_eq!(node.held(SHOP).await.authority.as_deref(), Some("pebble"));
    assert_eq!(node.metric(ORDERS), 2.0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_validation_is_explained_and_remembered_across_a_restart() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(Settings { http_port: 1, ..settings(&edge) }) else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = shop(&pebble, "[\"http-01\"]");
    let slow = |options: &mut tidegate_certs::Options| {
        options.schedule.backoff_first = Duration::from_secs(60);
    };
    let node = Node::start_with(dir.path(), true, slow).await;
    node.apply(&config, Some(&edge));
    let failed = node.until(SHOP, |status| status.last_error.is_some()).await;
    let text = failed.last_error.unwrap();
    assert!(text.contains("http-01") && text.contains("port 80"), "{text}");
    node.stop().await;
    let node = Node::start_with(dir.path(), true, slow).await;
    node.apply(&config, Some(&edge));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(node.status(SHOP).last_error, Some(text));
    assert_eq!(node.metric(ORDERS), 0.0, "a restart must not use up the authority's limits");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_account_is_bound() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(Settings { eab: true, ..settings(&edge) }) else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let with = |eab: &str| {
        let issuer = issuer("pebble", &pebble);
        let issuer = issuer.replace(" }", &format!("{eab} }}"));
        config(&(listener("{}", &[SHOP]) + &acme(&[issuer], "[\"http-01\"]")))
    };
    node.apply(&with(""), Some(&edge));
    let refused = node.until(SHOP, |status| status.last_error.is_some()).await;
    assert!(refused.last_error.unwrap().contains("set `eab`"));
    let (kid, hmac) = EAB;
    let eab = format!(", eab = {{ kid = \"{kid}\", hmac_key = \"{hmac}\" }}");
    node.apply(&with(&eab), Some(&edge));
    node.held(SHOP).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_entries_are_kept_aside_and_got_anew() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(settings(&edge)) else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = shop(&pebble, "[\"http-01\"]");
    let node = Node::start(dir.path()).await;
    node.apply(&config, Some(&edge));
    node.held(SHOP).await;
    let (entries, _) = node.store.range("acme/accounts/").await.unwrap();
    let account = entries[0].key.clone();
    let keys = [format!("certs/acme/{SHOP}"), account, "certs/root".to_owned()];
    let ops = keys.iter().map(|key| Op::Put { key: key.clone(), value: vec![0; 64] }).collect();
    node.stop_and_write(ops).await;

    let node = Node::start(dir.path()).await;
    for key in &keys {
        assert!(node.certs.notices().iter().any(|text| text.contains(key)), "{key}");
        let (kept, _) = node.store.range("broken/").await.unwrap();
        assert!(kept.iter().any(|entry| entry.key.ends_with(key) && entry.value == [0; 64]));
    }
    node.apply(&config, Some(&edge));
    node.held(SHOP).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_an_issuer_no_longer_configured_is_replaced() {
    let edge = Edge::start().await;
    let Some(pebble) = Pebble::start(settings(&edge)) else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let with =
        |issuers: &[String]| config(&(listener("{}", &[SHOP]) + &acme(issuers, "[\"http-01\"]")));
    let (staging, production) = (issuer("staging", &pebble), issuer("production", &pebble));
    node.apply(&with(std::slice::from_ref(&staging)), Some(&edge));
    let first = node.held(SHOP).await;
    // Added in front: what is held is still good.
    node.apply(&with(&[production.clone(), staging]), Some(&edge));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(node.status(SHOP).serial, first.serial);
    node.apply(&with(&[production]), Some(&edge));
    let second = node.until(SHOP, |status| status.serial != first.serial).await;
    assert_eq!(second.authority.as_deref(), Some("production"));
    node.stop().await;
}
