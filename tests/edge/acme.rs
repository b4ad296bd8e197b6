//! Certificates from a real ACME server, by both challenges, and what becomes of them.

use crate::support::{
    Client, Dir, Edge, Load, Origin,
    client::get_with,
    eventually, listener,
    load::Plan,
    pebble::{
        EAB, Pebble, Settings,
        gate::{Act, Gate, Step},
    },
    port::Port,
    route, service,
    tls::client_trusting,
    wait::eventually_within,
};
use rustls_pki_types::CertificateDer;
use std::{net::SocketAddr, time::Duration};

pub(crate) const NAME: &str = "shop.example.com";

/// Two listeners where pebble will look, and an upstream.
pub(crate) struct Site {
    http: Port,
    https: Port,
    origin: Origin,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let origin = Origin::start("v1").await.forgetful();
        Self { http: Port::reserve(), https: Port::reserve(), origin }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.http.address(), self.https.address())
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.https.address()
    }

    /// Plain text redirects; challenges are answered before that.
    pub(crate) fn config(&self, acme: &str) -> String {
        let at =
            |text: String, port: &Port| text.replace("127.0.0.1:0", &port.address().to_string());
        acme.to_owned()
            + &at(listener("http"), &self.http)
            + "redirect_https = true\n"
            + &at(listener("https"), &self.https)
            + "tls = {}\n"
            + &service("app", &[("app", 1, self.origin.address)])
            + &route("app")
            + &format!("host = \"{NAME}\"\n")
    }
}

/// The certificate shown to a client that trusts only `root`, once there is one.
pub(crate) async fn certificate(
    https: SocketAddr,
    root: &CertificateDer<'static>,
) -> CertificateDer<'static> {
    eventually("a certificate of pebble's root", || async {
        let config = client_trusting([root.clone()], &["h2"]);
        let mut client = Client::http2(https).tls(config).host(NAME);
        client.connect().await.ok()?;
        client.certificate
    })
    .await
}

async fn issued_by(challenge: &str) {
    let site = Site::new().await;
    let pebble = Pebble::start(site.settings());
    let root = pebble.root().await;
    let edge = Edge::start(&site.config(&pebble.table(&[challenge]))).await;
    certificate(site.https(), &root).await;
    for speaks in ["http/1.1", "h2"] {
        let client =
            if speaks == "h2" { Client::http2(site.https()) } else { Client::http1(site.https()) };
        let mut client = client.tls(client_trusting([root.clone()], &[speaks])).host(NAME);
        let reply = client.get("/").await;
        assert_eq!((reply.status.as_u16(), reply.version()), (200, "v1"), "{speaks}");
    }
    assert_eq!(pebble.issued(), 1, "one name, one certificate");
    let told = edge.api().json("/v1/certificates/events").await;
    let kinds: Vec<_> = told["events"].as_array().unwrap().iter().map(|e| &e["kind"]).collect();
    assert_eq!(kinds, ["account", "ordering", "proving", "proved", "issued"], "{told}");
    let last = edge.api().json("/v1/certificates/events?after=4").await;
    assert_eq!(last["events"].as_array().unwrap().len(), 1);
    let shown = edge.cli(&["certs", "events"]).await.stdout;
    assert!(shown.contains(&format!("asked to look at {challenge}")), "{shown}");
    let issued = ["kind=\"issued\""];
    assert_eq!(edge.api().metric_sum("tidegate_certificate_events_total", &issued).await, 1.0);
    let certificates = edge.api().json("/v1/certificates").await.to_string();
    assert!(certificates.contains(NAME) && certificates.contains("pebble"), "{certificates}");
    assert!(!certificates.contains("PRIVATE KEY"), "{certificates}");
    let expiry = edge.api().metric("tidegate_certificate_expiry_seconds").await;
    assert!(!expiry.is_empty(), "the certificate's expiry has a metric");
}

#[tokio::test]
async fn http_01_gets_a_certificate_that_h1_and_h2_clients_trust() {
    issued_by("http-01").await;
}

#[tokio::test]
async fn tls_alpn_01_gets_a_certificate_that_h1_and_h2_clients_trust() {
    issued_by("tls-alpn-01").await;
}

#[tokio::test]
async fn the_second_challenge_is_tried_when_the_first_cannot_work() {
    let site = Site::new().await;
    // TLS-ALPN-01 is looked for where nobody listens.
    let nowhere = Port::reserve();
    let pebble = Pebble::start(Settings::new(site.http.address(), nowhere.address()));
    let root = pebble.root().await;
    let _edge = Edge::start(&site.config(&pebble.table(&["tls-alpn-01", "http-01"]))).await;
    certificate(site.https(), &root).await;
}

#[tokio::test]
async fn certificates_survive_a_restart_without_the_authority() {
    let site = Site::new().await;
    let mut pebble = Pebble::start(site.settings());
    let root = pebble.root().await;
    let config = site.config(&pebble.table(&["http-01"]));
    let mut edge = Edge::start(&config).await;
    let first = certificate(site.https(), &root).await;
    pebble.stop();
    edge.kill().await;
    let mut edge = edge.restart().await;
    assert_eq!(certificate(site.https(), &root).await, first, "the same one, from the store");

    // And through an upgrade.
    let mut old = edge.upgrade().await;
    assert!(old.wait_exit().await.success());
    assert_eq!(certificate(site.https(), &root).await, first);
}

