//! An order whose certificate never reached the store is taken up again, not placed again.

mod support;

use async_trait::async_trait;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use support::{
    Node, acme, config,
    edge::Edge,
    issuer, listener,
    pebble::{Pebble, Settings},
};
use tidegate_store::{Committed, Compare, Entry, Lease, Op, Revision, Store, StoreError, Watch};

const SHOP: &str = "shop.example.com";

/// A store that refuses certificates while `full`.
#[derive(Debug)]
struct Full {
    store: Arc<dyn Store>,
    full: Arc<AtomicBool>,
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
        if self.full.load(Ordering::Relaxed) && ops.iter().any(certificate) {
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
        options.store = Arc::new(Full { store, full: Arc::clone(&full) });
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
