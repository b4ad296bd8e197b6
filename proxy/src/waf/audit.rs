//! The WAF's audit log: a record for each request in which rules matched or that a policy would
//! refuse, with everything needed to judge the decision. Written off the workers, at once.

use super::report::{Inspected, Quoted, Values};
use crate::{
    access::{field, header, path_of, time},
    lines::Lines,
    observe::Facts,
};
use std::io::Write;
use tidegate_config::WafMode;
use tidegate_waf::Cause;

/// Records waiting for the writer.
const QUEUE: usize = 4_096;
/// Request headers told of one request.
const HEADERS: usize = 50;
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
    if let Some(finding) = &inspected.check {
        let _ = write!(out, ",\"decided_by\":{{\"check\":\"{}\"", finding.check.word());
        for (kind, value) in &finding.by {
            let _ = write!(out, ",\"{kind}\":{}", Quoted(value));
        }
        out.push(b'}');
    }
    match inspected.cause.filter(|_| inspected.check.is_none()) {
        Some(Cause::Rule(id)) => drop(write!(out, ",\"decided_by\":{{\"rule\":{id}}}")),
        Some(Cause::Limit(limit)) => {
            let _ = write!(out, ",\"decided_by\":{{\"limit\":\"{}\"}}", limit.word());
        }
        None => {}
    }
    if let Some(score) = inspected.inbound {
        let _ = write!(out, ",\"score\":{score}");
    }
    if let Some(score) = inspected.outbound {
        let _ = write!(out, ",\"outbound_score\":{score}");
    }
    out.extend_from_slice(b",\"rules\":[");
    for (at, found) in inspected.matches.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{{\"id\":{},\"phase\":{}", found.id, found.phase);
        let _ = write!(out, ",\"message\":{}", Quoted(&found.message));
        if !found.data.is_empty() {
            let _ = write!(out, ",\"data\":{}", Quoted(&found.data));
        }
        if let Some(severity) = found.severity {
            let _ = write!(out, ",\"severity\":{severity}");
        }
        let _ = write!(out, ",\"score\":{}", found.score);
        out.extend_from_slice(b",\"tags\":[");
        for (at, tag) in found.tags.iter().enumerate() {
            let _ = write!(out, "{}{}", if at > 0 { "," } else { "" }, Quoted(tag));
        }
        let _ = write!(out, "],\"values\":{}}}", Values(found));
    }
    out.extend_from_slice(b"],\"headers\":[");
    for (at, (name, value)) in inspected.headers.iter().take(HEADERS).enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let shown = match value {
            Some(value) if !SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) => value,
            _ => &b"***"[..],
        };
        let _ = write!(out, "{comma}[{},{}]", Quoted(name), Quoted(shown));
    }
    out.extend_from_slice(b"]}\n");
}
