//! Clients that prove who they are by a certificate, and upstreams that want to see ours.

use super::reasons;
use crate::support::{
    Ca, Client, Dir, Edge, Origin, RawClient,
    client::with_headers,
    edge::{Output, output_of},
    eventually, listener,
    openssl::s_client,
    route, service,
    tls::Leaf,
    upstream,
};
use rcgen::SanType;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{net::SocketAddr, time::Duration};
use tokio::process::Command;

const HOUR: Duration = Duration::from_secs(3600);
const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";

/// Two authorities and an edge that asks for certificates of one.
struct Story {
    servers: Ca,
    clients: Ca,
    origin: Origin,
    edge: Edge,
    address: SocketAddr,
}

impl Story {
    /// `auth` is what `[client_auth.staff]` says beside its `ca`; files in `dir` may be named.
    async fn start(clients: Ca, dir: Dir, auth: &str) -> Self {
        let servers = Ca::new();
        let origin = Origin::start("v1").await;
        let config = config(&servers, &clients, &dir, origin.address, auth);
        let edge = Edge::start_in(dir, &config).await;
        let address = edge.address("https").await;
        Self { servers, clients, origin, edge, address }
    }

    fn staff(&self, name: &str) -> Leaf {
        self.clients.issue_client(name, vec![], HOUR)
    }

    fn client(&self, leaf: &Leaf, speaks: &str) -> Client {
        let client = match speaks {
            "h2" => Client::http2(self.address),
            _ => Client::http1(self.address),
        };
        client.tls(leaf.client(&self.servers, &[speaks]))
    }

    /// Whether a client with this certificate is let in.
    async fn lets_in(&self, leaf: &Leaf) -> bool {
        let mut client = self.client(leaf, "http/1.1");
        client.try_send(with_headers("GET", "/", &[], "")).await.is_ok()
    }

    async fn openssl(&self, leaf: Option<&Leaf>, arguments: &[&str]) -> Output {
        let mut all = arguments.to_vec();
        let (cert, key);
        if let Some(leaf) = leaf {
            let files = leaf.write(&self.edge.dir, "shown");
            (cert, key) = (files.0.display().to_string(), files.1.display().to_string());
            all.extend(["-cert", &cert, "-key", &key]);
        }
        s_client(self.address, "app.test", &all, GET).await
    }
}

fn config(servers: &Ca, clients: &Ca, dir: &Dir, origin: SocketAddr, auth: &str) -> String {
    let files = servers.issue(&["app.test", "admin.app.test", "open.test"]).table(dir, "edge");
    let ca = dir.write("staff.pem", clients.root_pem());
    format!("[client_auth.staff]\nca = \"{}\"\n{auth}\n", ca.display())
        + &listener("https")
        + &format!("tls = {{ certificates = [{files}], client_auth = \"staff\" }}\n")
        + &service("app", &[("app", 100, origin)])
        + &route("app")
}

#[tokio::test]
async fn openssl_and_curl_are_let_in_with_a_certificate_and_refused_without() {
    let story = Story::start(Ca::new(), Dir::new(), "").await;
    let (ours, strangers) = (story.staff("alice"), Ca::new().issue_client("eve", vec![], HOUR));
    for version in ["-tls1_2", "-tls1_3"] {
        let said = story.openssl(Some(&ours), &[version]).await;
        assert!(said.stdout.contains("200 OK"), "{version}: {} {}", said.stdout, said.stderr);
        assert!(said.stdout.contains("CN = Test Root"), "the authority is hinted at");
        // The stranger's authority has the name of ours, and another key.
        for (who, alert) in
            [(None, "certificate required"), (Some(&strangers), "alert decrypt error")]
        {
            let said = story.openssl(who, &[version]).await;
            assert!(!said.stdout.contains("HTTP/1.1"), "{version}: {}", said.stdout);
            // TLS 1.2 has no word of its own for "none".
            let told = said.stderr.contains(alert) || version == "-tls1_2" && who.is_none();
            assert!(told, "{version} {alert}: {}", said.stderr);
        }
    }
    let dir = &story.edge.dir;
    let root = story.servers.root_file(dir).display().to_string();
    let (cert, key) = ours.write(dir, "curl");
    let port = story.address.port();
    for (shows, speaks) in [(true, "--http1.1"), (true, "--http2"), (false, "--http2")] {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--cacert", &root, speaks]);
        command.args(["--resolve", &format!("app.test:{port}:127.0.0.1")]);
        if shows {
            command.arg("--cert").arg(&cert).arg("--key").arg(&key);
        }
        command.arg(format!("https://app.test:{port}/"));
        let said = output_of(command).await;
        assert_eq!(said.code == 0, shows, "{speaks}: {} {}", said.stdout, said.stderr);
    }
}

