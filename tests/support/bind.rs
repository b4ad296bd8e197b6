//! A real name server: bind9's `named`, unprivileged, on a free port of loopback. It serves
//! `example.com` and accepts updates of its TXT records that are signed with [`KEY`].
//!
//! One self-contained file (tempfile beside std), so that other test crates can include it by
//! `#[path]`. Debian's package `bind9`.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test crate uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs::{self, File},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const NAMED: &str = "/usr/sbin/named";

/// The name of the key that may change the zone, and its secret, in base64.
pub const KEY: (&str, &str) = ("edge", "c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiB0aWRlZ2F0ZSE=");

/// A running server. Ends with its value.
pub struct Bind {
    /// Where it answers, over UDP and TCP.
    pub address: SocketAddr,
    dir: tempfile::TempDir,
    server: Child,
}

impl Bind {
    /// Serves `example.com` with `records` (lines of a zone file) besides: every name in it leads
    /// to 127.0.0.1. The key's algorithm is one of bind's words, such as `hmac-sha256`.
    pub fn start(algorithm: &str, records: &str) -> Self {
        assert!(Path::new(NAMED).exists(), "{NAMED} is missing (apt-get install bind9)");
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = |name: &str| dir.path().join(name);
        let zone = format!(
            "$TTL 60\n@ IN SOA ns.example.com. host.example.com. 1 3600 60 86400 1\n@ IN NS ns\n\
             @ IN A 127.0.0.1\n* IN A 127.0.0.1\n{records}\n"
        );
        fs::write(path("example.com.zone"), zone).unwrap();
        let (key, secret) = KEY;
        let shown = dir.path().display();
        let config = format!(
            r#"key "{key}" {{ algorithm {algorithm}; secret "{secret}"; }};
            key "stranger" {{ algorithm {algorithm}; secret "{secret}"; }};
            controls {{ }};
            options {{
                directory "{shown}"; pid-file "{shown}/pid"; session-keyfile "{shown}/session.key";
                listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
                recursion no; dnssec-validation no; empty-zones-enable no; notify no;
            }};
            zone "example.com" {{
                type primary; file "example.com.zone";
                update-policy {{ grant {key} zonesub TXT; }};
            }};"#
        );
        fs::write(path("named.conf"), config).unwrap();
        let log = File::create(path("log")).unwrap();
        let server = Command::new(NAMED)
            .args(["-g", "-n", "1", "-c"])
            .arg(path("named.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let mut bind = Self { address, dir, server };
        bind.await_start();
        bind
    }

    /// The texts of a name's TXT records, as `dig` shows them.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let (server, port) = (format!("@{}", self.address.ip()), self.address.port().to_string());
        let mut dig = Command::new("dig");
        dig.args([&server, "-p", &port, "+short", "+tries=1", "TXT", name]);
        let output = dig.output().expect("dig (apt-get install bind9-dnsutils)");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter(|line| line.starts_with('"'))
            .map(|line| line.replace('"', ""))
            .collect()
    }

    /// Changes the zone by `nsupdate`: `update add NAME TTL TXT ..` and the like.
    pub fn change(&self, line: &str) {
        let mut nsupdate = Command::new("nsupdate")
            .args(["-y", &format!("hmac-sha256:{}:{}", KEY.0, KEY.1)])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nsupdate (apt-get install bind9-dnsutils)");
        let (server, port) = (self.address.ip(), self.address.port());
        let script = format!("server {server} {port}\n{line}\nsend\n");
        nsupdate.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(nsupdate.wait().unwrap().success(), "{line}");
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn await_start(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(" running") || TcpStream::connect(self.address).is_err() {
            let ended = self.server.try_wait().unwrap();
            let late = Instant::now() > deadline;
            assert!(ended.is_none() && !late, "named does not run:\n{}", self.log());
            #[expect(clippy::disallowed_methods, reason = "no worker: a test waits for a program")]
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- named wrote:\n{}---", self.log());
        }
        // An error means that it has ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A port nobody listens on now, of either kind.
fn free_port() -> u16 {
    loop {
        let streams = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = streams.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}
