//! TLS as other implementations see it: versions, cipher suites, key exchange, resumption.

use crate::support::{
    Ca, Dir, Edge, Origin, edge::Output, listener, openssl::s_client, route, service,
};
use std::net::SocketAddr;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";

/// An edge with a certificate for `app.test`, a listener for each `(name, keys of its tls)`.
async fn edge(ca: &Ca, origin: &Origin, listeners: &[(&str, &str)]) -> Edge {
    let dir = Dir::new();
    let files = ca.issue(&["app.test"]).table(&dir, "edge");
    let mut config = String::new();
    for (name, keys) in listeners {
        config += &listener(name);
        config += &format!("tls = {{ certificates = [{files}]{keys} }}\n");
    }
    config += &service("app", &[("app", 100, origin.address)]);
    Edge::start_in(dir, &(config + &route("app"))).await
}

/// A handshake alone; `None` if it was refused, else what was agreed on.
async fn handshake(address: SocketAddr, arguments: &[&str]) -> Option<String> {
    let Output { code, stderr, .. } =
        s_client(address, "app.test", &[&["-brief"], arguments].concat(), "").await;
    (code == 0).then_some(stderr)
}

#[tokio::test]
async fn the_policy_says_which_versions_are_spoken() {
    let ca = Ca::new();
    let origin = Origin::start("v1").await;
    let listeners = [
        ("intermediate", ""),
        ("modern", ", policy = \"modern\""),
        ("narrowed", ", min_version = \"1.3\""),
    ];
    let edge = edge(&ca, &origin, &listeners).await;
    for (name, versions) in [
        ("intermediate", &["TLSv1.2", "TLSv1.3"][..]),
        ("modern", &["TLSv1.3"]),
        ("narrowed", &["TLSv1.3"]),
    ] {
        let address = edge.address(name).await;
        for (flag, version) in
            [("-tls1_1", "TLSv1.1"), ("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")]
        {
            let weakest = ["-cipher", "ALL:@SECLEVEL=0", flag];
            let agreed = handshake(address, &weakest).await;
            let expected = versions.contains(&version);
            assert_eq!(agreed.is_some(), expected, "{name} {version}: {agreed:?}");
            let told = format!("Protocol version: {version}");
            assert!(agreed.is_none_or(|agreed| agreed.contains(&told)), "{name} {version}");
        }
    }
}

#[tokio::test]
async fn ciphers_are_aead_with_forward_secrecy_in_the_order_of_the_server() {
    let ca = Ca::new();
    let origin = Origin::start("v1").await;
    let edge = edge(&ca, &origin, &[("https", "")]).await;
    let address = edge.address("https").await;
    for (arguments, suite) in [
        (["-tls1_2", "-cipher", "ECDHE+AESGCM"], "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (
            ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"],
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
        (
            ["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"],
            "TLS_AES_256_GCM_SHA384",
        ),
        (["-tls1_3", "-groups", "P-384"], "TLS_AES_256_GCM_SHA384"),
    ] {
        let agreed = handshake(address, &arguments).await.expect("a handshake");
        assert!(agreed.contains(&format!("Ciphersuite: {suite}\n")), "{arguments:?}: {agreed}");
    }
    for weak in ["ECDHE+AES:!AESGCM:!AESCCM", "AES256-GCM-SHA384", "DHE+AESGCM"] {
        let agreed = handshake(address, &["-tls1_2", "-cipher", weak]).await;
        assert_eq!(agreed, None, "{weak}");
    }
}

#[tokio::test]
async fn alpn_is_agreed_on_with_openssl() {
    let ca = Ca::new();
    let origin = Origin::start("v1").await;
    let edge = edge(&ca, &origin, &[("both", ""), ("other", ", policy = \"modern\"")]).await;
    let address = edge.address("both").await;
    for (offered, agreed) in
        [("http/1.1,h2", "ALPN protocol: h2"), ("http/1.1", "ALPN protocol: http/1.1")]
    {
        let said = s_client(address, "app.test", &["-alpn", offered], "").await;
        assert!(said.stdout.contains(agreed), "{offered}: {}", said.stdout);
    }
    let said = s_client(address, "app.test", &["-alpn", "spdy/3"], "").await;
    assert_ne!(said.code, 0, "RFC 7301: no protocol in common is an alert");
}

#[tokio::test]
async fn sessions_are_resumed_but_not_under_another_policy() {
    let ca = Ca::new();
    let origin = Origin::start("v1").await;
    let edge = edge(&ca, &origin, &[("https", ""), ("modern", ", policy = \"modern\"")]).await;
    let (address, modern) = (edge.address("https").await, edge.address("modern").await);
    let session = edge.dir.path("session.pem").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        // With 1.3 tickets follow the handshake: an answer has to be read.
        let first = s_client(address, "app.test", &[version, "-sess_out", &session], GET).await;
        assert!(first.stdout.contains("\nNew, TLSv1."), "{}", first.stdout);
        assert!(first.stdout.contains("200 OK"), "{}", first.stdout);
        let again = s_client(address, "app.test", &[version, "-sess_in", &session], GET).await;
        assert!(again.stdout.contains("\nReused, TLSv1."), "{version}: {}", again.stdout);
        assert!(again.stdout.contains("200 OK"), "{}", again.stdout);
    }
    let elsewhere = s_client(modern, "app.test", &["-sess_in", &session], GET).await;
    assert!(elsewhere.stdout.contains("\nNew, TLSv1.3"), "{}", elsewhere.stdout);
}

#[tokio::test]
async fn sessions_are_resumed_after_a_crash_and_after_an_upgrade() {
    let ca = Ca::new();
    let origin = Origin::start("v1").await;
    let listeners = [("https", ""), ("modern", ", policy = \"modern\"")];
    let mut edge = edge(&ca, &origin, &listeners).await;
    // Of this period and the next. Until they are there its own serves, which ends with it.
    edge.api().counted("tidegate_tls_ticket_keys", &["source=\"shared\""], 2.0).await;
    let sessions = ["-tls1_2", "-tls1_3"]
        .map(|version| (version, edge.dir.path(version).display().to_string()));
    for (version, session) in &sessions {
        let said = ask(edge.address("https").await, &[version, "-sess_out", session]).await;
        assert!(said.contains("\nNew, TLSv1.") && said.contains("200 OK"), "{said}");
    }
    edge.kill().await;
    edge = edge.restart().await;
    assert_resumed(&edge, &sessions).await;
    let mut old = edge.upgrade().await;
    assert_resumed(&edge, &sessions).await;
    assert!(old.wait_exit().await.success());
    assert_resumed(&edge, &sessions).await;
}

/// Both sessions are good at `https`, and nothing under another policy.
async fn assert_resumed(edge: &Edge, sessions: &[(&str, String)]) {
    let (address, modern) = (edge.address("https").await, edge.address("modern").await);
    for (version, session) in sessions {
        let said = ask(address, &[version, "-sess_in", session]).await;
        assert!(said.contains("\nReused, TLSv1.") && said.contains("200 OK"), "{said}");
        if *version == "-tls1_3" {
            let said = ask(modern, &["-sess_in", session]).await;
            assert!(said.contains("\nNew, TLSv1.3") && said.contains("200 OK"), "{said}");
        }
    }
}

async fn ask(address: SocketAddr, arguments: &[&str]) -> String {
    s_client(address, "app.test", arguments, GET).await.stdout
}
