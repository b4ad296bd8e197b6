//! The proxies, configured alike: one worker, one upstream with kept connections, no access
//! log, forwarding headers added, TLS 1.3 with the same ECDSA certificate.

use clap::ValueEnum;
use rustls_pki_types::CertificateDer;
use std::{
    fmt, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// Debian's nginx.
    Nginx,
    /// Debian's haproxy.
    Haproxy,
    /// Ours.
    Tidegate,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Tidegate => "tidegate",
        })
    }
}

/// What all of them are given.
pub struct Material {
    dir: TempDir,
    origin: SocketAddr,
    /// The certificate, its own root.
    pub certificate: CertificateDer<'static>,
}

/// The name in it.
pub const NAME: &str = "bench.test";

impl Material {
    /// Writes the certificate; `origin` is the upstream.
    pub fn new(origin: SocketAddr) -> Self {
        let dir = tempfile::Builder::new().prefix("tidegate-compare-").tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec![NAME.to_owned(), "127.0.0.1".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let (cert, key) = (certificate.pem(), key.serialize_pem());
        for (file, text) in
            [("cert.pem", &cert), ("key.pem", &key), ("both.pem", &(cert.clone() + &key))]
        {
            let path = dir.path().join(file);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        Self { dir, origin, certificate: certificate.der().clone() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A running proxy, ended when dropped.
pub struct Peer {
    /// Which one.
    pub kind: Kind,
    /// What it says of itself.
    pub version: String,
    /// Its plain-text address.
    pub http: SocketAddr,
    /// Its TLS address.
    pub https: SocketAddr,
    child: Child,
    _state: TempDir,
}

impl Peer {
    /// Starts one on the proxies' core and waits until it listens.
    pub fn start(kind: Kind, material: &Material) -> Self {
        let state = tempfile::Builder::new().prefix("tidegate-compare-").tempdir().unwrap();
        let [http, https] = free_addresses();
        let (program, arguments) = match kind {
            Kind::Nginx => nginx(material, state.path(), http, https),
            Kind::Haproxy => haproxy(material, state.path(), http, https),
            Kind::Tidegate => tidegate(material, state.path(), http, https),
        };
        let log = fs::File::create(state.path().join("log")).unwrap();
        let mut child = Command::new("taskset")
            .arg("-c")
            .arg(crate::PROXY_CORE.to_string())
            .arg(&program)
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        await_listening(kind, &mut child, &[http, https], &state.path().join("log"));
        let version = version(kind, &program);
        Self { kind, version, http, https, child, _state: state }
    }

    /// Its first process.
    pub fn pid(&self) -> u32 {
        // taskset replaces itself by the proxy.
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // nginx' master takes its worker along on SIGTERM, not on SIGKILL.
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            pause();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two ports nobody has now. All proxies set `SO_REUSEADDR`.
fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

fn await_listening(kind: Kind, child: &mut Child, addresses: &[SocketAddr], log: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    for address in addresses {
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait().unwrap();
            let late = Instant::now() > deadline;
            if ended.is_some() || late {
                let said = fs::read_to_string(log).unwrap_or_default();
                panic!("{kind} does not listen ({ended:?}):\n{said}");
            }
            pause();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "no runtime here, and nothing else to stall")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

fn version(kind: Kind, program: &str) -> String {
    let flag = if kind == Kind::Tidegate { "--version" } else { "-v" };
    let output = Command::new(program).arg(flag).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_owned()
}

type Started = (String, Vec<String>);

fn nginx(material: &Material, state: &Path, http: SocketAddr, https: SocketAddr) -> Started {
    let (cert, key) = (material.file("cert.pem"), material.file("key.pem"));
    let (state, cert, key) = (state.display(), cert.display(), key.display());
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {state}/{kind};\n"))
        .collect();
    let text = format!(
        "daemon off;
worker_processes 1;
pid {state}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
{temp}  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 75s;
  upstream origin {{
    server {};
    keepalive 64;
    keepalive_requests 100000000;
  }}
  server {{
    listen {http};
    listen {https} ssl http2;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
",
        material.origin
    );
    let file = format!("{state}/nginx.conf");
    fs::write(&file, text).unwrap();
    ("nginx".to_owned(), vec!["-p".to_owned(), state.to_string(), "-c".to_owned(), file])
}

fn haproxy(material: &Material, state: &Path, http: SocketAddr, https: SocketAddr) -> Started {
    let text = format!(
        "global
  nbthread 1
  maxconn 6000
  ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
  mode http
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 75s
  timeout server 75s
  timeout http-keep-alive 75s
frontend plain
  bind {http}
  http-request set-header X-Forwarded-Proto http
  default_backend origin
frontend tls
  bind {https} ssl crt {} alpn h2,http/1.1
  http-request set-header X-Forwarded-Proto https
  default_backend origin
backend origin
  server origin {}
",
        material.file("both.pem").display(),
        material.origin
    );
    let file = state.join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    ("haproxy".to_owned(), vec!["-db".to_owned(), "-f".to_owned(), file.display().to_string()])
}

fn tidegate(material: &Material, state: &Path, http: SocketAddr, https: SocketAddr) -> Started {
    let (cert, key) = (material.file("cert.pem"), material.file("key.pem"));
    let (state, cert, key) = (state.display(), cert.display(), key.display());
    let text = format!(
        r#"[server]
workers = 1
[log]
access = "off"
level = "warn"
[listeners.http]
address = "{http}"
[listeners.https]
address = "{https}"
tls = {{ certificates = [{{ cert = "{cert}", key = "{key}" }}], default = "{NAME}", min_version = "1.3" }}
[upstreams.origin]
endpoints = ["{}"]
[services.origin.versions.only]
upstream = "origin"
weight = 1
[routes.all]
service = "origin"
[control]
address = "unix:{state}/control.sock"
state = "{state}/state"
"#,
        material.origin
    );
    let file = format!("{state}/tidegate.toml");
    fs::write(&file, text).unwrap();
    let built = env!("CARGO_BIN_EXE_tidegate").to_owned();
    // An installed one, or one built otherwise.
    let program = std::env::var("TIDEGATE_BINARY").unwrap_or(built);
    (program, vec!["run".to_owned(), "-c".to_owned(), file])
}
