//! A real certificate authority on loopback: pebble as the tests of `certs` start it, and what
//! clients out here need besides: its root.

#[path = "../../certs/tests/support/gate.rs"]
pub mod gate;
#[path = "../../certs/tests/support/permission.rs"]
pub mod permission;
#[path = "../../certs/tests/support/pebble.rs"]
mod server;

pub use server::EAB;

use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::{net::SocketAddr, ops::Deref, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Where pebble looks for the edge, and how long its certificates are valid.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where it connects for HTTP-01.
    pub http: SocketAddr,
    /// Where it connects for TLS-ALPN-01.
    pub tls: SocketAddr,
    /// How long.
    pub validity: Duration,
    /// Accounts need [`EAB`].
    pub eab: bool,
}

impl Settings {
    /// Certificates for 90 days.
    pub fn new(http: SocketAddr, tls: SocketAddr) -> Self {
        Self { http, tls, validity: Duration::from_secs(90 * 24 * 3600), eab: false }
    }
}

/// A running pebble; ended when dropped.
pub struct Pebble(server::Pebble);

impl Pebble {
    /// Starts it and waits until it answers.
    pub fn start(settings: Settings) -> Self {
        Self::start_with_dns(settings, None)
    }

    /// As [`Self::start`], asking `resolver` for records.
    pub fn start_with_dns(settings: Settings, resolver: Option<SocketAddr>) -> Self {
        let settings = server::Settings {
            http_port: settings.http.port(),
            tls_port: settings.tls.port(),
            validity: settings.validity.as_secs(),
            eab: settings.eab,
        };
        let pebble = server::Pebble::start_with_dns(settings, resolver);
        Self(pebble.expect("pebble (apt-get install pebble)"))
    }

    /// Ends it: the directory cannot be reached any more.
    pub fn stop(&mut self) {
        self.0.stop();
    }

    /// Starts it again: a new root, no memory of accounts and orders.
    pub fn restart(&mut self) {
        self.0.restart();
    }

    /// An `[acme]` table for a document; further lines belong to it.
    pub fn table(&self, challenges: &[&str]) -> String {
        format!(
            "\n[acme]\nchallenges = {challenges:?}\n\
             issuers = [{{ name = \"pebble\", directory = \"{}\", ca = \"{}\" }}]\n",
            self.directory(),
            self.ca().display()
        )
    }

    /// The root its certificates end at, from its management interface.
    pub async fn root(&self) -> CertificateDer<'static> {
        let config = self.ca().with_file_name("config.json");
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
        let management = config["pebble"]["managementListenAddress"].as_str().unwrap();
        let stream = TcpStream::connect(management).await.unwrap();

        let own = CertificateDer::from_pem_file(self.ca()).unwrap();
        let client = super::tls::client_trusting([own], &[]);
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&client));
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        let request = "GET /roots/0 HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Go closes without close_notify; what came before is whole all the same.
        let _ = stream.read_to_end(&mut answer).await;
        let body = super::raw::find(&answer, b"\r\n\r\n").expect("an HTTP answer") + 4;
        CertificateDer::from_pem_slice(&answer[body..]).expect("a root in PEM")
    }
}

impl Deref for Pebble {
    type Target = server::Pebble;

    fn deref(&self) -> &server::Pebble {
        &self.0
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- pebble wrote:\n{}---", self.log());
        }
    }
}
