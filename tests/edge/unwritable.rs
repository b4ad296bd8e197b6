//! A state directory that cannot be written: on a full disk, on a read-only file system.

use crate::support::{
    Client, Dir, Disk, Edge, Origin,
    edge::{Process, binary, run_cli},
    eventually, listener, route, service,
    tls::client_trusting,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::path::Path;

const NAME: &str = "app.localhost";
const LATE: &str = "late.localhost";

struct Story {
    /// Unmounted before the folder goes.
    disk: Disk,
    dir: Dir,
    blue: Origin,
    green: Origin,
}

impl Story {
    /// One whose state has a disk of its own; `None` where nothing can be mounted.
    async fn new() -> Option<Self> {
        let dir = Dir::new();
        let disk = Disk::mount(&dir.path("state"))?;
        let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
        Some(Self { disk, dir, blue, green })
    }

    fn config(&self, names: &[&str]) -> String {
        listener("https")
            + &format!("tls = {{ names = {names:?} }}\n")
            + &service("app", &[("blue", 100, self.blue.address), ("green", 0, self.green.address)])
            + &route("app")
    }

    async fn start(&self) -> Edge {
        Edge::start_in(self.dir.clone(), &self.config(&[NAME])).await
    }

    /// Waits until a file of the state has `text`.
    async fn stored(&self, text: &str) {
        let state = self.dir.path("state");
        let has = |file: &Path| {
            let bytes = std::fs::read(file).unwrap_or_default();
            memchr::memmem::find(&bytes, text.as_bytes()).is_some()
        };
        eventually(&format!("{text} in the state"), || async {
            let mut files = std::fs::read_dir(&state).unwrap().flatten();
            files.any(|file| has(&file.path())).then_some(())
        })
        .await;
    }
}

/// The certificate shown for `name` to whoever trusts the internal CA, and who answers.
async fn asked(edge: &Edge, name: &str) -> (CertificateDer<'static>, String) {
    let root = edge.api().get("/v1/certificates/root").await;
    let root = CertificateDer::from_pem_slice(&root.body).unwrap();
    let address = edge.address("https").await;
    let mut client = Client::http2(address).tls(client_trusting([root], &["h2"])).host(name);
    let reply = client.get("/").await;
    assert_eq!(reply.status, 200);
    (client.certificate.clone().unwrap(), reply.version().to_owned())
}

/// The state is read and cannot be written, and everybody who looks is told.
async fn is_not_durable(edge: &Edge, state: &Path, word: &str) {
    let status = edge.api().json("/v1/status").await;
    assert_eq!((&status["durable"], &status["ready"]), (&false.into(), &true.into()), "{status}");
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains(state.to_str().unwrap()) && warnings.contains(word), "{warnings}");
    assert_eq!(edge.api().metric_sum("tidegate_store_writable", &[]).await, 0.0);
    let told = edge.cli(&["status"]).await.stdout;
    assert!(told.contains("durable") && told.contains(word), "{told}");
    edge.logs().await_log(&["nothing can be written", "is served as read from", word]).await;

    let weights = serde_json::json!({ "weights": { "blue": 50, "green": 50 } });
    let refused = edge.api().put("/v1/services/app/weights", &weights).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains(word), "{}", refused.text());
}

async fn becomes_durable(edge: &Edge) {
    eventually("a state that is saved", || async {
        (edge.api().json("/v1/status").await["durable"] == true).then_some(())
    })
    .await;
    assert_eq!(edge.api().metric_sum("tidegate_store_writable", &[]).await, 1.0);
}

