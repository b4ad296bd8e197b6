//! Which certificate a client is shown, and how it is exchanged under it.

use super::reasons;
use crate::support::{
    Ca, Client, Dir, Edge, Load, Origin,
    client::{Failure, request, with_headers},
    edge::{output_of, run_cli},
    eventually, listener,
    load::Plan,
    route, service,
    tls::client_trusting,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{net::SocketAddr, os::unix::fs::PermissionsExt};

fn https(tls: &str, endpoint: SocketAddr) -> String {
    listener("https") + tls + "\n" + &service("app", &[("app", 100, endpoint)]) + &route("app")
}

#[tokio::test]
async fn sni_chooses_exact_before_wildcard_before_default() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let origin = Origin::start("v1").await;
    let exact = ca.issue(&["shop.example.com"]);
    let wild = ca.issue(&["*.example.com"]);
    let tls = format!(
        "tls = {{ certificates = [{}, {}], default = \"shop.example.com\" }}",
        exact.table(&dir, "exact"),
        wild.table(&dir, "wild")
    );
    let edge = Edge::start_in(dir, &https(&tls, origin.address)).await;
    let address = edge.address("https").await;
    for (name, leaf) in
        [("shop.example.com", &exact), ("SHOP.example.com", &exact), ("blog.example.com", &wild)]
    {
        let mut client = Client::http2(address).tls(ca.client(&["h2"])).host(name);
        assert_eq!(client.get("/").await.status, 200, "{name}");
        assert_eq!(client.certificate.as_ref(), Some(&leaf.certificate), "{name}");
    }
    // Two labels below: the wildcard does not cover it, the default is shown, the client refuses.
    let mut client = Client::http2(address).tls(ca.client(&["h2"])).host("a.b.example.com");
    let refused = client.connect().await.unwrap_err();
    assert!(
        matches!(&refused, Failure::Connect(why) if why.contains("not valid for name")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn keys_are_exchanged_by_the_post_quantum_hybrid() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let origin = Origin::start("v1").await;
    let leaf = ca.issue(&["app.test"]);
    let tls = format!("tls = {{ certificates = [{}] }}", leaf.table(&dir, "edge"));
    let edge = Edge::start_in(dir, &https(&tls, origin.address)).await;
    let tcp = tokio::net::TcpStream::connect(edge.address("https").await).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(ca.client(&["h2"]));
    let stream = connector.connect("app.test".try_into().unwrap(), tcp).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn without_a_default_unknown_names_are_refused_by_tls() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let origin = Origin::start("v1").await;
    let leaf = ca.issue(&["app.test"]);
    let tls = format!("tls = {{ certificates = [{}] }}", leaf.table(&dir, "edge"));
    let edge = Edge::start_in(dir, &https(&tls, origin.address)).await;
    let address = edge.address("https").await;
    let mut stranger = Client::http2(address).tls(ca.client(&["h2"])).host("stranger.example.com");
    let refused = stranger.connect().await.unwrap_err();
    assert!(
        matches!(&refused, Failure::Connect(why) if why.contains("UnrecognisedName")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_host_the_certificate_does_not_cover_is_misdirected() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let origin = Origin::start("v1").await;
    let (one, two) = (ca.issue(&["one.test", "also-one.test"]), ca.issue(&["two.test"]));
    let tls = format!(
        "tls = {{ certificates = [{}, {}] }}",
        one.table(&dir, "one"),
        two.table(&dir, "two")
    );
    let edge = Edge::start_in(dir, &https(&tls, origin.address)).await;
    let address = edge.address("https").await;
    for speaks in ["http/1.1", "h2"] {
        let client = if speaks == "h2" { Client::http2(address) } else { Client::http1(address) };
        let mut client = client.tls(ca.client(&[speaks])).host("one.test");
        for (host, expected) in [("one.test", 200), ("also-one.test", 200), ("two.test", 421)] {
            let reply = client.send(with_headers("GET", "/", &[("host", host)], "")).await;
            assert_eq!(reply.status, expected, "{speaks} {host}");
            if expected == 421 {
                assert_eq!(reply.reason(), Some(reasons::MISDIRECTED));
            }
        }
    }
}

#[tokio::test]
async fn certificate_files_are_read_again_when_they_change() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let origin = Origin::start("v1").await.forgetful();
    let first = ca.issue(&["app.test"]);
    let tls = format!("tls = {{ certificates = [{}] }}", first.table(&dir, "edge"));
    let edge = Edge::start_in(dir, &https(&tls, origin.address)).await;
    let address = edge.address("https").await;
    let load = Load::start(Plan::plain(address, 4).tls(&ca)).await;

    for _ in 0..3 {
        let next = ca.issue(&["app.test"]);
        next.write(&edge.dir, "edge");
        eventually("the new certificate", || async {
            let mut client = Client::http2(address).tls(ca.client(&["h2"]));
            client.connect().await.ok()?;
            (client.certificate.as_ref() == Some(&next.certificate)).then_some(())
        })
        .await;
        load.await_answers(50).await;
    }
    let report = load.stop().await;
    report.assert_nothing_failed();
    report.assert_no_connection_closed();
}

#[tokio::test]
async fn half_a_pair_is_not_served() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let origin = Origin::start("v1").await;
    let first = ca.issue(&["app.test"]);
    let tls = format!("tls = {{ certificates = [{}] }}", first.table(&dir, "edge"));
    let edge = Edge::start_in(dir, &https(&tls, origin.address)).await;
    let address = edge.address("https").await;
    // A new certificate beside the old key: what every non-atomic deployment does for a moment.
    let next = ca.issue(&["app.test"]);
    let other = Dir::new();
    let (cert, key) = next.write(&other, "edge");
    std::fs::copy(cert, edge.dir.path("edge.crt")).unwrap();
    edge.logs().await_log(&["edge.crt", "key"]).await;
    let mut client = Client::http2(address).tls(ca.client(&["h2"]));
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.certificate.as_ref(), Some(&first.certificate), "the old pair still serves");
    edge.dir.write_secret("edge.key", &std::fs::read_to_string(key).unwrap());
    eventually("the new pair", || async {
        let mut client = Client::http2(address).tls(ca.client(&["h2"]));
        client.connect().await.ok()?;
        (client.certificate.as_ref() == Some(&next.certificate)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_internal_ca_serves_local_names_and_keeps_its_root() {
    let origin = Origin::start("v1").await;
    // A client that names an address sends no SNI: it gets the default's certificate.
    let tls = "tls = { names = [\"localhost\"], default = \"127.0.0.1\" }";
    let mut edge = Edge::start(&https(tls, origin.address)).await;
    let root = async |edge: &Edge| {
        let reply = edge.api().get("/v1/certificates/root").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        CertificateDer::from_pem_slice(&reply.body).unwrap()
    };
    let first = root(&edge).await;
    for restart in [false, true] {
        if restart {
            edge.kill().await;
            edge = edge.restart().await;
        }
        assert_eq!(root(&edge).await, first, "the root outlives restarts");
        let address = edge.address("https").await;
        for name in ["localhost", "127.0.0.1"] {
            let mut client =
                Client::http2(address).tls(client_trusting([first.clone()], &["h2"])).host(name);
            assert_eq!(client.send(request("GET", "/", "")).await.status, 200, "{name}");
        }
    }
}

#[tokio::test]
async fn a_real_client_trusts_what_certs_trust_prints() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&https("tls = { names = [\"localhost\"] }", origin.address)).await;
    let printed = edge.cli(&["certs", "trust"]).await;
    assert_eq!(printed.code, 0, "{printed:?}");
    assert!(
        printed.stderr.contains("SHA-256 ") && printed.stderr.contains("update-ca-certificates")
    );
    let root = edge.dir.write("root.crt", &printed.stdout);
    let port = edge.address("https").await.port();
    let url = format!("https://localhost:{port}/");
    let curl = async |root: &[&str]| {
        let mut command = tokio::process::Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "10"]).args(root).arg(&url);
        output_of(command).await
    };
    let trusted = curl(&["--cacert", root.to_str().unwrap()]).await;
    assert_eq!(trusted.code, 0, "{trusted:?}");
    assert_eq!(curl(&[]).await.code, 60, "nobody else trusts it");
}

#[tokio::test]
async fn a_certificate_that_was_imported_is_served_kept_and_exported() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let origin = Origin::start("v1").await;
    let config = https("tls = {}", origin.address)
        .replace("[routes.app]", "[routes.app]\nhost = \"shop.example.com\"")
        + "\n[acme]\nemail = \"a@example.com\"\nissuers = [{ name = \"nobody\", directory = \"https://127.0.0.1:1/dir\" }]\n";
    let mut edge = Edge::start_in(dir.clone(), &config).await;
    let shown = async |edge: &Edge| {
        let address = edge.address("https").await;
        let mut client = Client::http1(address).tls(ca.client(&[])).host("shop.example.com");
        client.try_send(request("GET", "/", "")).await.map(|reply| reply.status.as_u16()).ok()
    };
    assert_eq!(shown(&edge).await, None, "nobody to order from");

    ca.issue(&["shop.example.com", "other.example.com"]).write(&dir, "new");
    let (chain, key) = (dir.path("new.crt"), dir.path("new.key"));
    let (chain, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
    // As others keep them: one file with both. The key stays out of what everybody may read.
    let both = std::fs::read_to_string(key).unwrap() + &std::fs::read_to_string(chain).unwrap();
    let combined = dir.path("both.pem");
    std::fs::write(&combined, both).unwrap();
    let combined = combined.to_str().unwrap();
    ca.issue(&["x.example.com"]).write(&dir, "x");
    let foreign = edge.cli(&["certs", "import", chain, dir.path("x.key").to_str().unwrap()]).await;
    assert_eq!(foreign.code, 1, "{foreign:?}");
    assert!(foreign.stderr.contains("key"), "{foreign:?}");
    let imported = edge.cli(&["certs", "import", combined, combined]).await;
    assert_eq!(imported.code, 0, "{imported:?}");
    assert!(imported.stdout.contains("other.example.com is kept"), "{imported:?}");
    assert_eq!(shown(&edge).await, Some(200));
    edge.kill().await;
    edge = edge.restart().await;
    assert_eq!(shown(&edge).await, Some(200), "it outlives the process");

    ca.issue(&["*.wide.example.org"]).write(&dir, "wide");
    let (wide, wide_key) = (dir.path("wide.crt"), dir.path("wide.key"));
    let wide = ["certs", "import", wide.to_str().unwrap(), wide_key.to_str().unwrap()];
    let imported = edge.cli(&wide).await;
    assert!(imported.stdout.contains("*.wide.example.org is kept"), "{imported:?}");
    let listed = edge.cli(&["certs"]).await.stdout;
    assert!(listed.contains("no listener has a use for it"), "{listed}");
    // Once a host below it is wanted it is served, and nobody is asked for one.
    edge.reload(&config.replace("shop.example.com", "a.wide.example.org")).await;
    let mut client = Client::http1(edge.address("https").await);
    client = client.tls(ca.client(&[])).host("a.wide.example.org");
    assert_eq!(client.try_send(request("GET", "/", "")).await.unwrap().status, 200);
    let listed = edge.cli(&["certs"]).await.stdout;
    let row = listed.lines().find(|line| line.contains("wide.example.org")).unwrap();
    assert!(!row.contains("no listener") && !listed.contains("nobody: "), "{listed}");
    edge.reload(&config).await;

    let out = dir.path("out");
    std::fs::create_dir(&out).unwrap();
    let file = dir.path("rig.toml");
    let export = ["certs", "export", "-c", file.to_str().unwrap(), out.to_str().unwrap()];
    let exported = run_cli(&export, &[]).await;
    assert_eq!(exported.code, 0, "{exported:?}");
    let written = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(written("shop.example.com.pem"), std::fs::read_to_string(chain).unwrap());
    assert_eq!(written("shop.example.com.key"), std::fs::read_to_string(key).unwrap());
    let mode = std::fs::metadata(out.join("shop.example.com.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(shown(&edge).await, Some(200), "who runs is not disturbed");
}

#[tokio::test]
async fn alpn_offers_what_the_listener_speaks() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let origin = Origin::start("v1").await;
    let leaf = ca.issue(&["app.test"]);
    let tls = format!(
        "protocols = [\"http1\"]\ntls = {{ certificates = [{}] }}",
        leaf.table(&dir, "edge")
    );
    let edge = Edge::start_in(dir, &https(&tls, origin.address)).await;
    let address = edge.address("https").await;
    let mut both = Client::http1(address).tls(ca.client(&["h2", "http/1.1"]));
    assert_eq!(both.get("/").await.status, 200, "h1 is chosen although h2 was offered first");
    let mut none = Client::http1(address).tls(ca.client(&[]));
    assert_eq!(none.get("/").await.status, 200, "no ALPN means h1");
    let mut only_h2 = Client::http2(address).tls(ca.client(&["h2"]));
    assert!(only_h2.connect().await.is_err());
}

#[tokio::test]
async fn an_upstream_with_the_wrong_certificate_gets_nothing() {
    let (ca, other, dir) = (Ca::new(), Ca::new(), Dir::new());
    let wrong_name =
        Origin::start_tls("wrong name", ca.issue(&["other.test"]).server(&["http/1.1"])).await;
    let wrong_ca =
        Origin::start_tls("wrong CA", other.issue(&["up.test"]).server(&["http/1.1"])).await;
    let root = ca.root_file(&dir);
    let mut config = listener("http");
    for (name, address) in [("name", wrong_name.address), ("ca", wrong_ca.address)] {
        config += &crate::support::upstream(name, &[address]);
        config += &format!("tls = {{ server_name = \"up.test\", ca = \"{}\" }}\n", root.display());
        config += &format!("[services.{name}.versions.v]\nupstream = \"{name}\"\nweight = 1\n");
        config += &(route(name) + &format!("path = \"/{name}\"\n"));
    }
    let edge = Edge::start_in(dir, &config).await;
    for path in ["/name", "/ca"] {
        let reply = crate::support::get(edge.address("http").await, path).await;
        assert_eq!(reply.status, 502, "{path}");
        assert!(reply.reason().is_some(), "{path}");
        assert!(!reply.text().contains("up.test"), "a client learns nothing of the inside");
    }
    assert_eq!(wrong_name.requests() + wrong_ca.requests(), 0);
}
