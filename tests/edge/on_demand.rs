//! Names that nobody knew before, served in the handshake that brings them.

use crate::support::{
    Client, Edge, Origin,
    client::Failure,
    listener,
    openssl::s_client,
    pebble::{
        Pebble, Settings,
        permission::{Permission, Says},
    },
    port::Port,
    route, service,
    tls::client_trusting,
};
use rustls_pki_types::CertificateDer;

/// A listener for names on demand, one without, and what answers for customers.
struct Site {
    http: Port,
    https: Port,
    plain: Port,
    pebble: Pebble,
    root: CertificateDer<'static>,
    permission: Permission,
    origin: Origin,
}

impl Site {
    async fn new(says: Says) -> Self {
        let (http, https, plain) = (Port::reserve(), Port::reserve(), Port::reserve());
        let pebble = Pebble::start(Settings::new(http.address(), https.address()));
        let root = pebble.root().await;
        let permission = Permission::start(says).await;
        let origin = Origin::start("v1").await.forgetful();
        Self { http, https, plain, pebble, root, permission, origin }
    }

    fn config(&self, on_demand: &str) -> String {
        let at = |name: &str, port: &Port| {
            listener(name).replace("127.0.0.1:0", &port.address().to_string())
        };
        self.pebble.table(&["http-01"])
            + &at("http", &self.http)
            + &at("https", &self.https)
            + "limits = { handshake_timeout = \"60s\" }\n"
            + &format!("tls = {{ {on_demand} }}\n")
            + &at("plain", &self.plain)
            + "tls = {}\n"
            + &service("app", &[("app", 1, self.origin.address)])
            + &route("app")
            + "host = \"*.customers.example\"\n"
    }

    fn asking(&self, wait: &str) -> String {
        let ask = self.permission.url();
        self.config(&format!("on_demand = {{ ask = \"{ask}\", wait = \"{wait}\" }}"))
    }

    /// A client's first connection for `name`.
    async fn visit(&self, to: &Port, name: &str, speaks: &str) -> Result<u16, Failure> {
        let client = match speaks {
            "h2" => Client::http2(to.address()),
            _ => Client::http1(to.address()),
        };
        let trusting = client_trusting([self.root.clone()], &[speaks]);
        let mut client = client.tls(trusting).host(name);
        client.connect().await?;
        Ok(client.get("/").await.status.as_u16())
    }
}

#[tokio::test]
async fn a_customers_name_is_served_at_its_first_visit_and_after_a_restart() {
    let mut site = Site::new(Says::Status(200)).await;
    let mut edge = Edge::start(&site.asking("50s")).await;
    for (name, speaks) in [("one.customers.example", "h2"), ("two.customers.example", "http/1.1")] {
        assert_eq!(site.visit(&site.https, name, speaks).await, Ok(200), "{name}");
    }
    // Allowed, and yet for no route to answer.
    assert_eq!(site.visit(&site.https, "stranger.example", "h2").await, Ok(404));
    assert_eq!((site.permission.asked().len(), site.pebble.issued()), (3, 3));

    let told = edge.cli(&["certs"]).await.stdout;
    assert_eq!(told.matches("acme, on demand").count(), 3, "{told}");
    // Each name has its own: the listener without any on demand misses the wildcard, and says so.
    assert_eq!(told.matches("*.customers.example").count(), 1, "{told}");
    edge.api().counted("tidegate_on_demand_total", &["outcome=\"served\""], 3.0).await;
    edge.api().counted("tidegate_on_demand_certificates", &[], 3.0).await;
    assert!(edge.api().metric("tidegate_certificate_expiry_seconds").await.is_empty());

    site.pebble.stop();
    edge.kill().await;
    let mut edge = edge.restart().await;
    let first = "one.customers.example";
    assert_eq!(site.visit(&site.https, first, "h2").await, Ok(200));
    let mut old = edge.upgrade().await;
    assert!(old.wait_exit().await.success());
    assert_eq!(site.visit(&site.https, first, "http/1.1").await, Ok(200));
    assert_eq!(site.permission.asked().len(), 3);
}

#[tokio::test]
async fn a_reload_starts_and_ends_it_for_one_listener() {
    let site = Site::new(Says::Status(200)).await;
    let edge = Edge::start(&site.config("")).await;
    let name = |number| format!("n{number}.customers.example");
    assert!(site.visit(&site.https, &name(0), "h2").await.is_err());

    edge.reload(&site.asking("50s")).await;
    assert!(site.visit(&site.plain, &name(1), "h2").await.is_err(), "another listener");
    assert_eq!(site.visit(&site.https, &name(1), "h2").await, Ok(200));

    edge.reload(&site.config("")).await;
    assert!(site.visit(&site.https, &name(2), "h2").await.is_err());
    assert_eq!(site.visit(&site.https, &name(1), "h2").await, Ok(200), "until it ends");
    assert_eq!(site.permission.asked(), ["/allowed?domain=n1.customers.example"]);
    assert_eq!(site.pebble.issued(), 1);
}

#[tokio::test]
async fn who_is_not_allowed_gets_an_alert_in_time() {
    let site = Site::new(Says::Nothing).await;
    let edge = Edge::start(&site.asking("1s")).await;
    for says in [Says::Nothing, Says::Status(403)] {
        site.permission.say(says);
        let name = format!("{}.customers.example", format!("{says:?}").len());
        let told = s_client(site.https.address(), &name, &[], "").await;
        assert!(told.stderr.contains("unrecognized name"), "{says:?}: {told:?}");
    }
    edge.api().counted("tidegate_on_demand_total", &["outcome=\"late\""], 1.0).await;
    edge.api().counted("tidegate_on_demand_total", &["outcome=\"denied\""], 1.0).await;
    assert_eq!(site.pebble.issued(), 0);
}
