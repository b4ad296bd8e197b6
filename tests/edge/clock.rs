//! Hours and weeks in the life of the real binary: its wall clock is moved by libfaketime, while
//! everybody else's stays.

use crate::{
    acme::{NAME, Site, certificate},
    support::{Dir, Edge, eventually, pebble::Pebble, wait::eventually_within},
};
use std::{path::PathBuf, time::Duration};

/// What the binary is started with; the clock is moved by writing to a file.
struct Wall {
    dir: Dir,
    library: PathBuf,
}

impl Wall {
    fn new() -> Self {
        let folders = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
        let library = folders
            .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
            .find(|library| library.exists())
            .expect("libfaketime is missing (apt-get install libfaketime)");
        let wall = Self { dir: Dir::new(), library };
        wall.advance("+0d");
        wall
    }

    /// Moves the clock, to so far ahead of the real one.
    fn advance(&self, ahead: &str) {
        self.dir.write("wall", ahead);
    }

    async fn start(&self, config: &str) -> Edge {
        let file = self.dir.path("wall").display().to_string();
        let library = self.library.display().to_string();
        // Deadlines and leases are of the monotonic clock, which nobody moves.
        let environment = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        Edge::start_under(config, &environment).await
    }
}

/// A look is taken every 30 s.
const LOOKS: Duration = Duration::from_secs(70);

async fn status(edge: &Edge) -> serde_json::Value {
    let all = edge.api().json("/v1/certificates").await;
    let of_name = |one: &&serde_json::Value| one["names"][0] == NAME;
    all["certificates"].as_array().unwrap().iter().find(of_name).unwrap().clone()
}

async fn failures(edge: &Edge) -> f64 {
    let failed = ["outcome=\"failed\""];
    edge.api().metric_sum("tidegate_certificate_orders_total", &failed).await
}

#[tokio::test]
async fn an_authority_that_is_away_at_the_start_and_for_hours_is_asked_again() {
    let site = Site::new().await;
    let mut pebble = Pebble::start(site.settings());
    pebble.stop();
    let wall = Wall::new();
    let edge = wall.start(&site.config(&pebble.table(&["http-01"]))).await;
    eventually("the first failure", || async { (failures(&edge).await >= 1.0).then_some(()) })
        .await;
    wall.advance("+1h");
    eventually_within(LOOKS, "another failure", || async {
        (failures(&edge).await >= 2.0).then_some(())
    })
    .await;
    let told = status(&edge).await;
    assert_eq!(told["state"], "ordering");
    assert!(told["last_error"].as_str().unwrap().contains("may this machine reach it"), "{told}");
    pebble.restart();
    let root = pebble.root().await;
    wall.advance("+20h");
    eventually_within(LOOKS, "a certificate", || async {
        (status(&edge).await["state"] == "held").then_some(())
    })
    .await;
    certificate(site.https(), &root).await;
}

#[tokio::test]
async fn a_certificate_is_served_while_its_authority_is_away_and_renewed_when_it_is_back() {
    let site = Site::new().await;
    let mut pebble = Pebble::start(site.settings());
    let root = pebble.root().await;
    let wall = Wall::new();
    let edge = wall.start(&site.config(&pebble.table(&["http-01"]))).await;
    let first = certificate(site.https(), &root).await;
    assert!(status(&edge).await["last_error"].is_null());
    pebble.stop();
    // Of ninety days a third less a tenth of that is left.
    wall.advance("+66d");
    eventually_within(LOOKS, "a renewal that fails", || async {
        status(&edge).await["last_error"].as_str().map(drop)
    })
    .await;
    assert_eq!(certificate(site.https(), &root).await, first, "served all the same");
    pebble.restart();
    let root = pebble.root().await;
    wall.advance("+67d");
    let serial = status(&edge).await["serial"].clone();
    eventually_within(LOOKS, "another certificate", || async {
        (status(&edge).await["serial"] != serial).then_some(())
    })
    .await;
    assert_ne!(certificate(site.https(), &root).await, first);
    assert!(status(&edge).await["last_error"].is_null());
}
