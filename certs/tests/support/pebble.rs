//! Pebble, Let's Encrypt's ACME test server, with its DNS, on free ports.
//!
//! One self-contained file (rcgen and tempfile beside std), so that other test crates can
//! include it by `#[path]`. Both programs come with Debian's package `pebble`.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test crate uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PEBBLE: &str = "/usr/bin/pebble";
const DNS: &str = "/usr/bin/pebble-challtestsrv";

/// The external account pebble knows when [`Settings::eab`] is set: `kid` and `hmac_key`.
pub const EAB: (&str, &str) =
    ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");

/// What a test may choose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where http-01 is validated: the test's own port.
    pub http_port: u16,
    /// Where tls-alpn-01 is validated.
    pub tls_port: u16,
    /// How long certificates are valid, in seconds.
    pub validity: u64,
    /// Accounts need [`EAB`].
    pub eab: bool,
}

/// A running pebble. Every name resolves to 127.0.0.1. Ends with its value.
pub struct Pebble {
    settings: Settings,
    /// Who is asked instead of the DNS that comes with it.
    resolver: Option<SocketAddr>,
    dir: tempfile::TempDir,
    ports: [u16; 4],
    processes: Vec<Child>,
}

impl Pebble {
    /// Starts both programs; `None`, with a word on stderr, where they are not installed.
    pub fn start(settings: Settings) -> Option<Self> {
        Self::start_with_dns(settings, None)
    }

    /// As [`Self::start`], asking `resolver` for records.
    pub fn start_with_dns(settings: Settings, resolver: Option<SocketAddr>) -> Option<Self> {
        if !Path::new(PEBBLE).exists() || !Path::new(DNS).exists() {
            eprintln!("skipped: {PEBBLE} or {DNS} is not installed (apt-get install pebble)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        certify(dir.path());
        let mut pebble =
            Self { settings, resolver, dir, ports: free_ports(), processes: Vec::new() };
        pebble.spawn();
        Some(pebble)
    }

    /// The ACME directory's URL.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.ports[0])
    }

    /// The DNS that comes with it: every name resolves to 127.0.0.1.
    pub fn dns(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[2]).into()
    }

    /// PEM file of the root that certifies the directory itself.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Ends it, as an outage would.
    pub fn stop(&mut self) {
        for mut process in self.processes.drain(..) {
            // An error means that it has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again, with nothing remembered: accounts and orders are gone.
    pub fn restart(&mut self) {
        self.stop();
        self.spawn();
    }

    /// What pebble has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("pebble.log")).unwrap_or_default()
    }

    /// Certificates issued since the last start.
    pub fn issued(&self) -> usize {
        self.log().matches("Issued certificate serial").count()
    }

    fn spawn(&mut self) {
        let [acme, management, dns, dns_management] = self.ports;
        let path = |name: &str| self.dir.path().join(name);
        let config = format!(
            r#"{{"pebble":{{"listenAddress":"127.0.0.1:{acme}",
            "managementListenAddress":"127.0.0.1:{management}",
            "certificate":"{cert}","privateKey":"{key}",
            "httpPort":{http},"tlsPort":{tls},"ocspResponderURL":"",
            "externalAccountBindingRequired":{eab},
            "externalAccountMACKeys":{{"{kid}":"{hmac}"}},
            "certificateValidityPeriod":{validity}}}}}"#,
            cert = path("server.pem").display(),
            key = path("server.key").display(),
            http = self.settings.http_port,
            tls = self.settings.tls_port,
            eab = self.settings.eab,
            kid = EAB.0,
            hmac = EAB.1,
            validity = self.settings.validity,
        );
        fs::write(path("config.json"), config).unwrap();
        let log = |name: &str| Stdio::from(File::create(path(name)).unwrap());
        let names = Command::new(DNS)
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""])
            .args(["-dns01", &format!("127.0.0.1:{dns}")])
            .args(["-management", &format!("127.0.0.1:{dns_management}")])
            .stdout(log("dns.log"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Command::new(PEBBLE)
            .arg("-config")
            .arg(path("config.json"))
            .args(["-dnsserver", &self.resolver.unwrap_or(self.dns()).to_string()])
            .envs([
                ("PEBBLE_VA_NOSLEEP", "1"),
                ("PEBBLE_WFE_NONCEREJECT", "5"),
                ("PEBBLE_AUTHZREUSE", "0"),
            ])
            .stdout(log("pebble.log"))
            .stderr(log("pebble.err"))
            .spawn()
            .unwrap();
        self.processes = vec![names, server];
        for port in [acme, management, dns_management] {
            await_port(port);
        }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A root, and a certificate for 127.0.0.1 by it: pebble ships none.
fn certify(dir: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(dir.join("ca.pem"), root.self_signed(&root_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::from_params(&root, root_key)).unwrap();
    fs::write(dir.join("server.pem"), leaf.pem()).unwrap();
    fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
}

/// Ports nobody listens on now, each another.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

fn await_port(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "nothing listens on port {port}");
        #[expect(clippy::disallowed_methods, reason = "no worker: a test waits for a program")]
        std::thread::sleep(Duration::from_millis(20));
    }
}
