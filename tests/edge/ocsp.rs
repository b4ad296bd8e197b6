//! What OCSP responders say of certificates, as clients see it.

use crate::support::{
    Client, Dir, Edge, Origin,
    client::request,
    eventually, listener,
    ocsp::{Responder, Says},
    openssl::s_client,
    pebble::{Pebble, Settings},
    port::Port,
    route, service,
    tls::client_trusting,
};

const NAME: &str = "shop.example.com";

async fn with_files(says: Says) -> (Edge, Responder, Origin) {
    let dir = Dir::new();
    let responder = Responder::start(&dir, NAME, says).await;
    let cert = dir.write("shop.pem", &responder.chain);
    let key = dir.write_secret("shop.key", &responder.key);
    let origin = Origin::start("v1").await;
    let config = listener("https")
        + &format!("tls = {{ certificates = [{{ cert = {cert:?}, key = {key:?} }}] }}\n")
        + &service("app", &[("app", 1, origin.address)])
        + &route("app");
    (Edge::start_in(dir, &config).await, responder, origin)
}

/// What OpenSSL's client says of the staple.
async fn status(edge: &Edge, version: &str) -> String {
    let https = edge.address("https").await;
    s_client(https, NAME, &["-status", version], "").await.stdout
}

#[tokio::test]
async fn a_good_answer_is_stapled_and_fetched_once() {
    let (edge, responder, _origin) = with_files(Says::Good).await;
    for version in ["-tls1_2", "-tls1_3"] {
        eventually("a staple", || async {
            status(&edge, version).await.contains("Cert Status: good").then_some(())
        })
        .await;
    }
    edge.api().counted("tidegate_ocsp_answers_total", &["outcome=\"good\""], 1.0).await;
    // The answer is good for two days: nobody is asked again, whatever he says by now.
    responder.say(Says::Nothing);
    assert_eq!(responder.asked(), 1);
    assert!(status(&edge, "-tls1_3").await.contains("Cert Status: good"));
}

#[tokio::test]
async fn an_answer_that_is_forged_or_missing_is_not_shown_and_stops_nobody() {
    for says in [Says::Forged, Says::Nothing] {
        let (edge, responder, _origin) = with_files(says).await;
        edge.api().counted("tidegate_ocsp_answers_total", &["outcome=\"failed\""], 1.0).await;
        let told = status(&edge, "-tls1_3").await;
        assert!(told.contains("OCSP response: no response sent"), "{says:?}: {told}");
        assert!(told.contains("BEGIN CERTIFICATE") && responder.asked() == 1, "{says:?}: {told}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_revoked_is_replaced_at_once() {
    let dir = Dir::new();
    let responder = Responder::start(&dir, NAME, Says::Revoked).await;
    let (http, https) = (Port::reserve(), Port::reserve());
    let origin = Origin::start("v1").await;
    let pebble = Pebble::start(Settings::new(http.address(), https.address()));
    let at = |text: String, port: &Port| text.replace("127.0.0.1:0", &port.address().to_string());
    let config = |challenges: &[&str]| {
        pebble.table(challenges)
            + &at(listener("http"), &http)
            + &at(listener("https"), &https)
            + "tls = {}\n"
            + &service("app", &[("app", 1, origin.address)])
            + &route("app")
            + &format!("host = \"{NAME}\"\n")
    };
    let edge = Edge::start_in(dir.clone(), &config(&["http-01"])).await;
    let (chain, key) =
        (dir.write("shop.pem", &responder.chain), dir.write_secret("shop.key", &responder.key));
    let import = ["certs", "import", chain.to_str().unwrap(), key.to_str().unwrap()];
    let imported = edge.cli(&import).await;
    assert_eq!(imported.code, 0, "{imported:?}");
    edge.api().counted("tidegate_ocsp_answers_total", &["outcome=\"revoked\""], 1.0).await;
    let root = pebble.root().await;
    eventually("the certificate in its place", || async {
        let trusting = client_trusting([root.clone()], &[]);
        let mut client = Client::http1(https.address()).tls(trusting).host(NAME);
        let reply = client.try_send(request("GET", "/", "")).await.ok()?;
        (reply.status == 200).then_some(())
    })
    .await;
}