#[tokio::test]
async fn a_full_disk_keeps_nothing_from_being_served_and_is_written_when_it_has_room() {
    let Some(story) = Story::new().await else { return };
    let edge = story.start().await;
    edge.api().weights("app", &[("blue", 0.0), ("green", 100.0)]).await;
    let shown = asked(&edge, NAME).await;
    assert_eq!(shown.1, "green");
    story.stored(&format!("certs/internal/{NAME}")).await;
    let mut edge = edge;
    edge.sigterm();
    edge.wait_exit().await;
    story.disk.fill();

    let edge = edge.restart().await;
    assert_eq!(asked(&edge, NAME).await, shown, "the certificate and the weights of before");
    is_not_durable(&edge, &story.dir.path("state"), "the disk is full").await;
    // What reduces risk is done at once, and saved later.
    edge.api().endpoint_state("blue", story.blue.address, "drain").await;
    // A name that is new is served, too: nobody can lead, and nobody needs to.
    edge.reload(&story.config(&[NAME, LATE])).await;
    let late = asked(&edge, LATE).await;

    story.disk.free();
    becomes_durable(&edge).await;
    assert_eq!(asked(&edge, NAME).await, shown);
    edge.api().weights("app", &[("blue", 0.0), ("green", 50.0)]).await;
    story.stored(&format!("certs/internal/{LATE}")).await;
    let mut edge = edge;
    edge.kill().await;
    let edge = edge.restart().await;
    edge.reload(&story.config(&[NAME, LATE])).await;
    assert_eq!(asked(&edge, NAME).await, shown);
    assert_eq!(asked(&edge, LATE).await, late);
    assert_eq!(edge.api().endpoint("blue", story.blue.address).await["admin"], "drain");
}

#[tokio::test]
async fn a_file_system_that_turned_read_only_is_read_and_upgraded_on() {
    let Some(story) = Story::new().await else { return };
    let mut edge = story.start().await;
    edge.api().weights("app", &[("blue", 0.0), ("green", 100.0)]).await;
    let shown = asked(&edge, NAME).await;
    story.stored(&format!("certs/internal/{NAME}")).await;
    // A crash: the newest of the state is in the log of the database.
    edge.kill().await;
    story.disk.make_read_only();

    let mut edge = edge.restart().await;
    assert_eq!(asked(&edge, NAME).await, shown, "the certificate and the weights of before");
    is_not_durable(&edge, &story.dir.path("state"), "read-only").await;
    // Two processes do not share the directory, though neither could leave a mark there.
    let (rig, own) = (story.dir.path("rig.toml"), story.dir.path("edge.toml"));
    let again = ["run", "-c", rig.to_str().unwrap(), "-c", own.to_str().unwrap()];
    let second = run_cli(&again, &[]).await;
    assert_eq!(second.code, 1, "{second:?}");
    assert!((second.stdout + &second.stderr).contains("another tidegate is running"));

    let mut old = edge.upgrade().await;
    assert!(old.wait_exit().await.success());
    assert_eq!(asked(&edge, NAME).await, shown);
    story.disk.make_writable();
    becomes_durable(&edge).await;
    edge.api().weights("app", &[("blue", 100.0), ("green", 0.0)]).await;
    let mut old = edge.upgrade().await;
    assert!(old.wait_exit().await.success());
    edge.kill().await;
    let edge = edge.restart().await;
    assert_eq!(asked(&edge, NAME).await, (shown.0, "blue".to_owned()));
    // An orderly end: no socket is left in the runtime directory.
    let mut edge = edge;
    edge.sigterm();
    edge.wait_exit().await;
}

#[tokio::test]
async fn a_first_start_without_a_place_for_the_state_is_refused_with_the_place_and_a_remedy() {
    for (spoil, remedy) in
        [(Disk::make_read_only as fn(&Disk), "mount a writable volume"), (Disk::fill, "free space")]
    {
        let Some(story) = Story::new().await else { return };
        spoil(&story.disk);
        let refused = Edge::try_start_in(story.dir.clone(), &story.config(&[NAME])).await;
        let ended = refused.err().expect("nothing is known of what is to be served");
        assert_eq!(ended.status.code(), Some(1));
        let state = story.dir.path("state");
        assert!(ended.said.contains(state.to_str().unwrap()), "{}", ended.said);
        assert!(ended.said.contains(remedy), "{}", ended.said);
    }
}

#[tokio::test]
async fn without_any_place_for_its_sockets_a_node_serves_and_says_what_it_cannot() {
    let Some(story) = Story::new().await else { return };
    let mut edge = story.start().await;
    edge.sigterm();
    edge.wait_exit().await;
    story.disk.make_read_only();

    let mut command = tokio::process::Command::new(binary());
    command.arg("run").env("XDG_RUNTIME_DIR", story.dir.path("missing"));
    for file in ["rig.toml", "edge.toml"] {
        command.arg("-c").arg(story.dir.path(file));
    }
    let alone = Process::spawn(command);
    alone.logs().await_log(&["no upgrade of this process is possible"]).await;
    alone.logs().await_log(&["in force"]).await;
    assert!(edge.api().json("/v1/status").await["ready"].as_bool().unwrap());
}
