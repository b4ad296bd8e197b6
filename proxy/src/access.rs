//! The access log: a line per request, written off the workers.
//!
//! A worker formats into a buffer of its own and hands it to the writer's thread when it is
//! large or a moment old.

use crate::{lines::Lines, observe::Facts, reason::Reason, waf, worker::Worker};
use http::HeaderValue;
use std::{
    io::Write,
    time::{Duration, SystemTime},
};

/// Buffers waiting for the writer; with [`FLUSH_BYTES`] each, 16 MiB at most.
const QUEUE: usize = 256;
const FLUSH_BYTES: usize = 64 * 1024;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One line for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// Where access lines go.
pub struct AccessLog {
    format: AccessFormat,
    lines: Lines,
}

impl AccessLog {
    /// Starts the writer's thread; it ends when the log is dropped.
    pub fn new(format: AccessFormat, sink: impl Write + Send + 'static) -> Self {
        Self { format, lines: Lines::new("access log", QUEUE, sink) }
    }

    /// Buffers of lines lost because the writer was behind.
    pub(crate) fn dropped(&self) -> u64 {
        self.lines.dropped()
    }

    pub(crate) fn write(&self, worker: &Worker, facts: &Facts) {
        let mut lines = worker.lines.lock();
        match self.format {
            AccessFormat::Human => human(&mut lines, facts),
            AccessFormat::Json => json(&mut lines, facts),
        }
        if lines.len() >= FLUSH_BYTES {
            let full = std::mem::take(&mut *lines);
            drop(lines);
            self.lines.write(full);
        }
    }

    /// Hands a worker's lines to the writer; called a few times a second.
    pub(crate) fn flush(&self, worker: &Worker) {
        let lines = std::mem::take(&mut *worker.lines.lock());
        if !lines.is_empty() {
            self.lines.write(lines);
        }
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_micros() as f64) / 1000.0
}

fn human(out: &mut Vec<u8>, facts: &Facts) {
    let host = facts.host.as_ref().map_or("-", |host| host.to_str().unwrap_or("?"));
    // Writing to a Vec cannot fail; results are dropped below for that reason.
    let _ = write!(
        out,
        "{} {} {} {}{} {} {}B {:.1}ms",
        httpdate::HttpDate::from(SystemTime::now()),
        facts.client,
        facts.method,
        host,
        Escaped(path_of(facts)),
        facts.status,
        facts.bytes,
        millis(facts.started.elapsed()),
    );
    if let Some(route) = &facts.route {
        let _ = write!(out, " {}", route.name);
    }
    if let Some(target) = &facts.target {
        let _ = write!(out, " {}/{}", target.service, target.version);
    }
    if let Some(endpoint) = facts.endpoint {
        let _ = write!(out, " {endpoint}");
    }
    if let Some(reason) = facts.reason {
        let _ = write!(out, " reason={}", reason.word());
    }
    if let Some(inspected) = told(facts) {
        let _ = write!(out, " waf={}/{}", inspected.waf.name, inspected.outcome.word());
        if let Some(finding) = &inspected.check {
            let _ = write!(out, ",{}", finding.check.word());
        }
        for id in inspected.ids.iter().take(waf::TOLD) {
            let _ = write!(out, ",{id}");
        }
    }
    if let Some(detail) = &facts.detail {
        let _ = write!(out, " detail=\"{}\"", Escaped(detail));
    }
    if let Some(id) = facts.request_id.as_ref().and_then(|id| id.to_str().ok()) {
        let _ = write!(out, " id={}", Escaped(id));
    }
    out.push(b'\n');
}

fn json(out: &mut Vec<u8>, facts: &Facts) {
    time(out);
    field(out, "client", &facts.client.to_string());
    field(out, "listener", facts.listener.as_str());
    field(out, "scheme", if facts.https { "https" } else { "http" });
    field(out, "protocol", &format!("{:?}", facts.version));
    field(out, "method", facts.method.as_str());
    header(out, "host", facts.host.as_ref());
    field(out, "path", path_of(facts));
    let _ = write!(out, ",\"status\":{},\"bytes\":{}", facts.status, facts.bytes);
    let _ = write!(out, ",\"duration_ms\":{:.3}", millis(facts.started.elapsed()));
    if let Some(head) = facts.head_after {
        let _ = write!(out, ",\"head_ms\":{:.3}", millis(head));
    }
    if let Some(route) = &facts.route {
        field(out, "route", route.name.as_str());
    }
    if let Some(target) = &facts.target {
        field(out, "service", target.service.as_str());
        field(out, "version", target.version.as_str());
    }
    if let Some(endpoint) = facts.endpoint {
        field(out, "endpoint", &endpoint.to_string());
        let _ = write!(out, ",\"attempts\":{}", facts.attempts);
    }
    if let Some(reason) = facts.reason {
        field(out, "reason", Reason::word(reason));
    }
    if let Some(detail) = &facts.detail {
        field(out, "detail", detail);
    }
    if let Some(inspected) = told(facts) {
        let _ = write!(out, ",\"waf\":{inspected}");
    }
    header(out, "request_id", facts.request_id.as_ref());
    header(out, "traceparent", facts.traceparent.as_ref());
    header(out, "user_agent", facts.user_agent.as_ref());
    out.extend_from_slice(b"}\n");
}

/// What a WAF policy found, if there is something to tell.
fn told(facts: &Facts) -> Option<&waf::Inspected> {
    facts.inspected.as_deref().filter(|inspected| inspected.is_notable())
}

/// Begins an object with the time.
pub(crate) fn time(out: &mut Vec<u8>) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let _ = write!(out, "{{\"time\":{}.{:03}", now.as_secs(), now.subsec_millis());
}

pub(crate) fn path_of(facts: &Facts) -> &str {
    facts.uri.path_and_query().map_or("/", |path| path.as_str())
}

pub(crate) fn header(out: &mut Vec<u8>, name: &str, value: Option<&HeaderValue>) {
    if let Some(value) = value {
        field(out, name, &String::from_utf8_lossy(value.as_bytes()));
    }
}

pub(crate) fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    let _ = write!(out, ",\"{name}\":\"{}\"", Escaped(value));
}

/// Text inside a JSON string: quotes, backslashes and control characters escaped, so that a
/// client cannot forge a line.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        let mut rest = self.0;
        while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c.is_control()) {
            f.write_str(&rest[..at])?;
            let mut chars = rest[at..].chars();
            match chars.next() {
                Some('"') => f.write_str("\\\"")?,
                Some('\\') => f.write_str("\\\\")?,
                Some(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                None => f.write_char(' ')?,
            }
            rest = chars.as_str();
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_forge_a_line() {
        assert_eq!(Escaped("a\"b\\c\nd\u{7f}é").to_string(), "a\\\"b\\\\c\\u000ad\\u007fé");
    }
}
