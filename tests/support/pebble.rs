//! A real certificate authority on loopback: pebble, Let's Encrypt's own test server, and the
//! DNS that sends its validations back to 127.0.0.1. Needs nothing else of the rig, so that
//! other crates' tests can take it by `#[path]`.

use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

/// What a story may choose.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where pebble connects for HTTP-01.
    pub http: u16,
    /// Where pebble connects for TLS-ALPN-01.
    pub tls: u16,
    /// How long its certificates are valid.
    pub validity: Duration,
}

impl Settings {
    /// Certificates for 90 days.
    pub fn new(http: SocketAddr, tls: SocketAddr) -> Self {
        let validity = Duration::from_secs(90 * 24 * 3600);
        Self { http: http.port(), tls: tls.port(), validity }
    }
}

/// A running pebble; killed when dropped.
pub struct Pebble {
    settings: Settings,
    dir: TempDir,
    directory: SocketAddr,
    management: SocketAddr,
    dns: SocketAddr,
    api_root: CertificateDer<'static>,
    server: Option<Child>,
    _challenges: Child,
    _ports: Vec<Socket>,
}

impl Pebble {
    /// Starts it and waits until it answers.
    pub async fn start(settings: Settings) -> Self {
        let dir = tempfile::Builder::new().prefix("pebble-").tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        std::fs::write(dir.path().join("api.pem"), certificate.pem()).unwrap();
        std::fs::write(dir.path().join("api.key"), key.serialize_pem()).unwrap();

        let ports: Vec<Socket> = (0..4).map(|_| reserve()).collect();
        let [directory, management, dns, dns_management] =
            [0, 1, 2, 3].map(|at: usize| ports[at].local_addr().unwrap().as_socket().unwrap());
        // Only DNS is wanted; the empty AAAA answer keeps pebble from trying ::1 first.
        let challenges = Command::new("pebble-challtestsrv")
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-dns01", &dns.to_string(), "-management", &dns_management.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("pebble-challtestsrv (apt-get install pebble)");
        let mut pebble = Self {
            settings,
            directory,
            management,
            dns,
            api_root: certificate.der().clone(),
            server: None,
            dir,
            _challenges: challenges,
            _ports: ports,
        };
        await_listening(dns_management).await;
        pebble.restart().await;
        pebble
    }

    /// Starts it (again): a new root, no memory of accounts and orders.
    pub async fn restart(&mut self) {
        self.stop().await;
        let config = json!({ "pebble": {
            "listenAddress": self.directory.to_string(),
            "managementListenAddress": self.management.to_string(),
            "certificate": self.dir.path().join("api.pem"),
            "privateKey": self.dir.path().join("api.key"),
            "httpPort": self.settings.http,
            "tlsPort": self.settings.tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": self.settings.validity.as_secs(),
        }});
        let file = self.dir.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let log = File::create(self.log_file()).unwrap();
        let server = Command::new("pebble")
            .arg("-config")
            .arg(&file)
            .args(["-dnsserver", &self.dns.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("pebble (apt-get install pebble)");
        self.server = Some(server);
        await_listening(self.directory).await;
        await_listening(self.management).await;
    }

    /// Ends it: the directory cannot be reached any more.
    pub async fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().await.unwrap();
        }
    }

    /// The ACME directory's URL.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.directory)
    }

    /// A PEM file with the root of the directory's own TLS.
    pub fn api_root_file(&self) -> PathBuf {
        self.dir.path().join("api.pem")
    }

    /// An `[acme]` table for a document; further lines belong to it.
    pub fn table(&self, challenges: &[&str]) -> String {
        format!(
            "\n[acme]\nchallenges = {challenges:?}\n\
             issuers = [{{ name = \"pebble\", directory = \"{}\", ca = \"{}\" }}]\n",
            self.directory(),
            self.api_root_file().display()
        )
    }

    /// The root its certificates end at.
    pub async fn root(&self) -> CertificateDer<'static> {
        let pem = self.fetch("/roots/0").await;
        CertificateDer::from_pem_slice(&pem).expect("a root in PEM")
    }

    /// How many certificates it has issued, by its log.
    pub fn issued(&self) -> usize {
        self.said().matches("Issued certificate serial").count()
    }

    /// What it logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("pebble.log")
    }

    /// The body at a path of the management interface.
    async fn fetch(&self, path: &str) -> Vec<u8> {
        let mut roots = RootCertStore::empty();
        roots.add(self.api_root.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.management).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Go closes without close_notify; what came before is whole all the same.
        let _ = stream.read_to_end(&mut answer).await;
        let split = answer.windows(4).position(|four| four == b"\r\n\r\n");
        answer.split_off(split.expect("an HTTP answer") + 4)
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- pebble wrote:\n{}---", self.said());
        }
    }
}

/// A port that stays ours: bound and never listening, it is given to nobody who asks for any.
fn reserve() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket
}

async fn await_listening(address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).await.is_err() {
        assert!(Instant::now() < deadline, "nobody listens on {address}");
        sleep(Duration::from_millis(10)).await;
    }
}
