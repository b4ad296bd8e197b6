//! DNS-01 with pebble and a real name server, bind9: wildcards, aliases, failing providers, and
//! records that a process left behind. Skipped where pebble is not installed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "../../tests/support/bind.rs"]
mod bind;

use bind::{Bind, KEY};
use std::{path::Path, time::Duration};
use support::{
    Node, acme, config,
    edge::Edge,
    issuer, listener,
    pebble::{Pebble, Settings},
};
use tidegate_certs::CertificateState;
use tidegate_config::{Config, ValidationPorts};
use tidegate_store::Store;

/// An edge, a zone, and an authority that asks the zone's server.
async fn world(records: &str) -> Option<(Edge, Bind, Pebble)> {
    let edge = Edge::start().await;
    let bind = Bind::start("hmac-sha256", records);
    let settings = Settings {
        http_port: edge.http.port(),
        tls_port: edge.tls.port(),
        validity: 86_400,
        eab: false,
    };
    let pebble = Pebble::start_with_dns(settings, Some(bind.address))?;
    Some((edge, bind, pebble))
}

/// The provider that changes the zone of `bind` with `secret`.
fn rfc2136(bind: &Bind, secret: &str) -> String {
    let (server, (key, _)) = (bind.address, KEY);
    format!("rfc2136 = {{ server = \"{server}\", key = \"{key}\", secret = \"{secret}\" }}\n")
}

/// A program that changes the zone of `bind` by `nsupdate`, after `before`.
fn script(dir: &Path, bind: &Bind, before: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let (port, (key, _)) = (bind.address.port(), KEY);
    let text = format!(
        "#!/bin/sh\nset -e\n{before}\ncase $TIDEGATE_ACTION in\n\
         present) change=\"update add $TIDEGATE_FQDN $TIDEGATE_TTL TXT \\\"$TIDEGATE_VALUE\\\"\" ;;\n\
         withdraw) change=\"update delete $TIDEGATE_FQDN TXT \\\"$TIDEGATE_VALUE\\\"\" ;;\nesac\n\
         printf 'server 127.0.0.1 {port}\\n%s\\nsend\\n' \"$change\" |\n\
         nsupdate -y \"hmac-sha256:{key}:$SECRET\"\n"
    );
    let file = dir.join("dns-hook");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (file, secret) = (file.display(), KEY.1);
    format!("exec = {{ command = \"{file}\", environment = {{ SECRET = \"{secret}\" }} }}\n")
}

fn zone(pebble: &Pebble, bind: &Bind, hosts: &[&str], challenges: &str, method: &str) -> Config {
    let server = bind.address;
    let text = listener("{}", hosts)
        + &acme(&[issuer("pebble", pebble)], challenges)
        + &format!(
            "[dns]\nservers = [\"{server}\"]\n[acme.dns.zone]\n{method}\
             propagation = {{ servers = [\"{server}\"], interval = \"100ms\", timeout = \"5s\" }}\n"
        );
    config(&text)
}

