//! The load generators: wrk for HTTP/1, h2load for HTTP/2.

use crate::{cost::cpu_seconds, peer::Peer};
use clap::ValueEnum;
use std::{fmt, process::Command};

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Protocol {
    /// HTTP/1.1 in plain text.
    H1,
    /// HTTP/1.1 over TLS 1.3.
    TlsH1,
    /// HTTP/2 over TLS 1.3.
    TlsH2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H1 => "h1",
            Self::TlsH1 => "TLS h1",
            Self::TlsH2 => "TLS h2",
        })
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Requests answered per second.
    pub per_second: f64,
    /// User and system time of the proxy per request, in microseconds.
    pub cpu_micros: f64,
    /// How much of its core the proxy used, in percent. Well below 100, the load generator was
    /// the limit, and CPU per request tells more than requests per second.
    pub busy_percent: f64,
    /// The 99th percentile of the time from request to answer.
    pub p99_ms: f64,
    /// Requests without a 2xx.
    pub failed: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} requests/s, {:.1} us CPU each, core {:.0} % busy, p99 {:.2} ms, {} failed",
            self.per_second, self.cpu_micros, self.busy_percent, self.p99_ms, self.failed
        )
    }
}

/// What a load generator counted.
struct Counted {
    requests: u64,
    seconds: f64,
    p99_ms: f64,
    failed: u64,
}

/// Loads `peer` for so many seconds.
pub fn run(protocol: Protocol, peer: &Peer, connections: u32, seconds: u32) -> Sample {
    let before = cpu_seconds(peer.pid());
    let counted = match protocol {
        Protocol::H1 => wrk(&format!("http://{}/", peer.http), connections, seconds),
        Protocol::TlsH1 => wrk(&format!("https://{}/", peer.https), connections, seconds),
        Protocol::TlsH2 => h2load(&format!("https://{}/", peer.https), connections, seconds),
    };
    let cpu = cpu_seconds(peer.pid()) - before;
    assert!(counted.requests > 0, "{protocol} on {} answered nothing", peer.kind);
    Sample {
        per_second: counted.requests as f64 / counted.seconds,
        cpu_micros: cpu * 1e6 / counted.requests as f64,
        busy_percent: cpu * 100.0 / counted.seconds,
        p99_ms: counted.p99_ms,
        failed: counted.failed,
    }
}

fn wrk(url: &str, connections: u32, seconds: u32) -> Counted {
    let (connections, duration) = (connections.to_string(), format!("{seconds}s"));
    let text = output("wrk", &["-t1", "-c", &connections, "-d", &duration, "--latency", url]);
    let line = |wanted: &str| text.lines().find(|line| line.contains(wanted));
    let words = |wanted: &str| -> Vec<&str> {
        line(wanted)
            .unwrap_or_else(|| panic!("no `{wanted}` in {text}"))
            .split_whitespace()
            .collect()
    };
    let numbers = |line: &str| -> u64 {
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok()).sum()
    };
    // "  123456 requests in 5.01s, 140.00MB read"
    let summary = words(" requests in ");
    Counted {
        requests: summary[0].parse().unwrap(),
        seconds: millis(summary[3].trim_end_matches(',')) / 1000.0,
        p99_ms: millis(words("99%")[1]),
        failed: line("Non-2xx").map_or(0, |line| numbers(line.rsplit(':').next().unwrap()))
            + line("Socket errors").map_or(0, numbers),
    }
}

fn h2load(url: &str, connections: u32, seconds: u32) -> Counted {
    let log = tempfile::NamedTempFile::new().unwrap();
    let (connections, duration) = (connections.to_string(), seconds.to_string());
    let file = format!("--log-file={}", log.path().display());
    let text = output("h2load", &["-t1", "-c", &connections, "-m1", "-D", &duration, &file, url]);
    let number = |before: &str| -> u64 {
        let (head, _) =
            text.split_once(before).unwrap_or_else(|| panic!("no `{before}` in {text}"));
        let digits = head.rsplit([' ', '\n']).next().unwrap();
        digits.parse().unwrap_or_else(|_| panic!("no number before `{before}` in {text}"))
    };
    // A line per request: when, status, microseconds.
    let lines = std::fs::read_to_string(log.path()).unwrap();
    let mut micros: Vec<u32> =
        lines.lines().filter_map(|line| line.rsplit('\t').next()?.parse().ok()).collect();
    micros.sort_unstable();
    let p99 = micros.get(micros.len() * 99 / 100).copied().unwrap_or(0);
    Counted {
        requests: number(" 2xx"),
        seconds: f64::from(seconds),
        p99_ms: f64::from(p99) / 1000.0,
        failed: number(" failed,") + number(" errored,") + number(" 4xx") + number(" 5xx"),
    }
}

/// Runs a tool to its end and returns what it printed.
fn output(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("cannot run {tool}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{tool} {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// A duration as wrk writes it, in milliseconds.
fn millis(text: &str) -> f64 {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().unwrap();
    number
        * match unit {
            "us" => 0.001,
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            other => panic!("a duration in `{other}`"),
        }
}
