//! What a listener shows to whom, with certificates from files and from the internal CA.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rcgen::{CertificateParams, KeyPair};
use rustls::{HandshakeKind, ProtocolVersion};
use std::sync::atomic::{AtomicI64, Ordering};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use support::{
    Node, acme, config,
    edge::{Edge, any_certificate, ask, connect, trusting},
    listener,
};
use tidegate_certs::{CertificateState, CertsError, Clock, Source};
use time::OffsetDateTime;

/// Writes a self-signed pair `name.pem`, `name.key`; returns the certificate, in DER.
fn write_pair(dir: &Path, name: &str, hosts: &[&str]) -> Vec<u8> {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(hosts).unwrap().self_signed(&key).unwrap();
    private(&dir.join(format!("{name}.key")), &key.serialize_pem());
    fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
    certificate.der().to_vec()
}

fn private(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// `{ cert = .., key = .. }` of a pair.
fn pair(dir: &Path, name: &str) -> String {
    let path = |suffix: &str| dir.join(format!("{name}.{suffix}")).display().to_string();
    format!("{{ cert = \"{}\", key = \"{}\" }}", path("pem"), path("key"))
}

fn with_files(dir: &Path, names: &[&str], more: &str, hosts: &[&str]) -> tidegate_config::Config {
    let pairs: Vec<String> = names.iter().map(|name| pair(dir, name)).collect();
    config(&listener(&format!("{{ certificates = [{}]{more} }}", pairs.join(", ")), hosts))
}

#[tokio::test]
async fn local_names_work_at_once_and_chain_to_the_root() {
    let (edge, dir) = (Edge::start().await, tempfile::tempdir().unwrap());
    let node = Node::start(dir.path()).await;
    let text =
        listener("{ default = \"127.0.0.1\" }", &["localhost", "*.localhost", "*.shop.test"]);
    node.apply(&config(&text), Some(&edge));
    let root = node.certs.root_pem();
    for name in ["localhost", "a.shop.test", "B.shop.TEST"] {
        assert!(connect(edge.tls, name, trusting(&root)).await.is_ok(), "{name}");
    }
    assert!(edge.shown("a.localhost").await.is_ok());
    let wildcard = node.status("*.localhost").last_error.unwrap();
    assert!(wildcard.contains("many clients refuse"), "{wildcard}");
    // An address sends no SNI: the default answers.
    let mut bare = connect(edge.tls, "127.0.0.1", trusting(&root)).await.unwrap();
    assert_eq!(ask(&mut bare, "127.0.0.1").await, "200");
    assert_eq!(ask(&mut bare, "localhost").await, "421");
    let status = node.status("localhost");
    assert_eq!((status.source, status.state), (Source::Internal, CertificateState::Held));
    node.until("localhost", |_| node.metric("tidegate_certificate_expiry_seconds") > 1e9).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    node.stop().await;
    // The same leaf and root after a restart.
    let node = Node::start(dir.path()).await;
    node.apply(&config(&text), Some(&edge));
    assert_eq!(node.certs.root_pem(), root);
    assert_eq!(node.status("localhost").serial, status.serial);
    node.stop().await;
}

#[tokio::test]
async fn exact_then_wildcard_then_default_then_nothing() {
    let (edge, dir) = (Edge::start().await, tempfile::tempdir().unwrap());
    let exact = write_pair(dir.path(), "exact", &["shop.example.com"]);
    let wild = write_pair(dir.path(), "wild", &["*.example.com", "example.com"]);
    let node = Node::start(&dir.path().join("state")).await;
    let names = ["exact", "wild"];
    node.apply(&with_files(dir.path(), &names, "", &["shop.example.com"]), Some(&edge));
    assert_eq!(edge.shown("shop.example.com").await.unwrap(), exact);
    assert_eq!(edge.shown("Blog.Example.COM").await.unwrap(), wild);
    assert_eq!(edge.shown("example.com").await.unwrap(), wild);
    for nobody in ["a.b.example.com", "other.org", ""] {
        assert!(edge.shown(nobody).await.is_err(), "{nobody}");
    }
    let with_default = with_files(dir.path(), &names, ", default = \"blog.example.com\"", &[]);
    node.apply(&with_default, Some(&edge));
    for anybody in ["other.org", ""] {
        assert_eq!(edge.shown(anybody).await.unwrap(), wild, "{anybody}");
    }
    let mut open = connect(edge.tls, "", any_certificate()).await.unwrap();
    for (host, answer) in [
        ("blog.example.com", "200"),
        ("shop.example.com", "200"),
        ("other.org", "421"),
        ("a.b.example.com", "421"),
    ] {
        assert_eq!(ask(&mut open, host).await, answer, "{host}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_reload_keeps_objects_and_tickets_where_nothing_changed() {
    let (edge, dir) = (Edge::start().await, tempfile::tempdir().unwrap());
    write_pair(dir.path(), "a", &["a.example.com"]);
    let node = Node::start(&dir.path().join("state")).await;
    let before = node.apply(&with_files(dir.path(), &["a"], "", &[]), Some(&edge));
    // One client config, hence one ticket store.
    let client = any_certificate();
    let mut first = connect(edge.tls, "a.example.com", client.clone()).await.unwrap();
    assert_eq!(ask(&mut first, "a.example.com").await, "200");
    assert_eq!(first.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(first.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let after = node.apply(&with_files(dir.path(), &["a"], "", &["new.test"]), Some(&edge));
    assert!(Arc::ptr_eq(&before, &after), "the listener's settings are the same");
    let resumed = connect(edge.tls, "a.example.com", client.clone()).await.unwrap();
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    let more = ", default = \"a.example.com\"";
    let changed = node.apply(&with_files(dir.path(), &["a"], more, &[]), Some(&edge));
    assert!(!Arc::ptr_eq(&before, &changed));
    let resumed = connect(edge.tls, "a.example.com", client.clone()).await.unwrap();
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    // Another oldest version is another policy: old tickets are not taken.
    let more = ", min_version = \"1.3\"";
    node.apply(&with_files(dir.path(), &["a"], more, &[]), Some(&edge));
    let full = connect(edge.tls, "a.example.com", client).await.unwrap();
    assert_eq!(full.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    node.stop().await;
}

#[tokio::test]
async fn protocols_are_offered_as_configured() {
    let (edge, dir) = (Edge::start().await, tempfile::tempdir().unwrap());
    let node = Node::start(dir.path()).await;
    let mut client = any_certificate();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    for (protocols, expected) in [
        ("[\"http1\", \"http2\"]", &b"h2"[..]),
        ("[\"http1\"]", b"http/1.1"),
        ("[\"http2\"]", b"h2"),
    ] {
        let text = listener("{}", &["localhost"])
            .replace("tls = ", &format!("protocols = {protocols}\ntls = "));
        node.apply(&config(&text), Some(&edge));
        let stream = connect(edge.tls, "localhost", client.clone()).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(expected));
    }
    // Nobody has opened a challenge.
    client.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    assert!(connect(edge.tls, "localhost", client).await.is_err());
    node.stop().await;
}

#[tokio::test]
async fn changed_files_are_served_and_broken_ones_are_not() {
    let (edge, dir) = (Edge::start().await, tempfile::tempdir().unwrap());
    let first = write_pair(dir.path(), "a", &["a.example.com"]);
    let node = Node::start(&dir.path().join("state")).await;
    node.apply(&with_files(dir.path(), &["a"], "", &[]), Some(&edge));
    assert_eq!(edge.shown("a.example.com").await.unwrap(), first);

    private(&dir.path().join("a.key"), "garbage");
    let failed = node.until("a.example.com", |status| status.last_error.is_some()).await;
    let text = failed.last_error.unwrap();
    assert!(text.contains("a.key") && text.contains("the one before is served"), "{text}");
    assert_eq!(edge.shown("a.example.com").await.unwrap(), first);

    let second = write_pair(dir.path(), "a", &["a.example.com"]);
    node.until("a.example.com", |status| status.last_error.is_none()).await;
    assert_eq!(edge.shown("a.example.com").await.unwrap(), second);

    // Kubernetes swaps a link to a directory.
    let (data, versions) = (dir.path().join("data"), ["v1", "v2"]);
    let shown = versions.map(|version| {
        fs::create_dir(dir.path().join(version)).unwrap();
        write_pair(&dir.path().join(version), "tls", &["k8s.example.com"])
    });
    std::os::unix::fs::symlink("v1", &data).unwrap();
    node.apply(&with_files(&data, &["tls"], "", &[]), Some(&edge));
    assert_eq!(edge.shown("k8s.example.com").await.unwrap(), shown[0]);
    std::os::unix::fs::symlink("v2", dir.path().join("next")).unwrap();
    fs::rename(dir.path().join("next"), &data).unwrap();
    let serial = node.status("k8s.example.com").serial;
    node.until("k8s.example.com", |status| status.serial != serial).await;
    assert_eq!(edge.shown("k8s.example.com").await.unwrap(), shown[1]);
    node.stop().await;
}

#[tokio::test]
async fn every_fault_is_told_and_nothing_in_force_changes() {
    let (edge, dir) = (Edge::start().await, tempfile::tempdir().unwrap());
    let good = write_pair(dir.path(), "good", &["a.example.com"]);
    write_pair(dir.path(), "open", &["b.example.com"]);
    let open = dir.path().join("open.key");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let node = Node::start(&dir.path().join("state")).await;
    node.apply(&with_files(dir.path(), &["good"], "", &[]), Some(&edge));
    let bad = with_files(dir.path(), &["good", "open", "missing"], "", &[]);
    let errors = node.certs.prepare(&bad).unwrap_err();
    let at: Vec<&PathBuf> = errors
        .iter()
        .map(|error| match error {
            CertsError::File { path, .. } => path,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(at, [&open, &dir.path().join("missing.pem")]);
    assert_eq!(edge.shown("a.example.com").await.unwrap(), good);
    assert_eq!(node.certs.list().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_ordered_is_listed_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let away = "{ name = \"away\", directory = \"https://127.0.0.1:1/dir\" }".to_owned();
    let text = listener("{}", &["*.example.com", "~^x[0-9]+$", "shop_1.example.com"])
        + &acme(&[away], "[\"http-01\"]");
    node.apply(&config(&text), None);
    for (name, reason) in [
        ("*.example.com", "proved by DNS only"),
        ("~^x[0-9]+$", "pattern"),
        ("shop_1.example.com", "host name"),
    ] {
        let status = node.status(name);
        assert_eq!(status.state, CertificateState::Missing);
        assert!(status.last_error.unwrap().contains(reason), "{name}");
    }
    let json = serde_json::to_value(node.certs.list()).unwrap();
    assert_eq!(json[0]["source"], "acme");
    assert_eq!(json[0]["state"], "missing");
    node.stop().await;
}

/// A clock that is so many hours ahead.
fn clock_ahead() -> (Clock, Arc<AtomicI64>) {
    let ahead = Arc::new(AtomicI64::new(0));
    let read = Arc::clone(&ahead);
    let clock = Clock::new(move || {
        OffsetDateTime::now_utc() + time::Duration::hours(read.load(Ordering::Relaxed))
    });
    (clock, ahead)
}

#[tokio::test]
async fn the_intermediate_is_renewed_while_running_and_the_root_stays() {
    let (edge, dir) = (Edge::start().await, tempfile::tempdir().unwrap());
    let (clock, ahead) = clock_ahead();
    let node = Node::start_with(dir.path(), true, |options| options.clock = clock.clone()).await;
    let other = Node::start_with(dir.path(), false, |options| options.clock = clock.clone()).await;
    let names = listener("{ issuer = \"internal\" }", &["shop.example.com"]);
    other.apply(&config(&names), None);
    node.apply(&config(&names), Some(&edge));
    let (first, root) = (node.status("shop.example.com"), node.certs.root_pem());
    let chain = edge.chain("shop.example.com").await.unwrap();
    assert_eq!(chain.len(), 2, "the leaf and the intermediate");
    ahead.store(250 * 24, Ordering::Relaxed);
    let between = node.until("shop.example.com", |status| status.serial != first.serial).await;
    // That one may have been signed a moment before the intermediate was renewed.
    ahead.store(256 * 24, Ordering::Relaxed);
    let second = node.until("shop.example.com", |status| status.serial != between.serial).await;
    let renewed = edge.chain("shop.example.com").await.unwrap();
    assert_ne!(renewed[1], chain[1], "another intermediate");
    assert_eq!((node.certs.root_pem(), other.certs.root_pem()), (root.clone(), root));
    // Who does not lead signs with the new one, too.
    other.until("shop.example.com", |status| status.serial == second.serial).await;
    other.apply(&config(&listener("{ issuer = \"internal\" }", &["new.example.com"])), Some(&edge));
    other.until("new.example.com", |status| status.serial.is_some()).await;
    let of_other = edge.chain("new.example.com").await.unwrap();
    assert_eq!(of_other[1], renewed[1]);
    other.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn local_certificates_are_renewed_when_a_third_is_left() {
    let (edge, dir) = (Edge::start().await, tempfile::tempdir().unwrap());
    let (clock, ahead) = clock_ahead();
    let node = Node::start_with(dir.path(), true, |options| options.clock = clock).await;
    node.apply(&config(&listener("{ issuer = \"internal\" }", &["shop.example.com"])), Some(&edge));
    let first = node.status("shop.example.com");
    let shown = edge.shown("shop.example.com").await.unwrap();
    ahead.store(4 * 24, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(node.status("shop.example.com").serial, first.serial);
    ahead.store(5 * 24, Ordering::Relaxed);
    node.until("shop.example.com", |status| status.serial != first.serial).await;
    assert_ne!(edge.shown("shop.example.com").await.unwrap(), shown);
    node.stop().await;
}

#[test]
fn nothing_shows_a_key() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(dir.path()).await;
        let prepared = node.certs.prepare(&config(&listener("{}", &["localhost"]))).unwrap();
        let shown = format!("{:?} {prepared:?} {:?}", node.certs, node.certs.list());
        assert!(!shown.contains("PRIVATE KEY"));
        assert!(!node.certs.root_pem().contains("PRIVATE"));
        node.stop().await;
    });
}
