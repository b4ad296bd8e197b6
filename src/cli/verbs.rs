//! The verbs, and how they end: exit code 0 when done, 1 on an error, 2 for a usage error.

use super::{
    Failure, Remote, certs, explain, offline, reload, services, status, tokens, upstreams, waf,
    weights,
};
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Everything that starts no process.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Check configuration files and report every fault
    Check(offline::Check),
    /// Show what changes between two configuration files
    Diff(offline::Diff),
    /// Print the JSON Schema of the configuration file
    Schema,
    /// Show what runs, since when, and what needs attention
    Status,
    /// Show or move the traffic of a service between its versions
    Weights(weights::Weights),
    /// Show upstreams, or take an endpoint out and put it back
    Upstreams(upstreams::Upstreams),
    /// Show the certificates and when they expire, or the internal CA's root
    Certs(certs::Certs),
    /// Show what would happen to a request
    Explain(explain::Explain),
    /// Read the configuration files again
    Reload(reload::Reload),
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(tokens::Token),
    /// Try a WAF policy, or make room in it
    #[command(subcommand)]
    Waf(waf::Command),
}

/// Carries a verb out: what it found goes to stdout, what went wrong to stderr.
pub(crate) async fn execute(remote: &Remote, verb: &Verb) -> ExitCode {
    let outcome = match carry_out(remote, verb).await {
        Ok(text) => print(&text),
        Err(Failure::Found(text)) => print(&text).and(Err(Failure::Found(text))),
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::Found(_)) => ExitCode::from(failure.code()),
        Err(failure) => {
            // Nowhere is left to complain to.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

async fn carry_out(remote: &Remote, verb: &Verb) -> Result<String, Failure> {
    match verb {
        Verb::Check(check) => offline::check(check, remote.json),
        Verb::Diff(diff) => offline::diff(diff, remote.json),
        Verb::Schema => Ok(offline::schema()),
        Verb::Status => status::show(remote).await,
        Verb::Weights(weights) if weights.service.is_none() => services::show(remote).await,
        Verb::Weights(weights) => weights::execute(remote, weights).await,
        Verb::Upstreams(upstreams) => upstreams::execute(remote, upstreams).await,
        Verb::Certs(certs) => certs::execute(remote, certs).await,
        Verb::Explain(explain) => explain::show(remote, explain).await,
        Verb::Reload(reload) => reload::execute(remote, reload).await,
        Verb::Waf(command) => waf::execute(command, remote.json),
        Verb::Token(token) => tokens::execute(remote, token).await,
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        // The reader has seen enough (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::from),
    }
}

/// JSON for people and programs.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::Other(error.to_string()))
}

/// Reads JSON into what a table shows of it.
pub(super) fn view<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, Failure> {
    serde_json::from_value(value)
        .map_err(|error| Failure::Other(format!("the control API speaks another version: {error}")))
}
