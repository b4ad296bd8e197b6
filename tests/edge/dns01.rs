//! Wildcards from a real ACME server, proved by records in the zone of a real name server.

use crate::support::{
    Bind, Ca, Client, Dir, Edge, Origin,
    bind::KEY,
    eventually, listener,
    pebble::{Pebble, Settings},
    port::Port,
    route, service,
    tls::client_trusting,
};
use aws_lc_rs::hmac;
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use std::{net::SocketAddr, os::unix::fs::PermissionsExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

const RECORD: &str = "_acme-challenge.example.com";

/// A zone, an authority that looks into it, and where the edge listens.
struct Site {
    dir: Dir,
    bind: Bind,
    pebble: Pebble,
    http: Port,
    https: Port,
    origin: Origin,
}

impl Site {
    async fn new() -> Self {
        let (http, https) = (Port::reserve(), Port::reserve());
        let bind = Bind::start("hmac-sha256", "");
        let settings = Settings::new(http.address(), https.address());
        let pebble = Pebble::start_with_dns(settings, Some(bind.address));
        let origin = Origin::start("v1").await.forgetful();
        Self { dir: Dir::new(), bind, pebble, http, https, origin }
    }

    /// Serves `host`; `method` is how the provider changes the zone.
    fn config(&self, host: &str, challenges: &[&str], method: &str) -> String {
        let at =
            |text: String, port: &Port| text.replace("127.0.0.1:0", &port.address().to_string());
        let server = self.bind.address;
        self.pebble.table(challenges)
            + &format!(
                "[acme.dns.zone]\n{method}\n\
                 propagation = {{ servers = [\"{server}\"], interval = \"100ms\" }}\n\
                 [dns]\nservers = [\"{server}\"]\n"
            )
            + &at(listener("http"), &self.http)
            + &at(listener("https"), &self.https)
            + "tls = {}\n"
            + &service("app", &[("app", 1, self.origin.address)])
            + &route("app")
            + &format!("host = \"{host}\"\n")
    }

    /// A program in this site's folder.
    fn program(&self, script: &str) -> String {
        let file = self.dir.write("dns-hook", &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file.display().to_string()
    }

    async fn edge(&self, config: &str) -> Edge {
        Edge::start_in(self.dir.clone(), config).await
    }

    /// What a client that trusts only pebble is answered for `host`, once there is a certificate.
    async fn serves(&self, host: &str) {
        let root = self.pebble.root().await;
        let mut client = eventually("a certificate of pebble's root", || async {
            let mut client = self.client(&root, host);
            client.connect().await.ok().map(|()| client)
        })
        .await;
        let reply = client.get("/").await;
        assert_eq!((reply.status.as_u16(), reply.version()), (200, "v1"), "{host}");
    }

    fn client(&self, root: &CertificateDer<'static>, host: &str) -> Client {
        let config = client_trusting([root.clone()], &["h2"]);
        Client::http2(self.https.address()).tls(config).host(host)
    }

    /// The record is there for the authority only.
    async fn is_clean(&self) {
        eventually("a zone without records of ours", || async {
            self.bind.texts(RECORD).is_empty().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_wildcard_by_signed_updates() {
    let site = Site::new().await;
    let (server, (key, secret)) = (site.bind.address, KEY);
    let file = site.dir.write_secret("tsig", secret);
    let method = format!(
        "rfc2136 = {{ server = \"{server}\", key = \"{key}\", secret = {{ file = \"{}\" }} }}",
        file.display()
    );
    let config = site.config("*.example.com", &["http-01"], &method);
    let edge = site.edge(&config).await;
    for host in ["shop.example.com", "blog.example.com"] {
        site.serves(host).await;
    }
    let root = site.pebble.root().await;
    assert!(site.client(&root, "a.b.example.com").connect().await.is_err(), "one label only");
    assert_eq!(site.pebble.issued(), 1);
    site.is_clean().await;

    let shown = edge.cli(&["certs"]).await;
    let covers = "covers one label before `example.com`";
    assert!(shown.stdout.contains("*.example.com") && shown.stdout.contains(covers), "{shown:?}");
    let status = edge.api().json("/v1/status").await.to_string();
    assert!(status.contains("the route matches `a.b.example.com` too"), "{status}");
    assert!(!status.contains(secret), "{status}");
}

#[tokio::test]
async fn a_wildcard_by_a_program() {
    let site = Site::new().await;
    let (port, (key, secret)) = (site.bind.address.port(), KEY);
    let program = site.program(&format!(
        "set -e\ncase $TIDEGATE_ACTION in\n\
         present) change=\"add $TIDEGATE_FQDN $TIDEGATE_TTL TXT \\\"$TIDEGATE_VALUE\\\"\" ;;\n\
         withdraw) change=\"delete $TIDEGATE_FQDN TXT \\\"$TIDEGATE_VALUE\\\"\" ;;\nesac\n\
         printf 'server 127.0.0.1 {port}\\nupdate %s\\nsend\\n' \"$change\" |\n\
         nsupdate -y \"hmac-sha256:{key}:$SECRET\""
    ));
    let method =
        format!("exec = {{ command = \"{program}\", environment = {{ SECRET = \"{secret}\" }} }}");
    let edge = site.edge(&site.config("*.example.com", &["http-01"], &method)).await;
    site.serves("shop.example.com").await;
    site.is_clean().await;
    assert!(!edge.logs().stderr().contains(secret));
}

#[tokio::test]
async fn a_wildcard_by_a_webhook() {
    let site = Site::new().await;
    let ca = Ca::new();
    let hook = Hook::start(&ca).await;
    let method = format!(
        "webhook = {{ url = \"https://{}/acme?token=hidden-token\", secret = \"shared-secret\", \
         ca = \"{}\" }}",
        hook.address,
        ca.root_file(&site.dir).display()
    );
    let edge = site.edge(&site.config("*.example.com", &["http-01"], &method)).await;
    hook.answers(&site.bind, "present").await;
    hook.answers(&site.bind, "withdraw").await;
    site.serves("shop.example.com").await;
    assert!(site.bind.texts(RECORD).is_empty());
    let log = edge.logs().stderr();
    assert!(!log.contains("hidden-token") && !log.contains("shared-secret"), "{log}");
}

#[tokio::test]
async fn another_challenge_is_tried_when_the_provider_hangs() {
    let site = Site::new().await;
    let program = site.program("exec sleep 1000");
    let method = format!("exec = {{ command = \"{program}\", timeout = \"1s\" }}");
    let config = site.config("shop.example.com", &["dns-01", "http-01"], &method);
    let _edge = site.edge(&config).await;
    site.serves("shop.example.com").await;
}

#[tokio::test]
async fn a_provider_that_fails_and_tells_secrets_is_not_repeated() {
    let site = Site::new().await;
    let program = site.program("echo \"the token is $TOKEN\" >&2; echo $TOKEN; exit 3");
    let method =
        format!("exec = {{ command = \"{program}\", environment = {{ TOKEN = \"topsecret\" }} }}");
    let config = site.config("*.example.com", &["http-01"], &method);
    let edge = site.edge(&(config + "[log]\nlevel = \"debug\"\n")).await;
    let told = eventually("the reason why there is no certificate", || async {
        let all = edge.api().json("/v1/certificates").await;
        all["certificates"][0]["last_error"].as_str().map(str::to_owned)
    })
    .await;
    assert!(told.contains("dns-01: DNS provider `zone`"), "{told}");
    assert!(told.contains("ended with exit status: 3"), "{told}");
    let log = edge.logs().await_log(&["the token is ***"]).await;
    assert!(!log.contains("topsecret"), "{log}");
    let everything = edge.logs().stderr() + &edge.api().json("/v1/certificates").await.to_string();
    assert!(!everything.contains("topsecret"), "{everything}");
}

#[tokio::test]
async fn the_record_of_a_killed_process_is_removed_by_the_next() {
    let site = Site::new().await;
    let (server, (key, secret)) = (site.bind.address, KEY);
    let method =
        format!("rfc2136 = {{ server = \"{server}\", key = \"{key}\", secret = \"{secret}\" }}");
    let config = site.config("*.example.com", &["http-01"], &method);
    // Looked for where nobody answers: it is killed in between.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = nobody.local_addr().unwrap();
    let waiting = format!("propagation = {{ servers = [\"{silent}\"]");
    let waits = config.replace(&format!("propagation = {{ servers = [\"{server}\"]"), &waiting);
    let mut edge = site.edge(&waits).await;
    eventually("a published record", || async {
        (!site.bind.texts(RECORD).is_empty()).then_some(())
    })
    .await;
    edge.kill().await;
    assert_eq!(site.bind.texts(RECORD).len(), 1);
    // Nobody wants the name any more.
    edge.write_config(&config.replace("*.example.com", "app.localhost"));
    let _edge = edge.restart().await;
    site.is_clean().await;
}

/// A service behind an https URL.
struct Hook {
    address: SocketAddr,
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Hook {
    async fn start(ca: &Ca) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = TlsAcceptor::from(ca.issue(&["127.0.0.1"]).server(&["http/1.1"]));
        Self { address: listener.local_addr().unwrap(), listener, tls }
    }

    /// Does what it is asked next, which has to be `action`.
    async fn answers(&self, bind: &Bind, action: &str) {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut stream = self.tls.accept(stream).await.unwrap();
        let (head, body) = read_request(&mut stream).await;
        assert!(head.starts_with("POST /acme?token=hidden-token HTTP/1.1\r\n"), "{head}");
        assert_signed(&head, &body);
        let asked: Value = serde_json::from_str(&body).unwrap();
        let field = |name: &str| asked[name].as_str().unwrap().to_owned();
        assert_eq!((field("action"), field("name")), (action.to_owned(), "*.example.com".into()));
        assert_eq!(asked["ttl"], 60);
        let (fqdn, value) = (field("fqdn"), field("value"));
        match action {
            "present" => bind.change(&format!("update add {fqdn} 60 TXT \"{value}\"")),
            _ => bind.change(&format!("update delete {fqdn} TXT \"{value}\"")),
        }
        stream.write_all(b"HTTP/1.1 204 x\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
    }
}

async fn read_request(stream: &mut TlsStream<TcpStream>) -> (String, String) {
    let mut text = String::new();
    loop {
        let mut part = [0; 1024];
        let length = stream.read(&mut part).await.unwrap();
        text += std::str::from_utf8(&part[..length]).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").parse::<usize>().unwrap();
            if body.len() == length {
                return (head.to_owned(), body.to_owned());
            }
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(key, _)| *key == name).unwrap().1
}

fn assert_signed(head: &str, body: &str) {
    let signature = header(head, "tidegate-signature").strip_prefix("t=").unwrap();
    let (time, tag) = signature.split_once(",v1=").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"shared-secret");
    let wanted = hmac::sign(&key, format!("{time}.{body}").as_bytes());
    let wanted: String = wanted.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(tag, wanted);
}
