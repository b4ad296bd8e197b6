//! An order whose certificate never reached the store is taken up again, not placed again.

mod support;

use async_trait::async_trait;
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
    issuer, listener,
    pebble::{Pebble, Settings},
};
use tidegate_certs::Clock;
use tidegate_store::{Committed, Compare, Entry, Lease, Op, Revision, Store, StoreError, Watch};
use time::OffsetDateTime;

const SHOP: &str = "shop.example.com";

/// A store that refuses certificates while `full`, and everything while `frozen`.
#[derive(Debug)]
struct Full {
    store: Arc<dyn Store>,
    full: Arc<AtomicBool>,
    frozen: Arc<AtomicBool>,
}

#[async_trait]
impl Store for Full {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn range(&self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        self.store.range(prefix).await
    }

    async fn txn(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Committed, StoreError> {
        let certificate =
            |op: &Op| matches!(op, Op::Put { key, .. } if key.starts_with("certs/acme/"));
        let full = self.full.load(Ordering::Relaxed) && ops.iter().any(certificate);
        if full || self.frozen.load(Ordering::Relaxed) {
            let cause = "database or disk is full".to_owned();
            return Err(StoreError::Io { path: "state.db".into(), doing: "written", cause });
        }
        self.store.txn(compares, ops).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        self.store.watch(prefix, from).await
    }

    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        self.store.acquire(name, holder, ttl).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.store.release(lease).await
    }

