//! What an authority does wrong, or asks for: pebble behind a gate that makes the faults.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};
use support::{
    Node, acme, config,
    edge::Edge,
    gate::{Act, Gate, Step, problem},
    listener,
    pebble::{Pebble, Settings},
};
use tidegate_certs::{CertificateState, Clock, RevocationReason};
use tidegate_config::Config;
use tidegate_store::{Op, Store};

const SHOP: &str = "shop.example.com";
const HTTP: &str = "[\"http-01\"]";

/// An edge, and pebble behind a gate; nothing where pebble is not installed.
struct Rig {
    edge: Edge,
    pebble: Pebble,
    gate: Gate,
    dir: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Option<Self> {
        let edge = Edge::start().await;
        let settings = Settings {
            http_port: edge.http.port(),
            tls_port: edge.tls.port(),
            validity: 40 * 86_400,
            eab: false,
        };
        let pebble = Pebble::start(settings)?;
        let gate = Gate::before(&pebble.directory(), pebble.ca()).await;
        Some(Self { edge, pebble, gate, dir: tempfile::tempdir().unwrap() })
    }

    /// `hosts` from the gate; `more` are further keys of the issuer.
    fn config(&self, hosts: &[&str], more: &str) -> Config {
        let issuer = self.gate.issuer("pebble", more);
        config(&(listener("{}", hosts) + &acme(&[issuer], HTTP)))
    }

