//! The WAF's audit log: a record for each request in which rules matched or that a policy would
//! refuse, with everything needed to judge the decision. Written off the workers, at once.

use super::report::{Decision, Inspected, Quoted, Whole};
use crate::{
    access::{field, header, path_of, time},
    lines::Lines,
    observe::Facts,
};
use std::io::Write;
use tidegate_config::WafMode;

/// Records waiting for the writer.
const QUEUE: usize = 4_096;
/// Request headers told of one request.
const HEADERS: usize = 50;
/// Bytes told of a header's name, and of its value.
const HEADER_BYTES: usize = 256;
/// Headers whose values are secrets.
const SECRET: [&[u8]; 5] =
    [b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"x-auth-token"];

/// Where audit records go: one JSON object a line.
pub struct AuditLog {
    lines: Lines,
}

impl AuditLog {
    /// Starts the writer's thread; it ends when the log is dropped.
    pub fn new(sink: impl Write + Send + 'static) -> Self {
        Self { lines: Lines::new("WAF audit log", QUEUE, sink) }
    }

    /// Records lost because the writer was behind.
    pub(crate) fn dropped(&self) -> u64 {
        self.lines.dropped()
    }

    /// Writes the record of a request that is over.
    pub(crate) fn write(&self, facts: &Facts) {
        if let Some(inspected) = facts.inspected.as_deref().filter(|inspected| inspected.audited) {
            let mut line = Vec::with_capacity(1_024);
            record(&mut line, facts, inspected);
            self.lines.write(line);
        }
    }
}

/// Writing to a Vec cannot fail; results are dropped for that reason.
fn record(out: &mut Vec<u8>, facts: &Facts, inspected: &Inspected) {
    let waf = &inspected.waf;
    time(out);
    header(out, "request_id", facts.request_id.as_ref());
    field(out, "client", &facts.client.to_string());
    field(out, "listener", facts.listener.as_str());
    field(out, "method", facts.method.as_str());
    header(out, "host", facts.host.as_ref());
    field(out, "path", path_of(facts));
    let _ = write!(out, ",\"status\":{}", facts.status);
    if let Some(route) = &facts.route {
        field(out, "route", route.name.as_str());
    }
    field(out, "policy", waf.name.as_str());
    field(out, "mode", if waf.document.mode == WafMode::Block { "block" } else { "detect" });
    field(out, "outcome", inspected.outcome.word());
    let _ = write!(out, "{},\"rules\":[", Decision(inspected));
    for (at, found) in inspected.matches.iter().enumerate() {
        let _ = write!(out, "{}{}", if at > 0 { "," } else { "" }, Whole(found));
    }
    out.extend_from_slice(b"],\"headers\":[");
    for (at, (name, value)) in inspected.headers.iter().take(HEADERS).enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let shown = match value {
            Some(value) if !SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) => value,
            _ => &b"***"[..],
        };
        let _ =
            write!(out, "{comma}[{},{}]", Quoted(name, HEADER_BYTES), Quoted(shown, HEADER_BYTES));
    }
    out.extend_from_slice(b"]}\n");
}