    fn unwritable(&self) -> Option<Arc<str>> {
        self.frozen.load(Ordering::Relaxed).then(|| "database or disk is full".into())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_could_not_be_stored_is_served_and_stored_later() {
    let edge = Edge::start().await;
    let settings = Settings {
        http_port: edge.http.port(),
        tls_port: edge.tls.port(),
        validity: 86_400,
        eab: false,
    };
    let Some(pebble) = Pebble::start(settings) else { return };
    let dir = tempfile::tempdir().unwrap();
    let text = listener("{}", &[SHOP]) + &acme(&[issuer("pebble", &pebble)], "[\"http-01\"]");
    let full = Arc::new(AtomicBool::new(true));
    let wrap = |options: &mut tidegate_certs::Options| {
        let store = Arc::clone(&options.store);
        options.store = Arc::new(Full { store, full: Arc::clone(&full), frozen: Arc::default() });
    };
    let node = Node::start_with(dir.path(), true, wrap).await;
    node.apply(&config(&text), Some(&edge));
    let first = node.held(SHOP).await;
    let told = node.until(SHOP, |status| status.last_error.is_some()).await;
    assert!(told.last_error.unwrap().contains("disk is full"));
    assert!(edge.shown(SHOP).await.is_ok());
    node.stop().await;

    full.store(false, Ordering::Relaxed);
    let node = Node::start_with(dir.path(), true, wrap).await;
    node.apply(&config(&text), Some(&edge));
    let second = node.held(SHOP).await;
    assert_eq!(second.serial, first.serial, "fetched again, not ordered again");
    assert_eq!(pebble.issued(), 1);
    node.stop().await;

    // The same without a restart between.
    full.store(true, Ordering::Relaxed);
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start_with(dir.path(), true, wrap).await;
    node.apply(&config(&text), Some(&edge));
    node.until(SHOP, |status| status.last_error.is_some()).await;
    full.store(false, Ordering::Relaxed);
    let held = node.until(SHOP, |status| status.last_error.is_none()).await;
    assert!(node.store.get("certs/acme/shop.example.com").await.unwrap().is_some());
    assert_eq!(node.status(SHOP).serial, held.serial);
    node.stop().await;
    assert_eq!(pebble.issued(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_at_the_start_keeps_nothing_from_being_served() {
    const LOCAL: &str = "shop.localhost";
    let edge = Edge::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = config(&listener("{}", &[LOCAL]));
    let node = Node::start(dir.path()).await;
    node.apply(&config, Some(&edge));
    node.stored("certs/internal/shop.localhost").await;
    let shown = edge.shown(LOCAL).await.unwrap();
    let late = r#"{"format": 1, "value": {"kind": "http-01", "name": "a", "token": "t",
        "key_authorization": "t.k", "expires": 1}}"#;
    let put = |key: &str, value: &[u8]| Op::Put { key: key.to_owned(), value: value.to_vec() };
    let ops = vec![put("acme/challenges/t", late.as_bytes()), put("certs/acme/b", b"\0")];
    node.stop_and_write(ops).await;

    let node = Node::start_with(dir.path(), true, |options| {
        let store = Arc::clone(&options.store);
        let frozen = Arc::new(AtomicBool::new(true));
        options.store = Arc::new(Full { store, full: Arc::default(), frozen });
    })
    .await;
    node.apply(&config, Some(&edge));
    assert_eq!(edge.shown(LOCAL).await.unwrap(), shown);
    let notices = node.certs.notices();
    assert!(notices.iter().any(|text| text.contains("could not be kept aside")), "{notices:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_stored_does_not_undo_what_another_stored_since() {
    let edge = Edge::start().await;
    let settings = Settings {
        http_port: edge.http.port(),
        tls_port: edge.tls.port(),
        validity: 86_400,
        eab: false,
    };
    let Some(pebble) = Pebble::start(settings) else { return };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let text = listener("{}", &[SHOP]) + &acme(&[issuer("pebble", &pebble)], "[\"http-01\"]");
    // Somebody else's certificate for the name.
    let other = Node::start(dirs[0].path()).await;
    other.apply(&config(&text), Some(&edge));
    other.held(SHOP).await;
    let theirs = other.stored("certs/acme/shop.example.com").await;
    let serial = other.status(SHOP).serial;
    other.stop().await;

    let full = Arc::new(AtomicBool::new(true));
    let node = Node::start_with(dirs[1].path(), true, |options| {
        let store = Arc::clone(&options.store);
        options.store = Arc::new(Full { store, full: Arc::clone(&full), frozen: Arc::default() });
    })
    .await;
    node.apply(&config(&text), Some(&edge));
    node.until(SHOP, |status| status.last_error.is_some() && status.serial.is_some()).await;
    let put = Op::Put { key: "certs/acme/shop.example.com".to_owned(), value: theirs.clone() };
    node.store.txn(vec![], vec![put]).await.unwrap();
    node.until(SHOP, |status| status.serial == serial).await;
    full.store(false, Ordering::Relaxed);
    // Long enough for several looks.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(node.stored("certs/acme/shop.example.com").await, theirs);
    assert_eq!(node.status(SHOP).serial, serial);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_intermediate_is_replaced_in_memory_until_the_disk_has_room() {
    let edge = Edge::start().await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let root = node.certs.root_pem();
    let put = |value: &[u8]| Op::Put { key: "certs/intermediate".into(), value: value.to_vec() };
    node.store.txn(vec![], vec![put(b"broken")]).await.unwrap();
    node.stop().await;

    let frozen = Arc::new(AtomicBool::new(true));
    // Nobody can lead while nothing can be written.
    let node = Node::start_with(dir.path(), false, |options| {
        let store = Arc::clone(&options.store);
        options.store = Arc::new(Full { store, full: Arc::default(), frozen: Arc::clone(&frozen) });
    })
    .await;
    node.apply(&config(&listener("{}", &["shop.localhost"])), Some(&edge));
    node.held("shop.localhost").await;
    let shown = edge.shown("shop.localhost").await.unwrap();
    assert_eq!(node.certs.root_pem(), root, "the root could be read");

    frozen.store(false, Ordering::Relaxed);
    node.lead();
    node.stored("certs/internal/shop.localhost").await;
    let entry = node.store.get("certs/intermediate").await.unwrap().unwrap();
    assert_ne!(entry.value, b"broken");
    assert_eq!(edge.shown("shop.localhost").await.unwrap(), shown, "it goes on being served");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_are_renewed_in_memory_while_nobody_can_lead() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&listener("{}", &["shop.localhost"]));
    let node = Node::start(dir.path()).await;
    node.apply(&config, None);
    node.stored("certs/internal/shop.localhost").await;
    let first = node.status("shop.localhost");
    node.stop().await;

    let ahead = Arc::new(AtomicI64::new(0));
    let days = Arc::clone(&ahead);
    let node = Node::start_with(dir.path(), false, |options| {
        let (store, frozen) = (Arc::clone(&options.store), Arc::new(AtomicBool::new(true)));
        options.store = Arc::new(Full { store, full: Arc::default(), frozen });
        options.clock = Clock::new(move || {
            OffsetDateTime::now_utc() + time::Duration::days(days.load(Ordering::Relaxed))
        });
    })
    .await;
    node.apply(&config, None);
    assert_eq!(node.status("shop.localhost").serial, first.serial);
    // The intermediate is due, too, and nobody is about to replace it.
    ahead.store(250, Ordering::Relaxed);
    node.until("shop.localhost", |status| status.serial != first.serial).await;
    node.stop().await;
}