#[tokio::test]
async fn a_renewal_is_swapped_in_under_load() {
    let site = Site::new().await;
    let settings = Settings { validity: Duration::from_secs(120), ..site.settings() };
    let pebble = Pebble::start(settings);
    let root = pebble.root().await;
    let config = site.config(&(pebble.table(&["http-01"]) + "renew_at_percent = 90\n"));
    let _edge = Edge::start(&config).await;
    let first = certificate(site.https(), &root).await;

    let trusting = |alpn| client_trusting([root.clone()], &[alpn]);
    let plan = Plan {
        tls: Some([trusting("http/1.1"), trusting("h2")]),
        host: NAME.to_owned(),
        ..Plan::plain(site.https(), 4)
    };
    let load = Load::start(plan).await;
    // Due after a tenth of its life; looked for twice a minute.
    let patience = Duration::from_secs(75);
    eventually_within(patience, "a renewed certificate", || async {
        (certificate(site.https(), &root).await != first).then_some(())
    })
    .await;
    load.await_answers(100).await;
    let report = load.stop().await;
    println!("{}", report.summary());
    report.assert_nothing_failed();
    report.assert_no_connection_closed();
}

#[tokio::test]
async fn names_come_and_go_with_the_document() {
    let site = Site::new().await;
    let pebble = Pebble::start(site.settings());
    let root = pebble.root().await;
    let config = site.config(&pebble.table(&["http-01"]));
    let edge = Edge::start(&config).await;
    certificate(site.https(), &root).await;
    let both = format!("hosts = [\"{NAME}\", \"blog.example.com\"]");
    edge.reload(&config.replace(&format!("host = \"{NAME}\""), &both)).await;
    eventually("the new name's certificate", || async {
        let config = client_trusting([root.clone()], &["h2"]);
        let mut client = Client::http2(site.https()).tls(config).host("blog.example.com");
        client.connect().await.ok()
    })
    .await;
}

#[tokio::test]
async fn challenges_nobody_ordered_are_not_answered() {
    let site = Site::new().await;
    let pebble = Pebble::start(site.settings());
    let _edge = Edge::start(&site.config(&pebble.table(&["http-01"]))).await;
    let path = "/.well-known/acme-challenge/forged-token";
    let reply = get_with(site.http.address(), path, &[("host", NAME)]).await;
    assert!([404, 308].contains(&reply.status.as_u16()), "{}", reply.status);
    // A scanner's names are no reason to order anything.
    for number in 0..20 {
        let mut client = Client::http2(site.https())
            .tls(client_trusting([pebble.root().await], &["h2"]))
            .host(&format!("scan{number}.example.com"));
        assert!(client.connect().await.is_err());
    }
    let root = pebble.root().await;
    certificate(site.https(), &root).await;
    assert_eq!(pebble.issued(), 1);
}

#[tokio::test]
async fn an_authority_that_refuses_is_told_and_others_are_tried() {
    let site = Site::new().await;
    let pebble = Pebble::start(site.settings());
    let root = pebble.root().await;
    let nobody = Port::reserve();
    let two = format!(
        "issuers = [{{ name = \"gone\", directory = \"https://{}/dir\" }}, {{",
        nobody.address()
    );
    let table = pebble.table(&["http-01"]).replace("issuers = [{", &two);
    let edge = Edge::start_in(Dir::new(), &site.config(&table)).await;
    certificate(site.https(), &root).await;
    edge.logs().await_log(&["gone", NAME]).await;
}

#[tokio::test]
async fn an_external_account_is_bound() {
    let site = Site::new().await;
    let pebble = Pebble::start(Settings { eab: true, ..site.settings() });
    let root = pebble.root().await;
    let table = pebble.table(&["http-01"]);
    let edge = Edge::start(&site.config(&table)).await;
    edge.logs().await_log(&["set `eab` of the issuer", NAME]).await;
    let eab = format!(", eab = {{ kid = \"{}\", hmac_key = \"{}\" }} }}]", EAB.0, EAB.1);
    edge.reload(&site.config(&table.replace(" }]", &eab))).await;
    certificate(site.https(), &root).await;
    let said = edge.logs().stderr() + &edge.logs().stdout().concat();
    assert!(!said.contains(EAB.1));
}

/// Every step of an order, as the authority sees it.
const STEPS: [Step; 6] = [
    Step::NewOrder,
    Step::Authorization,
    Step::Challenge,
    Step::Order,
    Step::Finalize,
    Step::Certificate,
];

