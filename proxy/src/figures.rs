//! What the data path says of itself, for the control plane.

use crate::core::Core;
use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed};
use tidegate_config::{Name, Weight};
use tidegate_release::EndpointAdmin;

/// A listener in force.
#[derive(Clone, Debug)]
pub struct ListenerFigures {
    /// Its name.
    pub name: Name,
    /// The address bound.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether it speaks HTTP/1.
    pub http1: bool,
    /// Whether it speaks HTTP/2.
    pub http2: bool,
    /// Open connections.
    pub connections: u64,
}

/// A version of a service, with what it did since the process started.
#[derive(Clone, Debug)]
pub struct VersionFigures {
    /// The service.
    pub service: Name,
    /// The version.
    pub version: Name,
    /// The upstream it points at.
    pub upstream: Name,
    /// The weight in force.
    pub weight: Weight,
    /// Requests finished.
    pub requests: u64,
    /// Of these, those with a status of 500 or more and those broken off.
    pub failures: u64,
    /// Requests in flight.
    pub in_flight: u64,
}

/// An endpoint of an upstream.
#[derive(Clone, Debug)]
pub struct EndpointFigures {
    /// The upstream.
    pub upstream: Name,
    /// The address.
    pub address: SocketAddr,
    /// `unchecked`, `unknown`, `healthy` or `unhealthy`.
    pub health: &'static str,
    /// What the last check said, if it failed.
    pub last_failure: Option<String>,
    /// What an operator said.
    pub admin: Option<EndpointAdmin>,
    /// Requests in flight.
    pub in_flight: u64,
    /// Idle connections kept, over all workers.
    pub idle_connections: u64,
}

pub(crate) fn listeners(core: &Core) -> Vec<ListenerFigures> {
    let snapshot = core.snapshot();
    let listeners = core.listeners();
    let figures = listeners.iter().map(|listener| {
        let listening = match snapshot.listeners.get(&listener.name) {
            Some(listening) => listening.clone(),
            None => listener.last(),
        };
        ListenerFigures {
            name: listener.name.clone(),
            address: listener.bound,
            tls: listening.tls.is_some(),
            http1: listening.document.protocols.http1,
            http2: listening.document.protocols.http2,
            connections: listener.open.load(Relaxed) as u64,
        }
    });
    figures.collect()
}

pub(crate) fn versions(core: &Core) -> Vec<VersionFigures> {
    let snapshot = core.snapshot();
    let all = snapshot.services.iter().flat_map(|service| {
        service.versions.iter().map(|version| VersionFigures {
            service: service.name.clone(),
            version: version.name.clone(),
            upstream: version.upstream.name.clone(),
            weight: version.weight,
            requests: version.cells.iter().map(|c| c.requests.load(Relaxed)).sum(),
            failures: version.cells.iter().map(|c| c.failures.load(Relaxed)).sum(),
            in_flight: version.cells.iter().map(|c| c.in_flight.load(Relaxed)).sum::<i64>().max(0)
                as u64,
        })
    });
    all.collect()
}

pub(crate) fn endpoints(core: &Core) -> Vec<EndpointFigures> {
    let snapshot = core.snapshot();
    let all = snapshot.upstreams.values().flat_map(|upstream| {
        upstream.endpoints.iter().map(|endpoint| EndpointFigures {
            upstream: upstream.name.clone(),
            address: endpoint.address,
            health: endpoint.health().word(),
            last_failure: endpoint.last_failure().map(|failure| failure.to_string()),
            admin: endpoint.admin(),
            in_flight: u64::from(endpoint.in_flight.load(Relaxed)),
            idle_connections: endpoint.pools.iter().map(|pool| pool.idle() as u64).sum(),
        })
    });
    all.collect()
}

/// Reasons not to send this process traffic: a drain, or endpoints whose first check is still to
/// come.
pub(crate) fn unready(core: &Core) -> Vec<String> {
    if core.is_draining() {
        return vec!["draining".to_owned()];
    }
    let waiting = endpoints(core).into_iter().filter(|endpoint| {
        endpoint.health == "unknown" && endpoint.admin != Some(EndpointAdmin::Disable)
    });
    waiting.map(|e| format!("upstream {}: {} is not checked yet", e.upstream, e.address)).collect()
}