    async fn node(&self) -> Node {
        Node::start(self.dir.path()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_refused_nonces_is_no_failure() {
    let Some(rig) = Rig::new().await else { return };
    rig.gate.on(|seen| match (seen.step, seen.before) {
        (Step::NewOrder | Step::Finalize, ..8) => problem(400, "badNonce", vec![]),
        _ => Act::Pass,
    });
    let node = rig.node().await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    let held = node
        .until(SHOP, |status| status.state == CertificateState::Held || status.last_error.is_some())
        .await;
    assert_eq!(held.last_error, None);
    assert_eq!(rig.pebble.issued(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_stuck_in_processing_is_gone_on_with() {
    let Some(rig) = Rig::new().await else { return };
    let finalized = Arc::new(AtomicBool::new(false));
    let after = Arc::clone(&finalized);
    rig.gate.on(move |seen| {
        if seen.step == Step::Finalize {
            after.store(true, Ordering::Relaxed);
        }
        match seen.step {
            Step::Finalize | Step::Order if after.load(Ordering::Relaxed) => {
                Act::Rewrite(Box::new(|order| {
                    order["status"] = "processing".into();
                    order.as_object_mut().unwrap().remove("certificate");
                }))
            }
            _ => Act::Pass,
        }
    });
    let hasty = |options: &mut tidegate_certs::Options| {
        options.schedule.issuance = Duration::from_secs(1);
    };
    let node = Node::start_with(rig.dir.path(), true, hasty).await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    let stuck = node.until(SHOP, |status| status.last_error.is_some()).await;
    assert!(stuck.last_error.unwrap().contains("the same order is looked at again"));
    rig.gate.pass();
    assert_eq!(node.held(SHOP).await.last_error, None);
    assert_eq!((rig.gate.count(Step::NewOrder), rig.pebble.issued()), (1, 1));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_to_be_left_alone_outlasts_a_restart_and_other_settings() {
    let Some(rig) = Rig::new().await else { return };
    rig.gate.on(|seen| match seen.step {
        Step::NewOrder => problem(429, "rateLimited", vec![("retry-after", "3600".to_owned())]),
        _ => Act::Pass,
    });
    let node = rig.node().await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    let limited = node.until(SHOP, |status| status.last_error.is_some()).await;
    assert!(limited.last_error.unwrap().contains("limits orders"));
    rig.gate.pass();
    // Other settings are a reason to try again, and not to forget what was asked.
    let both = acme(&[rig.gate.issuer("pebble", "")], "[\"http-01\", \"tls-alpn-01\"]");
    node.apply(&config(&(listener("{}", &[SHOP]) + &both)), Some(&rig.edge));
    let asked =
        |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains("left alone until"));
    node.until(SHOP, |status| asked(&status.last_error)).await;
    node.stop().await;
    let node = rig.node().await;
    node.apply(&rig.config(&["new.example.com"], ""), Some(&rig.edge));
    node.until("new.example.com", |status| asked(&status.last_error)).await;
    assert_eq!(rig.gate.count(Step::NewOrder), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_behind_a_page_of_html_is_told_and_recovers() {
    let Some(rig) = Rig::new().await else { return };
    rig.gate.on(|seen| match (seen.step, seen.before) {
        (Step::NewOrder, 0) => Act::Answer(
            502,
            vec![("content-type", "text/html".to_owned())],
            "<h1>Bad Gateway</h1>".to_owned(),
        ),
        (Step::NewOrder, 1) => Act::Cut,
        _ => Act::Pass,
    });
    let node = rig.node().await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    let told = node.until(SHOP, |status| status.last_error.is_some()).await;
    let text = told.last_error.unwrap();
    assert!(text.contains("answered 502"), "{text}");
    node.held(SHOP).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_was_deactivated_is_made_anew_with_another_key() {
    let Some(rig) = Rig::new().await else { return };
    rig.gate.on(|seen| match (seen.step, seen.before) {
        (Step::NewOrder, 0) => problem(403, "unauthorized", vec![]),
        (Step::Account, _) => {
            Act::Rewrite(Box::new(|account| account["status"] = "deactivated".into()))
        }
        _ => Act::Pass,
    });
    let node = rig.node().await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    assert_eq!(node.held(SHOP).await.last_error, None);
    assert_eq!(rig.gate.count(Step::NewAccount), 2);
    assert!(rig.pebble.log().contains("There are now 2 accounts"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_beyond_the_rate_wait_for_their_turn() {
    let Some(rig) = Rig::new().await else { return };
    let names = ["a.example.com", "b.example.com", "c.example.com", "d.example.com"];
    let node = rig.node().await;
    node.apply(&rig.config(&names, ", orders = \"2/h\""), Some(&rig.edge));
    let count = |node: &Node| {
        let list = node.certs.list();
        list.iter().filter(|status| status.state == CertificateState::Held).count()
    };
    for name in &names {
        node.until(name, |_| count(&node) == 2).await;
        assert_eq!(node.status(name).last_error, None, "waiting is no failure");
    }
    // A restart and another configuration begin no new bucket.
    node.stop().await;
    let node = rig.node().await;
    node.apply(
        &rig.config(&[&names[..], &["e.example.com"]].concat(), ", orders = \"2/h\""),
        Some(&rig.edge),
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((count(&node), rig.gate.count(Step::NewOrder)), (2, 2));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_is_ordered_and_one_that_is_not_offered_is_told() {
    let Some(rig) = Rig::new().await else { return };
    rig.gate.on(|seen| match seen.step {
        Step::Directory => Act::Rewrite(Box::new(|directory| {
            directory["meta"]["profiles"] = serde_json::json!({ "shortlived": "six days" });
        })),
        _ => Act::Pass,
    });
    let node = rig.node().await;
    node.apply(&rig.config(&[SHOP], ", profile = \"long\""), Some(&rig.edge));
    let told = node.until(SHOP, |status| status.last_error.is_some()).await;
    assert!(told.last_error.unwrap().contains("set `profile` to one of shortlived"));
    assert_eq!(rig.gate.count(Step::NewOrder), 0);
    node.apply(&rig.config(&[SHOP], ", profile = \"shortlived\""), Some(&rig.edge));
    node.held(SHOP).await;
    let seen = rig.gate.seen();
    let order = seen.iter().find(|seen| seen.step == Step::NewOrder).unwrap();
    assert_eq!(order.payload["profile"], "shortlived");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_the_name_is_proved_at_staging_first() {
    let Some(rig) = Rig::new().await else { return };
    // The same pebble behind a second gate: other accounts are not needed to tell them apart.
    let staging = Gate::before(&rig.pebble.directory(), rig.pebble.ca()).await;
    let ca = rig.dir.path().join("both.pem");
    let both = [rig.gate.ca(), staging.ca()].map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&ca, both.concat()).unwrap();
    let issuer = format!(
        "{{ name = \"pebble\", directory = \"{}\", ca = \"{}\", staging = \"{}\" }}",
        rig.gate.directory(),
        ca.display(),
        staging.directory()
    );
    let config = config(&(listener("{}", &[SHOP]) + &acme(&[issuer], HTTP)));
    rig.gate.on(|seen| match (seen.step, seen.before) {
        (Step::NewOrder, 0) => problem(500, "serverInternal", vec![]),
        _ => Act::Pass,
    });
    staging.on(|seen| match (seen.step, seen.before) {
        (Step::NewOrder, ..2) => problem(400, "rejectedIdentifier", vec![]),
        _ => Act::Pass,
    });
    let node = rig.node().await;
    node.apply(&config, Some(&rig.edge));
    let at_staging = |text: &str| text.contains("at its staging directory");
    node.until(SHOP, |status| status.last_error.as_deref().is_some_and(at_staging)).await;
    assert_eq!(rig.gate.count(Step::NewOrder), 1, "its verdict spares the real one");
    assert_eq!(node.held(SHOP).await.authority.as_deref(), Some("pebble"));
    assert_eq!((staging.count(Step::NewOrder), rig.gate.count(Step::NewOrder)), (3, 2));
    assert!(node.store.range("acme/pending/").await.unwrap().0.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_failed_for_thirty_days_is_given_up_until_its_settings_change() {
    let Some(rig) = Rig::new().await else { return };
    rig.gate.on(|seen| match seen.step {
        Step::NewOrder => problem(400, "rejectedIdentifier", vec![]),
        _ => Act::Pass,
    });
    let days = Arc::new(AtomicI64::new(0));
    let shown = Arc::clone(&days);
    let clock = Clock::new(move || {
        time::OffsetDateTime::now_utc() + time::Duration::days(shown.load(Ordering::Relaxed))
    });
    let node = Node::start_with(rig.dir.path(), true, |options| {
        options.clock = clock;
        // So that one failure is as many as that time has room for.
        options.schedule.backoff_max = Duration::from_secs(15 * 86_400);
    })
    .await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    let failing = node.until(SHOP, |status| status.last_error.is_some()).await;
    assert_eq!(failing.state, CertificateState::Ordering);
    days.store(31, Ordering::Relaxed);
    let given_up = node.until(SHOP, |status| status.state == CertificateState::Missing).await;
    assert!(given_up.last_error.unwrap().starts_with("given up after 30 days"));
    assert_eq!(given_up.next_renewal, None);
    rig.gate.pass();
    node.apply(&rig.config(&[SHOP], ", orders = \"50/h\""), Some(&rig.edge));
    node.held(SHOP).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_for_the_account_is_lost_by_no_crash() {
    let Some(rig) = Rig::new().await else { return };
    let key = async |node: &Node| {
        let (accounts, _) = node.store.range("acme/accounts/").await.unwrap();
        assert_eq!(accounts.len(), 1);
        let text: serde_json::Value = serde_json::from_slice(&accounts[0].value).unwrap();
        text["value"].clone()
    };
    let mut names = vec![SHOP];
    let mut node = rig.node().await;
    node.apply(&rig.config(&names, ""), Some(&rig.edge));
    node.held(SHOP).await;
    let mut before = key(&node).await;
    // Before the authority hears of it, and before we hear of its answer.
    for (crash, name) in [(true, "a.example.com"), (false, "b.example.com")] {
        rig.gate.on(move |seen| match seen.step {
            Step::KeyChange if crash => Act::Before,
            Step::KeyChange => Act::After,
            _ => Act::Pass,
        });
        let certs = node.certs.clone();
        let rolling = tokio::spawn(async move { certs.roll_account_over("pebble").await });
        rig.gate.held().await;
        rolling.abort();
        let _ = rolling.await;
        node.stop().await;
        rig.gate.pass();
        if !crash {
            rig.gate.go();
        }
        node = rig.node().await;
        names.push(name);
        node.apply(&rig.config(&names, ""), Some(&rig.edge));
        assert_eq!(node.held(name).await.last_error, None);
        let now = key(&node).await;
        assert_ne!(now["key"], before["key"]);
        assert_eq!((&now["url"], now.get("next_key")), (&before["url"], None));
        before = now;
    }
    assert!(!rig.pebble.log().contains("There are now 2 accounts"));
    node.stop().await;
}

/// Adds renewal information to a pebble that has none: `window` gives it, in days from now, by
/// how many certificates were asked about before. `replaces` is refused if `replaced`.
fn suggest(gate: &Gate, replaced: bool, window: impl Fn(usize) -> (i64, i64) + Send + 'static) {
    let base = gate.directory().replace("/dir", "/renewal");
    let mut known: Vec<String> = Vec::new();
    gate.on(move |seen| match seen.step {
        Step::Directory => {
            let base = base.clone();
            Act::Rewrite(Box::new(move |directory| directory["renewalInfo"] = base.into()))
        }
        Step::NewOrder if replaced && seen.payload.get("replaces").is_some() => {
            problem(409, "alreadyReplaced", vec![])
        }
        Step::Renewal => {
            let index = known.iter().position(|path| *path == seen.path).unwrap_or(known.len());
            if index == known.len() {
                known.push(seen.path.clone());
            }
            let now = time::OffsetDateTime::now_utc();
            let at = |days| {
                let rfc3339 = time::format_description::well_known::Rfc3339;
                (now + time::Duration::days(days)).format(&rfc3339).unwrap()
            };
            let (start, end) = window(index);
            let body = serde_json::json!({
                "suggestedWindow": { "start": at(start), "end": at(end) }
            });
            let headers = vec![
                ("content-type", "application/json".to_owned()),
                ("retry-after", "21600".to_owned()),
            ];
            Act::Answer(200, headers, body.to_string())
        }
        _ => Act::Pass,
    });
}

async fn renewed_as_suggested(replaced: bool) {
    let Some(rig) = Rig::new().await else { return };
    // The first is wanted back at once, what comes after it is not.
    suggest(&rig.gate, replaced, |index| if index == 0 { (-2, -1) } else { (20, 21) });
    let minutes = Arc::new(AtomicI64::new(0));
    let shown = Arc::clone(&minutes);
    let clock = Clock::new(move || {
        time::OffsetDateTime::now_utc() + time::Duration::minutes(shown.load(Ordering::Relaxed))
    });
    let node = Node::start_with(rig.dir.path(), true, |options| options.clock = clock).await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    let first = node.held(SHOP).await;
    // A certificate is left alone for an hour, whatever anybody says.
    minutes.store(61, Ordering::Relaxed);
    let second = node.until(SHOP, |status| status.serial != first.serial).await;
    let in_weeks = time::OffsetDateTime::now_utc() + time::Duration::days(19);
    let far = |status: &tidegate_certs::CertificateStatus| {
        let rfc3339 = time::format_description::well_known::Rfc3339;
        let next = status.next_renewal.as_ref().unwrap();
        let next = time::OffsetDateTime::parse(next, &rfc3339).unwrap();
        (in_weeks..in_weeks + time::Duration::days(3)).contains(&next)
    };
    node.until(SHOP, far).await;
    assert_eq!(second.last_error, None);
    let seen = rig.gate.seen();
    let orders: Vec<_> = seen.iter().filter(|seen| seen.step == Step::NewOrder).collect();
    let asked = seen.iter().find(|seen| seen.step == Step::Renewal).unwrap();
    let id = asked.path.rsplit('/').next().unwrap();
    assert_eq!(orders[0].payload.get("replaces"), None);
    assert_eq!(orders[1].payload["replaces"], id);
    if replaced {
        assert_eq!(orders[2].payload.get("replaces"), None);
    }
    assert_eq!(rig.pebble.issued(), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_when_its_authority_suggests_and_replaces_the_one_before() {
    renewed_as_suggested(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_counts_as_replaced_already_is_ordered_all_the_same() {
    renewed_as_suggested(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_never_comes_does_not_let_a_certificate_expire() {
    let Some(rig) = Rig::new().await else { return };
    suggest(&rig.gate, false, |_| (3650, 3651));
    let days = Arc::new(AtomicI64::new(0));
    let shown = Arc::clone(&days);
    let clock = Clock::new(move || {
        time::OffsetDateTime::now_utc() + time::Duration::days(shown.load(Ordering::Relaxed))
    });
    let node = Node::start_with(rig.dir.path(), true, |options| options.clock = clock).await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    let first = node.held(SHOP).await;
    node.stored("acme/renewal/shop.example.com").await;
    // A quarter is left: due, if it were not for the suggestion.
    days.store(30, Ordering::Relaxed);
    node.until(SHOP, |_| rig.gate.count(Step::Renewal) >= 2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(node.status(SHOP).serial, first.serial);
    days.store(39, Ordering::Relaxed);
    node.until(SHOP, |status| status.serial != first.serial).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_certificate_is_replaced_also_when_the_account_is_another() {
    let Some(rig) = Rig::new().await else { return };
    let node = rig.node().await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    let first = node.held(SHOP).await;
    let unknown = node.certs.revoke("other.example.com", RevocationReason::Superseded).await;
    assert!(unknown.unwrap_err().to_string().contains("`other.example.com` has no certificate"));
    node.certs.revoke(SHOP, RevocationReason::KeyCompromise).await.unwrap();
    let revoke = rig.gate.seen().into_iter().find(|seen| seen.step == Step::Revoke).unwrap();
    assert_eq!(revoke.payload["reason"], 1);
    let second = node.until(SHOP, |status| status.serial != first.serial).await;
    // Of an account that did not order it; the certificate's key speaks for itself.
    rig.gate.on(|seen| match (seen.step, seen.before) {
        (Step::Revoke, 1) => problem(403, "unauthorized", vec![]),
        _ => Act::Pass,
    });
    node.certs.revoke(SHOP, RevocationReason::Superseded).await.unwrap();
    assert_eq!(rig.gate.count(Step::Revoke), 3);
    node.until(SHOP, |status| status.serial != second.serial).await;
    assert_eq!(rig.pebble.issued(), 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_wait_for_one_authority_does_not_hide_the_failure_of_another() {
    let Some(rig) = Rig::new().await else { return };
    rig.gate.on(|seen| match seen.step {
        Step::NewOrder => problem(403, "rejectedIdentifier", vec![]),
        _ => Act::Pass,
    });
    let second = Gate::before(&rig.pebble.directory(), rig.pebble.ca()).await;
    let issuers = [rig.gate.issuer("first", ""), second.issuer("second", ", orders = \"1/h\"")];
    let config = |hosts: &[&str]| config(&(listener("{}", hosts) + &acme(&issuers, HTTP)));
    let node = rig.node().await;
    node.apply(&config(&[SHOP]), Some(&rig.edge));
    node.held(SHOP).await;
    node.apply(&config(&[SHOP, "b.example.com"]), Some(&rig.edge));
    let failed = node.until("b.example.com", |status| status.last_error.is_some()).await;
    let text = failed.last_error.unwrap();
    assert!(text.contains("first: ") && text.contains("second: "), "{text}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_refuses_another_account_key_goes_on_with_the_old_one() {
    let Some(rig) = Rig::new().await else { return };
    let node = rig.node().await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    node.held(SHOP).await;
    rig.gate.on(|seen| match seen.step {
        Step::KeyChange => problem(400, "malformed", vec![]),
        _ => Act::Pass,
    });
    node.certs.roll_account_over("pebble").await.unwrap_err();
    node.apply(&rig.config(&[SHOP, "b.example.com"], ""), Some(&rig.edge));
    assert_eq!(node.held("b.example.com").await.last_error, None);
    assert!(!rig.pebble.log().contains("There are now 2 accounts"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_forgotten_with_the_wish_and_another_address_is_a_reason_to_try_again() {
    let Some(rig) = Rig::new().await else { return };
    rig.gate.on(|seen| match seen.step {
        Step::NewOrder => problem(400, "invalidContact", vec![]),
        _ => Act::Pass,
    });
    let patient = |options: &mut tidegate_certs::Options| {
        options.schedule.backoff_first = Duration::from_secs(3600);
        options.schedule.backoff_max = Duration::from_secs(3600);
    };
    let node = Node::start_with(rig.dir.path(), true, patient).await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    node.until(SHOP, |status| status.last_error.is_some()).await;
    node.stored("acme/retry/shop.example.com").await;
    rig.gate.pass();
    node.apply(&rig.config(&["b.example.com"], ""), Some(&rig.edge));
    node.held("b.example.com").await;
    node.gone("acme/retry/shop.example.com").await;

    rig.gate.on(|seen| match seen.step {
        Step::NewOrder => problem(400, "invalidContact", vec![]),
        _ => Act::Pass,
    });
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    node.until(SHOP, |status| status.last_error.is_some()).await;
    rig.gate.pass();
    let mut other = rig.config(&[SHOP], "");
    other.acme.as_mut().unwrap().email = Some("b@example.com".into());
    node.apply(&other, Some(&rig.edge));
    node.held(SHOP).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_was_just_had_is_renewed_for_who_insists() {
    let Some(rig) = Rig::new().await else { return };
    let node = rig.node().await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    let first = node.held(SHOP).await;
    let early = node.certs.renew(SHOP, false).unwrap_err().to_string();
    assert!(early.contains("within the last hour"), "{early}");
    node.certs.renew(SHOP, true).unwrap();
    node.until(SHOP, |status| status.serial != first.serial).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_cannot_be_had_is_not_asked_for_by_every_name() {
    let Some(rig) = Rig::new().await else { return };
    rig.gate.on(|seen| match seen.step {
        Step::NewAccount => problem(403, "unauthorized", vec![]),
        _ => Act::Pass,
    });
    let names: Vec<String> = (0..24).map(|n| format!("n{n}.example.com")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let node = rig.node().await;
    node.apply(&rig.config(&hosts, ""), Some(&rig.edge));
    let failing =
        |node: &Node| node.certs.list().iter().filter(|status| status.last_error.is_some()).count();
    node.until(hosts[0], |_| failing(&node) > 0).await;
    // Long enough for every name to have had its turn.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(rig.gate.count(Step::NewAccount), 5);
    // The others wait; that is no failure of theirs.
    assert!(failing(&node) <= 5, "{}", failing(&node));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_busy_is_asked_again_when_it_said() {
    let Some(rig) = Rig::new().await else { return };
    rig.gate.on(|seen| match (seen.step, seen.before) {
        (Step::NewOrder, 0) => {
            problem(503, "serverInternal", vec![("retry-after", "2".to_owned())])
        }
        _ => Act::Pass,
    });
    let node = rig.node().await;
    let started = std::time::Instant::now();
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    node.held(SHOP).await;
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(rig.gate.count(Step::NewOrder), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_cannot_be_had_keeps_no_name_from_the_next_authority() {
    let Some(rig) = Rig::new().await else { return };
    rig.gate.on(|seen| match seen.step {
        Step::NewAccount => problem(403, "unauthorized", vec![]),
        _ => Act::Pass,
    });
    let second = Gate::before(&rig.pebble.directory(), rig.pebble.ca()).await;
    let issuers = [rig.gate.issuer("first", ""), second.issuer("second", "")];
    let names: Vec<String> = (0..10).map(|n| format!("n{n}.example.com")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let node = rig.node().await;
    node.apply(&config(&(listener("{}", &hosts) + &acme(&issuers, HTTP))), Some(&rig.edge));
    for host in hosts {
        assert_eq!(node.held(host).await.authority.as_deref(), Some("second"));
    }
    assert_eq!(rig.gate.count(Step::NewAccount), 5);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_account_key_that_broke_off_there_is_asked_about_again() {
    let Some(rig) = Rig::new().await else { return };
    let node = rig.node().await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    node.held(SHOP).await;
    // Done, and yet an error is told.
    rig.gate.on(|seen| match (seen.step, seen.before) {
        (Step::KeyChange, 0) => problem(500, "serverInternal", vec![]),
        _ => Act::Pass,
    });
    node.certs.roll_account_over("pebble").await.unwrap_err();
    let (accounts, _) = node.store.range("acme/accounts/").await.unwrap();
    let text = String::from_utf8_lossy(&accounts[0].value).into_owned();
    assert!(text.contains("next_key"), "both are kept until it is known which one is in force");
    node.apply(&rig.config(&[SHOP, "b.example.com"], ""), Some(&rig.edge));
    node.held("b.example.com").await;
    assert!(!rig.pebble.log().contains("There are now 2 accounts"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_or_broken_in_the_store_is_had_anew_while_it_runs_once() {
    let Some(rig) = Rig::new().await else { return };
    let node = rig.node().await;
    node.apply(&rig.config(&[SHOP], ""), Some(&rig.edge));
    let first = node.held(SHOP).await;
    let key = "certs/acme/shop.example.com".to_owned();
    node.stored(&key).await;
    node.store.txn(vec![], vec![Op::Delete { key: key.clone() }]).await.unwrap();
    let second = node.until(SHOP, |status| status.serial != first.serial).await;
    node.stored(&key).await;
    let junk = Op::Put { key: key.clone(), value: b"junk".to_vec() };
    node.store.txn(vec![], vec![junk]).await.unwrap();
    node.until(SHOP, |status| status.serial != second.serial).await;
    let (aside, _) = node.store.range("broken/").await.unwrap();
    assert_eq!((aside.len(), aside[0].value.as_slice()), (1, &b"junk"[..]));
    assert!(node.stored(&key).await.starts_with(b"{"));
    assert_eq!(rig.pebble.issued(), 3);
    node.stop().await;
}