#[tokio::test]
async fn what_is_expired_revoked_or_another_authoritys_is_refused() {
    let (clients, dir) = (Ca::new(), Dir::new());
    let revoked = clients.issue_client("revoked", vec![], HOUR);
    let crl = dir.write("staff.crl", &clients.crl(&[&revoked], 24 * HOUR));
    let story = Story::start(clients, dir, &format!("crls = [\"{}\"]", crl.display())).await;
    assert!(story.lets_in(&story.staff("alice")).await);
    assert!(!story.lets_in(&revoked).await);
    assert!(!story.lets_in(&Ca::new().issue_client("eve", vec![], HOUR)).await);
    let expired = story.clients.issue_client("late", vec![], Duration::ZERO);
    eventually("the certificate's end", || async {
        (!story.lets_in(&expired).await).then_some(())
    })
    .await;
    // A server's certificate is none of a client.
    assert!(!story.lets_in(&story.clients.issue(&["app.test"])).await);
}

#[tokio::test]
async fn a_revocation_list_that_is_too_old_refuses_everyone() {
    let (clients, dir) = (Ca::new(), Dir::new());
    let crl = dir.write("staff.crl", &clients.crl(&[], HOUR / 2));
    let story = Story::start(clients, dir, &format!("crls = [\"{}\"]", crl.display())).await;
    story.edge.logs().await_log(&["staff.crl", "too old"]).await;
    let alice = story.staff("alice");
    assert!(!story.lets_in(&alice).await);
    // A newer one is taken as soon as it is there.
    story.edge.dir.write("staff.crl", &story.clients.crl(&[], 24 * HOUR));
    eventually("the newer list", || async { story.lets_in(&alice).await.then_some(()) }).await;
    let name = "tidegate_revocation_list_expiry_seconds";
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    eventually("its end in the metrics", || async {
        let shown = story.edge.api().metric_sum(name, &["client_auth=\"staff\""]).await;
        (shown > now.as_secs_f64()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn rules_choose_among_those_that_an_authority_signed() {
    let dns = |name: &str| SanType::DnsName(name.to_owned().try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.to_owned().try_into().unwrap());
    let clients = Ca::new();
    let known = clients.issue_client("known", vec![], HOUR);
    let dir = Dir::new();
    let (cert, _) = known.write(&dir, "known");
    let mut print = Command::new("openssl");
    print.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(cert);
    let printed = output_of(print).await;
    let fingerprint = printed.stdout.trim().split('=').next_back().unwrap_or_default();
    let auth = format!(
        "allow = [{{ dns = \"*.corp.example\", uri = \"spiffe://corp/prod/*\" }}, \
         {{ common_name = \"ops *\" }}, {{ fingerprint = \"{fingerprint}\" }}]"
    );
    let story = Story::start(clients, dir, &auth).await;
    let prod = || uri("spiffe://corp/prod/web");
    for (name, sans, expected) in [
        ("x", vec![dns("API.corp.example"), prod()], true),
        ("x", vec![dns("api.corp.example")], false),
        ("x", vec![dns("api.corp.example"), uri("spiffe://corp/test/web")], false),
        ("x", vec![dns("api.corp.example.evil.test"), prod()], false),
        ("ops alice", vec![], true),
        ("devops alice", vec![], false),
    ] {
        let leaf = story.clients.issue_client(name, sans, HOUR);
        assert_eq!(story.lets_in(&leaf).await, expected, "{name}");
    }
    assert!(story.lets_in(&known).await);
}

#[tokio::test]
async fn upstreams_are_told_who_it_is_and_nobody_can_forge_it() {
    let auth = "mode = \"optional\"\n\
                forward = [\"certificate\", \"subject\", \"san\", \"fingerprint\", \"chain\"]";
    let story = Story::start(Ca::new(), Dir::new(), auth).await;
    let sans = vec![SanType::URI("spiffe://corp/alice".to_owned().try_into().unwrap())];
    let alice = story.clients.issue_client("alice, \"O\"=evil", sans, HOUR);
    let forged = [
        ("client-cert", ":Zm9yZ2Vk:"),
        ("client-cert-chain", ":Zm9yZ2Vk:"),
        ("x-client-cert-subject", "CN=forged"),
        ("x-client-cert-fingerprint", "forged"),
        ("x-ssl-client-verify", "forged"),
        ("connection", "client-cert, x-client-cert-subject"),
    ];
    for (path, speaks) in [("/h1", "http/1.1"), ("/h2", "h2")] {
        // HTTP/2 has no Connection.
        let forged = &forged[..forged.len() - usize::from(speaks == "h2")];
        let mut client = story.client(&alice, speaks);
        client.send(with_headers("GET", path, forged, "")).await;
        let seen = story.origin.only(path);
        let told = seen.header("client-cert").expect("RFC 9440");
        use base64::Engine;
        let der = base64::prelude::BASE64_STANDARD.decode(told.trim_matches(':')).unwrap();
        assert_eq!(der, alice.certificate.to_vec(), "{path}");
        let subject = seen.header("x-client-cert-subject");
        assert_eq!(subject.as_deref(), Some("CN=alice\\, \\\"O\\\"=evil"));
        assert_eq!(seen.header("x-client-cert-san").as_deref(), Some("URI:spiffe://corp/alice"));
        assert_eq!(seen.header("x-client-cert-fingerprint").unwrap().len(), 64);
        assert_eq!(seen.header("client-cert-chain"), None, "it sent none");
    }
    // Optional: a stranger is served, as one.
    let mut stranger = Client::http1(story.address).tls(story.servers.client(&["http/1.1"]));
    let reply = stranger.send(with_headers("GET", "/stranger", &forged, "")).await;
    assert_eq!(reply.status, 200);
    let eve = Ca::new().issue_client("eve", vec![], HOUR);
    assert!(!story.lets_in(&eve).await, "a certificate that is shown has to be good");
    let wire = story.origin.wire_text();
    assert!(!wire.contains("forged") && !wire.contains("Zm9yZ2Vk"), "{wire}");
    assert_eq!(story.origin.only("/stranger").header("client-cert"), None);
}

#[tokio::test]
async fn a_revocation_ends_open_connections_and_sessions() {
    let (clients, dir) = (Ca::new(), Dir::new());
    let crl = dir.write("staff.crl", &clients.crl(&[], 24 * HOUR));
    let story = Story::start(clients, dir, &format!("crls = [\"{}\"]", crl.display())).await;
    let (alice, bob) = (story.staff("alice"), story.staff("bob"));
    let session = story.edge.dir.path("session.pem").display().to_string();
    story.openssl(Some(&alice), &["-tls1_3", "-sess_out", &session]).await;
    let resumed = story.openssl(Some(&alice), &["-sess_in", &session]).await;
    assert!(resumed.stdout.contains("\nReused, TLSv1.3"), "{}", resumed.stdout);
    assert!(resumed.stdout.contains("200 OK"), "{}", resumed.stdout);

    let mut open = [story.client(&alice, "http/1.1"), story.client(&alice, "h2")];
    let mut other = story.client(&bob, "http/1.1");
    for client in open.iter_mut().chain([&mut other]) {
        assert_eq!(client.get("/").await.status, 200);
    }
    story.edge.dir.write("staff.crl", &story.clients.crl(&[&alice], 24 * HOUR));
    eventually("the revocation", || async { (!story.lets_in(&alice).await).then_some(()) }).await;
    for client in &mut open {
        client.get("/").await.assert_refused(403, reasons::CLIENT_CERTIFICATE);
        assert_eq!(client.opened, 1, "it is the connection that was open before");
    }
    let resumed = story.openssl(Some(&alice), &["-sess_in", &session]).await;
    assert!(!resumed.stdout.contains("HTTP/1.1"), "{}", resumed.stdout);
    assert_eq!(other.get("/").await.status, 200);
    assert_eq!(other.opened, 1, "nobody else notices");
}

#[tokio::test]
async fn a_resumed_session_is_good_only_as_long_as_the_certificate() {
    let story = Story::start(Ca::new(), Dir::new(), "").await;
    let brief = story.clients.issue_client("brief", vec![], Duration::from_secs(5));
    let session = story.edge.dir.path("session.pem").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let first = story.openssl(Some(&brief), &[version, "-sess_out", &session]).await;
        assert!(first.stdout.contains("200 OK"), "{} {}", first.stdout, first.stderr);
    }
    let mut open = story.client(&brief, "http/1.1");
    assert_eq!(open.get("/").await.status, 200);
    // rustls itself takes the ticket and verifies nothing.
    eventually("the certificate's end", || async {
        let resumed = story.openssl(Some(&brief), &["-sess_in", &session]).await;
        assert!(resumed.stdout.contains("\nReused, TLSv1.3"), "{}", resumed.stdout);
        let refused = resumed.stdout.contains("HTTP/1.1 403")
            && resumed.stdout.contains(reasons::CLIENT_CERTIFICATE);
        refused.then_some(())
    })
    .await;
    open.get("/").await.assert_refused(403, reasons::CLIENT_CERTIFICATE);
}

#[tokio::test]
async fn hosts_under_other_terms_need_another_connection() {
    let (servers, clients, dir) = (Ca::new(), Ca::new(), Dir::new());
    let origin = Origin::start("v1").await;
    let hosts = "hosts = [{ names = [\"open.test\"], policy = \"modern\" }, \
                 { names = [\"*.app.test\"], client_auth = \"staff\" }] }\n";
    let config = config(&servers, &clients, &dir, origin.address, "")
        .replace("client_auth = \"staff\" }\n", hosts);
    let edge = Edge::start_in(dir, &config).await;
    let https = edge.address("https").await;
    let alice = clients.issue_client("alice", vec![], HOUR);
    for speaks in ["http/1.1", "h2"] {
        let connect = |name: &str| {
            let client = if speaks == "h2" { Client::http2(https) } else { Client::http1(https) };
            client.tls(alice.client(&servers, &[speaks])).host(name)
        };
        // One certificate covers all three.
        for (name, host, expected) in [
            ("app.test", "app.test", 200),
            ("app.test", "admin.app.test", 421),
            ("app.test", "ADMIN.app.test:443", 421),
            ("app.test", "open.test", 421),
            ("admin.app.test", "admin.app.test", 200),
            ("admin.app.test", "app.test", 421),
            ("open.test", "admin.app.test", 421),
            ("open.test", "open.test", 200),
        ] {
            let reply = connect(name).send(with_headers("GET", "/", &[("host", host)], "")).await;
            assert_eq!(reply.status, expected, "{speaks}: {name}, {host}");
        }
    }
    let said = s_client(https, "admin.app.test", &["-tls1_3"], GET).await;
    assert!(said.stderr.contains("certificate required"), "{}", said.stderr);
    let said = s_client(https, "open.test", &["-tls1_2"], GET).await;
    assert_ne!(said.code, 0, "the host's policy is modern: {}", said.stdout);
}

#[tokio::test]
async fn a_reload_that_asks_for_certificates_counts_for_open_connections() {
    let story = Story::start(Ca::new(), Dir::new(), "mode = \"optional\"").await;
    let mut stranger = Client::http1(story.address).tls(story.servers.client(&["http/1.1"]));
    assert_eq!(stranger.get("/").await.status, 200);
    let text = std::fs::read_to_string(story.edge.dir.path("edge.toml")).unwrap();
    story.edge.reload(&text.replace("optional", "require")).await;
    stranger.get("/").await.assert_refused(421, reasons::MISDIRECTED);
    assert_eq!(stranger.opened, 1);
    // A file that is no list changes nothing.
    let junk = story.edge.dir.write("junk.crl", "junk");
    let broken = text.replace("mode = \"optional\"", &format!("crls = [\"{}\"]", junk.display()));
    story.edge.write_config(&broken);
    let refused = story.edge.api().reload().await;
    assert!(refused.text().contains("junk.crl"), "{}", refused.text());
    assert!(story.lets_in(&story.staff("alice")).await);
}

#[tokio::test]
async fn what_a_listener_demands_holds_for_connections_to_the_one_before_it() {
    let story = Story::start(Ca::new(), Dir::new(), "mode = \"optional\"").await;
    let mut stranger = Client::http1(story.address).tls(story.servers.client(&["http/1.1"]));
    assert_eq!(stranger.get("/").await.status, 200);
    let text = std::fs::read_to_string(story.edge.dir.path("edge.toml")).unwrap();
    let heir = format!("[listeners.other]\naddress = \"{}\"", story.address);
    let renamed = text.replace(listener("https").trim(), &heir).replace("optional", "require");
    assert!(renamed.contains("listeners.other") && !renamed.contains("listeners.https"));
    story.edge.reload(&renamed).await;
    stranger.get("/").await.assert_refused(421, reasons::MISDIRECTED);
    assert_eq!(stranger.opened, 1);
}

#[tokio::test]
async fn an_upstream_is_shown_the_certificate_it_asks_for() {
    let (ca, ours, dir) = (Ca::new(), Ca::new(), Dir::new());
    let tls = ca.issue(&["up.test"]).server_for(&ours, &["http/1.1"]);
    let origin = Origin::start_tls("v1", tls).await;
    let (cert, key) = ours.issue_client("edge", vec![], HOUR).write(&dir, "client");
    let (other, other_key) = Ca::new().issue_client("edge", vec![], HOUR).write(&dir, "other");
    let root = ca.root_file(&dir);
    let with = |pair: &str| {
        listener("http")
            + &upstream("app", &[origin.address])
            + &format!("tls = {{ server_name = \"up.test\", ca = \"{}\"{pair} }}\n", root.display())
            + "[services.app.versions.v]\nupstream = \"app\"\nweight = 1\n"
            + &route("app")
    };
    let pair = |cert: &std::path::Path, key: &std::path::Path| {
        format!(", certificate = \"{}\", key = \"{}\"", cert.display(), key.display())
    };
    let edge = Edge::start_in(dir, &with("")).await;
    let get = async || crate::support::get(edge.address("http").await, "/").await.status;
    assert_eq!(get().await, 502, "none");
    edge.reload(&with(&pair(&other, &other_key))).await;
    assert_eq!(get().await, 502, "another authority's");
    edge.reload(&with(&pair(&cert, &key))).await;
    assert_eq!(get().await, 200);
    edge.write_config(&with(&pair(&cert, &other_key)));
    let refused = edge.api().reload().await;
    assert!(refused.text().contains("client.crt"), "{}", refused.text());
    assert_eq!(get().await, 200, "what was in force still is");
}

#[tokio::test]
async fn an_upstream_is_shown_a_certificate_of_the_internal_authority() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let root = ca.root_file(&dir);
    let plain = listener("http") + "[routes.a]\nrespond = { status = 200 }\n";
    let edge = Edge::start_in(dir, &plain).await;
    let ours = edge.api().get("/v1/certificates/root").await.text();
    let ours = CertificateDer::from_pem_slice(ours.as_bytes()).unwrap();
    let tls = ca.issue(&["up.test"]).server_trusting(&ours, &["http/1.1"]);
    let origin = Origin::start_tls("v1", tls).await;
    let with = |identity: &str| {
        listener("http")
            + &upstream("app", &[origin.address])
            + &format!("tls = {{ server_name = \"up.test\", ca = {root:?}{identity} }}\n")
            + "[services.app.versions.v]\nupstream = \"app\"\nweight = 1\n"
            + &route("app")
    };
    let get = async || crate::support::get(edge.address("http").await, "/").await.status;
    edge.reload(&with("")).await;
    assert_eq!(get().await, 502, "none");
    edge.reload(&with(", identity = \"internal\"")).await;
    assert_eq!(get().await, 200);
}

#[tokio::test]
async fn plain_text_listeners_believe_nobody_either() {
    let story = Story::start(Ca::new(), Dir::new(), "").await;
    let text = std::fs::read_to_string(story.edge.dir.path("edge.toml")).unwrap();
    story.edge.reload(&(listener("http") + &text)).await;
    let mut client = RawClient::connect(story.edge.address("http").await).await;
    client.send("GET /p HTTP/1.1\r\nHost: app.test\r\nClient-Cert: :Zm9yZ2Vk:\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(story.origin.only("/p").header("client-cert"), None);
}
