//! What testssl.sh, which operators run, finds at a listener.

use crate::support::{Ca, Dir, Edge, Origin, listener, route, service};
use serde_json::Value;
use std::{process::Stdio, time::Duration};
use tokio::{process::Command, time::timeout};

/// Findings that are the test's, not the listener's.
const NOT_OURS: [(&str, &str); 2] = [
    ("cert_revocation", "the test's authority runs neither OCSP nor a revocation list"),
    ("cert_validityPeriod", "the test's certificates are good for centuries"),
];

/// testssl.sh tries hundreds of handshakes: a minute and more.
const PATIENCE: Duration = Duration::from_secs(230);

#[tokio::test]
async fn testssl_finds_nothing_above_low() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let origin = Origin::start("v1").await;
    let leaf = ca.issue(&["localhost"]);
    let config = listener("https")
        + &format!(
            "tls = {{ certificates = [{}], default = \"localhost\" }}\n",
            leaf.table(&dir, "edge")
        )
        + &service("app", &[("app", 100, origin.address)])
        + &route("app")
        // What a page should say is its operator's to choose; testssl.sh wants to see it.
        + "response_headers = { set = { strict-transport-security = \"max-age=31536000\", \
           x-frame-options = \"DENY\", x-content-type-options = \"nosniff\", \
           content-security-policy = \"default-src 'self'\" } }\n";
    let edge = Edge::start_in(dir, &config).await;
    let root = ca.root_file(&edge.dir);
    let json = edge.dir.path("testssl.json");
    let port = edge.address("https").await.port();
    let mut command = Command::new("testssl");
    command
        .args(["--quiet", "--warnings", "off", "--color", "0", "--nodns=min", "--ip", "127.0.0.1"])
        .arg("--add-ca")
        .arg(&root)
        .arg("--jsonfile")
        .arg(&json)
        .arg(format!("https://localhost:{port}"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("an end in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let text = std::fs::read_to_string(&json).unwrap_or_else(|e| panic!("{e}: {said}"));
    let found: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(found.len() > 100, "it looked: {said}");
    let good = |severity: &str| matches!(severity, "OK" | "INFO" | "LOW" | "WARN" | "DEBUG");
    let bad: Vec<&Value> = found
        .iter()
        .filter(|finding| !good(finding["severity"].as_str().unwrap()))
        .filter(|finding| NOT_OURS.iter().all(|(id, _)| finding["id"] != *id))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    for id in ["cert_chain_of_trust", "cipher_order", "TLS1_3", "PFS"] {
        let finding = found.iter().find(|finding| finding["id"] == id);
        let severity = finding.unwrap_or_else(|| panic!("no finding {id}"))["severity"].as_str();
        assert!(matches!(severity, Some("OK" | "INFO")), "{id}: {finding:?}");
    }
}