/// Kills the edge at each step of an order; the next start finishes the same one.
async fn killed_at_each_step(act: fn() -> Act, steps: &[Step]) {
    for &step in steps {
        let site = Site::new().await;
        let pebble = Pebble::start(site.settings());
        let root = pebble.root().await;
        let gate = Gate::before(&pebble.directory(), pebble.ca()).await;
        gate.on(move |seen| match (seen.step == step, seen.before) {
            (true, 0) => act(),
            _ => Act::Pass,
        });
        let issuer = gate.issuer("pebble", "");
        let table = format!("\n[acme]\nchallenges = [\"http-01\"]\nissuers = [{issuer}]\n");
        let mut edge = Edge::start(&site.config(&table)).await;
        gate.held().await;
        if matches!(step, Step::Order | Step::Finalize | Step::Certificate) {
            // Else the authority looks for an answer while nobody is there, and the order is
            // none that could be used.
            eventually("the name is validated", || async {
                pebble.log().contains("set VALID").then_some(())
            })
            .await;
        }
        edge.kill().await;
        let _edge = edge.restart().await;
        certificate(site.https(), &root).await;
        let orders = pebble.log().matches("Added order").count();
        assert_eq!((orders, pebble.issued()), (1, 1), "killed at {step:?}\n{}", pebble.log());
    }
}

#[tokio::test]
async fn killed_before_each_step_of_an_order_the_next_start_finishes_it() {
    killed_at_each_step(|| Act::Before, &STEPS).await;
}

#[tokio::test]
async fn killed_after_each_step_of_an_order_the_next_start_finishes_it() {
    // A challenge that was asked for is looked at while nobody is there; that order is lost.
    let steps = STEPS.into_iter().filter(|step| *step != Step::Challenge).collect::<Vec<_>>();
    killed_at_each_step(|| Act::After, &steps).await;
}

#[tokio::test]
async fn a_certificate_is_renewed_and_revoked_and_the_account_gets_another_key_when_told() {
    let site = Site::new().await;
    let pebble = Pebble::start(site.settings());
    let root = pebble.root().await;
    let edge = Edge::start(&site.config(&pebble.table(&["http-01"]))).await;
    let mut shown = certificate(site.https(), &root).await;
    let verbs: [&[&str]; 3] = [
        &["certs", "renew", NAME],
        &["certs", "revoke", NAME, "--reason", "superseded"],
        // With the new account key.
        &["certs", "renew", NAME],
    ];
    for (turn, verb) in verbs.into_iter().enumerate() {
        if turn == 2 {
            // The order may not be done when its certificate is shown.
            eventually("another account key", || async {
                let rolled = edge.cli(&["certs", "rollover", "pebble"]).await;
                let busy = rolled.stderr.contains("orders are under way");
                assert!(busy || rolled.code == 0, "{rolled:?}");
                (!busy).then_some(())
            })
            .await;
        }
        let output = edge.cli(verb).await;
        assert_eq!(output.code, 0, "{output:?}");
        shown = eventually("another certificate", || async {
            let now = certificate(site.https(), &root).await;
            (now != shown).then_some(now)
        })
        .await;
        eventually("no order under way", || async {
            let told = edge.api().json("/v1/certificates").await;
            (told["certificates"][0]["last_error"].is_null()).then_some(())
        })
        .await;
    }
    for (verb, words) in [
        (&["certs", "renew", "nobody.example.com"][..], "nobody.example.com"),
        (&["certs", "revoke", "nobody.example.com"], "nobody.example.com"),
        (&["certs", "rollover", "nobody"], "nobody"),
        (&["certs", "revoke", NAME, "--reason", "boredom"], "superseded"),
    ] {
        let output = edge.cli(verb).await;
        assert!(output.code != 0 && output.stderr.contains(words), "{output:?}");
    }
}

#[tokio::test]
async fn a_dry_run_from_the_shell_says_yes_or_why_not() {
    let site = Site::new().await;
    let pebble = Pebble::start(site.settings());
    let root = pebble.root().await;
    let config = |http: u16| {
        let (table, dns) = (pebble.table(&["http-01", "tls-alpn-01"]), pebble.dns());
        let tls = site.https().port();
        let ports = format!("validation_ports = {{ http = {http}, tls = {tls} }}\n");
        site.config(&(table + &ports + &format!("[dns]\nservers = [\"{dns}\"]\n")))
    };
    let edge = Edge::start(&config(site.http.address().port())).await;
    certificate(site.https(), &root).await;
    let idle = edge.cli(&["certs", "plan"]).await;
    assert_eq!((idle.code, idle.stdout.as_str()), (0, "nothing would be ordered\n"));
    let asked = edge.cli(&["certs", "plan", NAME]).await;
    assert_eq!(asked.code, 0, "{asked:?}");
    for words in ["http-01", "tls-alpn-01", "this node is reached", "no CAA record", "it answers"] {
        assert!(asked.stdout.contains(words), "{words}: {}", asked.stdout);
    }
    let elsewhere = config(site.origin.address.port()).replace(", \"tls-alpn-01\"", "");
    edge.reload(&elsewhere).await;
    let refused = edge.cli(&["certs", "plan", NAME]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stdout.contains("something else answers on port"), "{}", refused.stdout);
    assert_eq!(pebble.issued(), 1);
}