const RECORD: &str = "_acme-challenge.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_and_its_own_name_are_proved_at_the_same_time() {
    let Some((edge, bind, pebble)) = world("").await else { return };
    let dir = tempfile::tempdir().unwrap();
    bind.change(&format!("update add {RECORD} 60 TXT somebody-elses"));
    let node = Node::start(dir.path()).await;
    let hosts = ["*.example.com", "example.com"];
    let config = zone(&pebble, &bind, &hosts, "[\"dns-01\"]", &rfc2136(&bind, KEY.1));
    node.apply(&config, Some(&edge));
    for host in hosts {
        node.held(host).await;
    }
    let wild = node.status("*.example.com");
    assert_eq!((wild.names, wild.last_error), (vec!["*.example.com".to_owned()], None));
    assert!(wild.remark.unwrap().contains("neither `example.com` nor `a.b.example.com`"));
    let shown = edge.shown("shop.example.com").await.unwrap();
    assert_eq!(edge.shown("blog.example.com").await.unwrap(), shown);
    assert_ne!(edge.shown("example.com").await.unwrap(), shown);
    assert!(edge.shown("a.b.example.com").await.is_err(), "a certificate's wildcard is one label");
    assert_eq!(bind.texts(RECORD), ["somebody-elses"], "ours are gone, no other is");
    node.stop().await;
    assert_eq!(pebble.issued(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_is_renewed() {
    let edge = Edge::start().await;
    let bind = Bind::start("hmac-sha256", "");
    let settings = Settings { http_port: 1, tls_port: 1, validity: 16, eab: false };
    let Some(pebble) = Pebble::start_with_dns(settings, Some(bind.address)) else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let method = rfc2136(&bind, KEY.1);
    let config = zone(&pebble, &bind, &["*.example.com"], "[\"http-01\"]", &method);
    node.apply(&config, Some(&edge));
    let first = node.held("*.example.com").await;
    node.until("*.example.com", |status| status.serial != first.serial).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_leads_to_the_zone_that_can_be_changed() {
    let alias = "_acme-challenge.shop IN CNAME shop.acme.example.com.";
    let Some((edge, bind, pebble)) = world(alias).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let before = format!("echo $TIDEGATE_ACTION $TIDEGATE_FQDN >> {}", log.display());
    let method = script(dir.path(), &bind, &before);
    let node = Node::start(dir.path()).await;
    let config = zone(&pebble, &bind, &["*.shop.example.com"], "[\"http-01\"]", &method);
    node.apply(&config, Some(&edge));
    node.held("*.shop.example.com").await;
    let wanted = "present shop.acme.example.com\nwithdraw shop.acme.example.com\n";
    assert_eq!(std::fs::read_to_string(log).unwrap(), wanted);
    assert!(bind.texts("shop.acme.example.com").is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_is_told_and_the_right_one_is_tried_at_once() {
    let Some((edge, bind, pebble)) = world("").await else { return };
    let dir = tempfile::tempdir().unwrap();
    let slow = |options: &mut tidegate_certs::Options| {
        options.schedule.backoff_first = Duration::from_secs(3600);
        options.schedule.backoff_max = Duration::from_secs(3600);
    };
    let node = Node::start_with(dir.path(), true, slow).await;
    let with = |secret| {
        let method = rfc2136(&bind, secret);
        zone(&pebble, &bind, &["*.example.com"], "[\"http-01\"]", &method)
    };
    node.apply(&with("d3Jvbmc="), Some(&edge));
    let failed = node.until("*.example.com", |status| status.last_error.is_some()).await;
    let text = failed.last_error.unwrap();
    assert!(text.contains("DNS provider `zone`") && text.contains("BADSIG"), "{text}");
    assert!(text.contains("compare `key`, `algorithm` and `secret`"), "{text}");
    assert!(!text.contains("d3Jvbmc="), "{text}");
    node.apply(&with(KEY.1), Some(&edge));
    node.held("*.example.com").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_a_server_never_shows_fails_the_challenge_alone() {
    let Some((edge, bind, pebble)) = world("").await else { return };
    let other = Bind::start("hmac-sha256", "");
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let hosts = ["shop.example.com", "*.example.com"];
    let method = rfc2136(&bind, KEY.1);
    let mut config = zone(&pebble, &bind, &hosts, "[\"dns-01\", \"http-01\"]", &method);
    let provider = config.acme.as_mut().unwrap().dns.values_mut().next().unwrap();
    provider.propagation.servers.push(other.address);
    provider.propagation.timeout = Duration::from_secs(1);
    node.apply(&config, Some(&edge));
    // By HTTP, which a wildcard cannot.
    node.held("shop.example.com").await;
    let failed = node.until("*.example.com", |status| status.last_error.is_some()).await;
    assert_eq!(failed.state, CertificateState::Ordering);
    let text = failed.last_error.unwrap();
    assert!(text.contains(&format!("`{}` lacks it", other.address)), "{text}");
    assert!(!text.contains(&format!("`{}` lacks it", bind.address)), "{text}");
    node.stop().await;
    for name in [RECORD, "_acme-challenge.shop.example.com"] {
        assert!(bind.texts(name).len() <= 1, "at most the one that the stop interrupted");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_looks_once_the_slowest_server_shows_the_record() {
    let Some((edge, bind, pebble)) = world("").await else { return };
    let slow = Bind::start("hmac-sha256", "");
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let method = rfc2136(&bind, KEY.1);
    let mut config = zone(&pebble, &bind, &["*.example.com"], "[\"http-01\"]", &method);
    let provider = config.acme.as_mut().unwrap().dns.values_mut().next().unwrap();
    provider.propagation.servers.push(slow.address);
    provider.propagation.timeout = Duration::from_secs(60);
    node.apply(&config, Some(&edge));
    let value = loop {
        if let [value] = &bind.texts(RECORD)[..] {
            break value.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(!pebble.log().contains("/chalZ/"), "it was asked to look too soon");
    slow.change(&format!("update add {RECORD} 60 TXT \"{value}\""));
    node.held("*.example.com").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_redirects_refuses_or_hangs_is_told() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Some((edge, bind, pebble)) = world("").await else { return };
    for (answer, told) in [
        (
            "HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            "answered 307",
        ),
        ("HTTP/1.1 500 x\r\ncontent-length: 9\r\n\r\ntopsecret", "answered 500"),
        ("HTTP/1.1 2", "cannot be asked"),
        ("", "not done within 1 s"),
    ] {
        let hook = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/topsecret", hook.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = hook.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(dir.path()).await;
        let method = format!("webhook = {{ url = \"{url}\", timeout = \"1s\" }}\n");
        let config = zone(&pebble, &bind, &["*.example.com"], "[\"http-01\"]", &method);
        node.apply(&config, Some(&edge));
        let failed = node.until("*.example.com", |status| status.last_error.is_some()).await;
        let text = failed.last_error.unwrap();
        assert!(text.contains(told) && !text.contains("topsecret"), "{text}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_leaves_in_the_zone_is_removed_by_the_next_start() {
    let Some((edge, bind, pebble)) = world("").await else { return };
    let dir = tempfile::tempdir().unwrap();
    let first = Node::start(&dir.path().join("state")).await;
    // Published, and never seen where it is looked for.
    let method = rfc2136(&bind, KEY.1);
    let mut config = zone(&pebble, &bind, &["*.example.com"], "[\"http-01\"]", &method);
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let provider = config.acme.as_mut().unwrap().dns.values_mut().next().unwrap();
    provider.propagation.servers = vec![nobody.local_addr().unwrap()];
    provider.propagation.timeout = Duration::from_secs(3600);
    first.apply(&config, Some(&edge));
    while bind.texts(RECORD).is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Maintenance ends where it is, as with the process.
    first.stop().await;
    assert_eq!(bind.texts(RECORD).len(), 1);

    let second = Node::start(&dir.path().join("state")).await;
    // Nobody wants the name any more.
    let config = zone(&pebble, &bind, &["a.localhost"], "[\"http-01\"]", &method);
    second.apply(&config, None);
    for _ in 0..600 {
        if bind.texts(RECORD).is_empty() {
            return second.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?} is still there", bind.texts(RECORD));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_tells_what_can_be_had_and_why_something_cannot() {
    let records = "@ IN CAA 0 issue \"ca.example\"\nclosed IN A 127.0.0.1\n\
                   closed IN CAA 0 issue \";\"\nempty IN TXT nothing";
    let Some((edge, bind, pebble)) = world(records).await else { return };
    let dir = tempfile::tempdir().unwrap();
    // It does not lead, so that nothing is ordered meanwhile.
    let node = Node::start_with(dir.path(), false, |_| {}).await;
    let hosts = ["shop.example.com", "closed.example.com", "empty.example.com", "*.example.com"];
    let challenges = "[\"http-01\", \"tls-alpn-01\"]";
    let away = "{ name = \"away\", directory = \"https://127.0.0.1:1/dir\" }";
    let config = |secret: &str, ports: (u16, u16)| {
        let method = rfc2136(&bind, secret);
        let mut config = zone(&pebble, &bind, &hosts, challenges, &method);
        let text = listener("{}", &[]) + &acme(&[away.to_owned()], challenges);
        let first = support::config(&text).acme.unwrap().issuers.remove(0);
        let settings = config.acme.as_mut().unwrap();
        settings.issuers.insert(0, first);
        settings.validation_ports = ValidationPorts { http: ports.0, tls: ports.1 };
        config
    };
    let ports = (edge.http.port(), edge.tls.port());
    node.apply(&config(KEY.1, ports), Some(&edge));
    let plan = node.certs.plan(&[]).await;
    assert_eq!(plan.left_out, 0);
    let issuers: Vec<_> =
        plan.issuers.iter().map(|issuer| (issuer.check.as_str(), issuer.passed)).collect();
    assert_eq!(issuers, [("away", false), ("pebble", true)]);
    assert!(plan.issuers[0].found.contains("cannot connect"), "{:?}", plan.issuers);
    let of = |plan: &tidegate_certs::Plan, name: &str| {
        plan.names.iter().find(|planned| planned.name == name).unwrap().clone()
    };
    let why = |plan: &tidegate_certs::Plan, name: &str| -> Vec<String> {
        let planned = of(plan, name);
        let failed = planned.checks.iter().filter(|check| !check.passed);
        failed.map(|check| format!("{}: {}", check.check, check.found)).collect()
    };
    for name in ["shop.example.com", "*.example.com"] {
        let planned = of(&plan, name);
        assert!(planned.obtainable && why(&plan, name).is_empty(), "{planned:?}");
        assert_eq!(planned.issuer.as_deref(), Some("pebble"));
        assert_eq!(planned.reason, Some(tidegate_certs::Reason::Missing));
    }
    let record = of(&plan, "*.example.com").checks.pop().unwrap();
    assert!(record.found.contains("at `_acme-challenge.example.com`"), "{record:?}");
    let closed = why(&plan, "closed.example.com");
    assert!(closed.len() == 1 && closed[0].contains("lets no authority issue"), "{closed:?}");
    assert!(!of(&plan, "closed.example.com").obtainable);
    let empty = why(&plan, "empty.example.com");
    assert!(empty[0].contains("has no A or AAAA record"), "{empty:?}");

    // Other doors than those that lead here, and another key.
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = other.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = other.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 404 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    node.apply(&config("d3Jvbmc=", (door, 1)), Some(&edge));
    let asked = ["shop.example.com".to_owned(), "*.example.com".to_owned()];
    let plan = node.certs.plan(&asked).await;
    assert_eq!(plan.names.len(), 2, "{plan:?}");
    let shop = why(&plan, "shop.example.com").join("\n");
    assert!(shop.contains("something else answers on port") && shop.contains("(404"), "{shop}");
    assert!(shop.contains("is port 1 open"), "{shop}");
    let wild = why(&plan, "*.example.com").join("\n");
    assert!(wild.contains("compare `key`"), "{wild}");
    assert!(plan.names.iter().all(|planned| !planned.obtainable));

    assert_eq!((pebble.issued(), bind.texts(RECORD).len()), (0, 0));
    assert!(node.store.range("acme/challenges/").await.unwrap().0.is_empty());
    node.stop().await;
}
