//! `tidegate status`

use super::{
    Failure, Remote,
    table::{Table, printable},
    verbs,
};
use serde::Deserialize;
use std::fmt::Write;
use tidegate_control::{Fault, RevisionRecord, client::Call};

#[derive(Deserialize)]
struct Status {
    node: String,
    version: String,
    pid: u32,
    uptime_seconds: u64,
    ready: bool,
    unready: Vec<String>,
    durable: bool,
    revision: RevisionRecord,
    last_reload_error: Option<ReloadError>,
    warnings: Vec<String>,
    drift: Vec<Drift>,
    listeners: Vec<Listener>,
}

#[derive(Deserialize)]
struct ReloadError {
    faults: Vec<Fault>,
}

#[derive(Deserialize)]
struct Drift {
    service: String,
}

#[derive(Deserialize)]
struct Listener {
    name: String,
    address: String,
    tls: bool,
    protocols: Vec<String>,
    connections: u64,
}

pub(super) async fn show(remote: &Remote) -> Result<String, Failure> {
    let answer = remote.client()?.call::<serde_json::Value>(Call::get("/v1/status")).await?;
    if remote.json {
        return verbs::json(&answer.content);
    }
    Ok(render(&verbs::view(answer.content)?))
}

fn render(status: &Status) -> String {
    let mut text = String::new();
    let mut say = |key: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key:<9} {}", printable(value));
    };
    say("node", &format!("{} (tidegate {}, pid {})", status.node, status.version, status.pid));
    say("up", &duration(status.uptime_seconds));
    say("ready", if status.ready { "yes" } else { "no" });
    for reason in &status.unready {
        say("", reason);
    }
    say("revision", &format!("{} ({})", status.revision.number, cause(&status.revision)));
    if !status.durable {
        say("durable", "no: what is in force is not all on disk, or nothing more can be saved");
    }
    if let Some(error) = &status.last_reload_error {
        say("reload", "the configuration on disk is refused; the one in force stays");
        for fault in &error.faults {
            say("", &fault.to_string());
        }
    }
    for drift in &status.drift {
        let service = &drift.service;
        say(
            "drift",
            &format!(
                "the document's weights of service `{service}` were edited, but the API owns \
                 them (`tidegate weights {service}`)"
            ),
        );
    }
    for warning in &status.warnings {
        say("warning", warning);
    }
    let mut listeners = Table::new(&["LISTENER", "ADDRESS", "TLS", "PROTOCOLS", "CONNECTIONS"]);
    for listener in &status.listeners {
        listeners.row([
            listener.name.clone(),
            listener.address.clone(),
            if listener.tls { "yes" } else { "no" }.to_owned(),
            listener.protocols.join(", "),
            listener.connections.to_string(),
        ]);
    }
    format!("{text}\n{listeners}")
}

fn cause(revision: &RevisionRecord) -> String {
    use tidegate_control::Cause;
    match &revision.cause {
        Cause::Start => "loaded at start".to_owned(),
        Cause::Files => "a file changed".to_owned(),
        Cause::Signal => "reloaded by a signal".to_owned(),
        Cause::Api { author, reason: None } => format!("reloaded by {author}"),
        Cause::Api { author, reason: Some(reason) } => format!("reloaded by {author}: {reason}"),
    }
}

/// `3d 4h`, `4h 5m`, `5m 6s`, `6s`
fn duration(seconds: u64) -> String {
    let units = [
        ("d", seconds / 86_400),
        ("h", seconds / 3_600 % 24),
        ("m", seconds / 60 % 60),
        ("s", seconds % 60),
    ];
    let first = units.iter().position(|(_, n)| *n > 0).unwrap_or(3);
    let shown: Vec<_> =
        units[first..].iter().take(2).map(|(unit, n)| format!("{n}{unit}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_short() {
        for (seconds, text) in [(0, "0s"), (61, "1m 1s"), (3_600, "1h 0m"), (90_061, "1d 1h")] {
            assert_eq!(super::duration(seconds), text);
        }
    }
}
