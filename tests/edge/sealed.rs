//! The state encrypted at rest.

use crate::support::{Dir, Edge, edge::run_cli, eventually, listener};
use std::path::Path;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn config(dir: &Dir, keys: &str) -> String {
    let (socket, state) = (dir.path("control.sock"), dir.path("state"));
    format!("[control]\naddress = \"unix:{}\"\nstate = {state:?}\n{keys}\n", socket.display())
        + &listener("https")
        + "tls = {}\n[routes.a]\nhost = \"app.internal\"\nrespond = { status = 200 }\n"
}

/// Whether a file of the folder holds a private key in the clear.
fn holds_a_key(state: &Path) -> bool {
    std::fs::read_dir(state).unwrap().flatten().any(|file| {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        memchr::memmem::find(&bytes, b"PRIVATE KEY").is_some()
    })
}

#[tokio::test]
async fn what_is_kept_is_encrypted_once_there_is_a_key() {
    let dir = Dir::new();
    let state = dir.path("state");
    let mut edge = Edge::start_in(dir.clone(), &config(&dir, "")).await;
    eventually("a key in the clear", || async { holds_a_key(&state).then_some(()) }).await;
    let root = edge.api().get("/v1/certificates/root").await.text();
    edge.kill().await;

    let with_key = config(&dir, &format!("encryption_keys = [\"{KEY}\"]"));
    edge.write_config(&with_key);
    let mut edge = edge.restart().await;
    eventually("no key in the clear", || async { (!holds_a_key(&state)).then_some(()) }).await;
    assert_eq!(edge.api().get("/v1/certificates/root").await.text(), root);
    edge.kill().await;
    assert!(!holds_a_key(&state));

    // Without the key nothing is taken for broken: the process says what it needs, and ends.
    let without = dir.write("without.toml", &config(&dir, ""));
    let refused = run_cli(&["run", "-c", without.to_str().unwrap()], &[]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let told = refused.stdout + &refused.stderr;
    assert!(told.contains("control.encryption_keys"), "{told}");
    let edge = edge.restart().await;
    assert_eq!(edge.api().get("/v1/certificates/root").await.text(), root);
}
