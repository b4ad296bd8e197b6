//! `tidegate upstreams [UPSTREAM [ENDPOINT drain|disable|activate]]`

use super::{
    Failure, Remote,
    table::{Table, maybe},
    verbs,
};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tidegate_config::Name;
use tidegate_control::{
    Stamp,
    client::{Call, escape},
};

/// `tidegate upstreams`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Upstreams {
    /// The upstream; all of them if left out
    upstream: Option<Name>,
    /// The endpoint to change, such as 10.0.0.11:8080
    #[arg(requires = "action")]
    endpoint: Option<SocketAddr>,
    /// What to do with it
    action: Option<Action>,
    /// Why, for those who read it later
    #[arg(long, requires = "action")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Action {
    /// No new requests; those in flight finish
    Drain,
    /// As drain, and not checked either
    Disable,
    /// Back into use
    Activate,
}

#[derive(Deserialize)]
struct All {
    upstreams: Vec<Upstream>,
}

#[derive(Deserialize)]
struct Upstream {
    name: String,
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    address: String,
    health: String,
    last_failure: Option<String>,
    admin: String,
    in_flight: u64,
    set: Option<Stamp>,
}

#[derive(Deserialize)]
struct Changed {
    upstream: String,
    address: String,
    state: String,
    durable: bool,
}

pub(super) async fn execute(remote: &Remote, args: &Upstreams) -> Result<String, Failure> {
    match (&args.upstream, args.endpoint, args.action) {
        (Some(upstream), Some(endpoint), Some(action)) => {
            set(remote, upstream, endpoint, action, args.reason.as_deref()).await
        }
        (upstream, _, _) => show(remote, upstream.as_ref()).await,
    }
}

async fn set(
    remote: &Remote,
    upstream: &Name,
    endpoint: SocketAddr,
    action: Action,
    reason: Option<&str>,
) -> Result<String, Failure> {
    let address = escape(&endpoint.to_string());
    let path = format!("/v1/upstreams/{upstream}/endpoints/{address}");
    let state = match action {
        Action::Drain => "drain",
        Action::Disable => "disable",
        Action::Activate => "active",
    };
    let body = json!({ "state": state, "reason": reason });
    let answer = remote.client()?.call::<Value>(Call::new(Method::PUT, path).body(body)).await?;
    if remote.json {
        return verbs::json(&answer.content);
    }
    let Changed { upstream, address, state, durable } = verbs::view(answer.content)?;
    let durable = if durable { "" } else { " (in force, but not on disk yet)" };
    Ok(format!("{upstream} {address}: {state}{durable}"))
}

async fn show(remote: &Remote, upstream: Option<&Name>) -> Result<String, Failure> {
    let path = match upstream {
        Some(upstream) => format!("/v1/upstreams/{upstream}"),
        None => "/v1/upstreams".to_owned(),
    };
    let answer = remote.client()?.call::<Value>(Call::get(path)).await?;
    if remote.json {
        return verbs::json(&answer.content);
    }
    let upstreams = match upstream {
        Some(_) => vec![verbs::view(answer.content)?],
        None => verbs::view::<All>(answer.content)?.upstreams,
    };
    let mut table =
        Table::new(&["UPSTREAM", "ENDPOINT", "STATE", "HEALTH", "IN FLIGHT", "REMARKS"]);
    for upstream in &upstreams {
        for endpoint in &upstream.endpoints {
            table.row([
                upstream.name.clone(),
                endpoint.address.clone(),
                endpoint.admin.clone(),
                endpoint.health.clone(),
                endpoint.in_flight.to_string(),
                maybe(remarks(endpoint)),
            ]);
        }
    }
    Ok(table.to_string())
}

fn remarks(endpoint: &Endpoint) -> Option<String> {
    let taken_out = endpoint.set.as_ref().map(|set| match &set.reason {
        Some(reason) => format!("by {}: {reason}", set.author),
        None => format!("by {}", set.author),
    });
    let remarks: Vec<_> = taken_out.into_iter().chain(endpoint.last_failure.clone()).collect();
    (!remarks.is_empty()).then(|| remarks.join("; "))
}
