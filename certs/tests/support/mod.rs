//! What the tests of this crate share.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test crate uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod edge;
pub mod gate;
pub mod pebble;
pub mod permission;

use edge::Edge;
use std::{path::Path, sync::Arc, time::Duration};
use tidegate_certs::{CertificateState, CertificateStatus, Certs, ListenerTls, Options, Schedule};
use tidegate_config::Config;
use tidegate_store::{Op, Sqlite, Store};
use tokio::{sync::watch, task::JoinHandle};

/// The configuration in `text`, with a service behind it.
pub fn config(text: &str) -> Config {
    let text = format!(
        "{text}\n[upstreams.u]\nendpoints = [\"127.0.0.1:1\"]\n[services.s]\n\
         [services.s.versions]\nv = {{ upstream = \"u\", weight = 1 }}\n"
    );
    match tidegate_config::parse(&text, "test.toml") {
        Ok(loaded) => loaded.config,
        Err(faults) => panic!("{faults}"),
    }
}

/// A listener with `tls`, and a route for each of `hosts`.
pub fn listener(tls: &str, hosts: &[&str]) -> String {
    let mut text = format!("[listeners.https]\naddress = \"127.0.0.1:0\"\ntls = {tls}\n");
    for (n, host) in hosts.iter().enumerate() {
        text += &format!("[routes.r{n}]\nhost = \"{host}\"\nservice = \"s\"\n");
    }
    text
}

/// `[acme]` with these issuers (inline tables) and challenges.
pub fn acme(issuers: &[String], challenges: &str) -> String {
    let issuers = issuers.join(", ");
    format!(
        "[acme]\nemail = \"ops@example.com\"\nissuers = [{issuers}]\nchallenges = {challenges}\n"
    )
}

/// An issuer out of a running pebble.
pub fn issuer(name: &str, pebble: &pebble::Pebble) -> String {
    let (directory, ca) = (pebble.directory(), pebble.ca());
    format!("{{ name = \"{name}\", directory = \"{directory}\", ca = \"{}\" }}", ca.display())
}

/// A schedule for tests: the same things, sooner.
pub fn quick() -> Schedule {
    Schedule {
        check: Duration::from_millis(200),
        files: Duration::from_millis(50),
        backoff_first: Duration::from_millis(500),
        backoff_max: Duration::from_secs(2),
        settle: Duration::from_millis(400),
        lease: Duration::from_secs(10),
        contended: Duration::from_millis(300),
        validation: Duration::from_secs(20),
        ..Schedule::default()
    }
}

/// A node: certificates over a store, with its maintenance running.
pub struct Node {
    pub certs: Certs,
    pub registry: prometheus::Registry,
    pub store: Sqlite,
    stop: watch::Sender<bool>,
    leader: watch::Sender<bool>,
    maintenance: JoinHandle<()>,
}

impl Node {
    /// Opens the store in `dir` and leads.
    pub async fn start(dir: &Path) -> Self {
        Self::start_with(dir, true, |_| {}).await
    }

    pub async fn start_with(dir: &Path, leads: bool, change: impl FnOnce(&mut Options)) -> Self {
        let store = Sqlite::open(dir).unwrap().0;
        let registry = prometheus::Registry::new();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let mut options = Options::new(shared, registry.clone(), "node");
        options.schedule = quick();
        change(&mut options);
        let certs = Certs::open(options).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let (leader, leading) = watch::channel(leads);
        let worker = certs.clone();
        let maintenance = tokio::spawn(async move { worker.maintain(leading, stopped).await });
        Self { certs, registry, store, stop, leader, maintenance }
    }

    /// Puts a configuration in force, behind `edge` if there is one.
    pub fn apply(&self, config: &Config, edge: Option<&Edge>) -> Arc<ListenerTls> {
        let prepared = self.certs.prepare(config).unwrap();
        self.certs.commit(&prepared);
        let listener = prepared.listeners.values().next().unwrap();
        if let Some(edge) = edge {
            edge.behind.certs.lock().push(self.certs.clone());
            *edge.behind.tls.lock() = Some(Arc::clone(listener));
        }
        Arc::clone(listener)
    }

    /// Leads from now on.
    pub fn lead(&self) {
        self.leader.send_replace(true);
    }

    /// Ends maintenance and the store.
    pub async fn stop(self) {
        self.stop_and_write(vec![]).await;
    }

    /// The same, and writes to the store when nobody looks any more.
    pub async fn stop_and_write(self, ops: Vec<Op>) {
        self.stop.send_replace(true);
        self.maintenance.await.unwrap();
        self.store.txn(vec![], ops).await.unwrap();
        self.store.close().await;
    }

    /// The one certificate for `name`.
    pub fn status(&self, name: &str) -> CertificateStatus {
        let list = self.certs.list();
        let found = list.iter().find(|status| status.names.iter().any(|of| of == name));
        found.unwrap_or_else(|| panic!("{name} in {list:?}")).clone()
    }

    /// Waits until `name` is held.
    pub async fn held(&self, name: &str) -> CertificateStatus {
        self.until(name, |status| status.state == CertificateState::Held).await
    }

    /// Waits until what is listed for `name` is as expected.
    pub async fn until(
        &self,
        name: &str,
        expected: impl Fn(&CertificateStatus) -> bool,
    ) -> CertificateStatus {
        for _ in 0..600 {
            let status = self.status(name);
            if expected(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("still {:?}", self.status(name));
    }

    /// Waits until the store has `key`.
    pub async fn stored(&self, key: &str) -> Vec<u8> {
        for _ in 0..600 {
            if let Some(entry) = self.store.get(key).await.unwrap() {
                return entry.value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{key} is not stored");
    }

    /// Waits until the store has no `key`.
    pub async fn gone(&self, key: &str) {
        for _ in 0..600 {
            if self.store.get(key).await.unwrap().is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{key} is still stored");
    }

    /// The sum of a metric's values.
    pub fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        family.map_or(0.0, |family| {
            let values = family.get_metric().iter();
            values
                .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
                .sum()
        })
    }
}
