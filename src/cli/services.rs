//! `tidegate weights` without a service: all of them.

use super::{
    Failure, Remote,
    table::{Table, maybe},
    verbs,
};
use serde::Deserialize;
use tidegate_control::client::Call;

#[derive(Deserialize)]
struct Services {
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    source: Option<String>,
    drift: bool,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    upstream: String,
    weight: Option<f64>,
    requests: u64,
    failures: u64,
    in_flight: u64,
}

pub(super) async fn show(remote: &Remote) -> Result<String, Failure> {
    let answer = remote.client()?.call::<serde_json::Value>(Call::get("/v1/services")).await?;
    if remote.json {
        return verbs::json(&answer.content);
    }
    let Services { services } = verbs::view(answer.content)?;
    let mut table = Table::new(&[
        "SERVICE",
        "VERSION",
        "WEIGHT",
        "OWNER",
        "UPSTREAM",
        "REQUESTS",
        "FAILURES",
        "IN FLIGHT",
    ]);
    for service in &services {
        let owner = maybe(service.source.as_ref());
        let owner = if service.drift { format!("{owner} (drift)") } else { owner };
        for version in &service.versions {
            table.row([
                service.name.clone(),
                version.name.clone(),
                maybe(version.weight),
                owner.clone(),
                version.upstream.clone(),
                version.requests.to_string(),
                version.failures.to_string(),
                version.in_flight.to_string(),
            ]);
        }
    }
    Ok(table.to_string())
}
