//! `GET /v1/status`: what runs here, since when, and what somebody should look at.

use crate::{
    clock::Moment,
    plane::{LastReloadError, Plane, WeightsStatus},
    ports::{EndpointStatus, ListenerStatus},
    revisions::RevisionRecord,
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use tidegate_certs::CertificateState;

#[derive(Serialize)]
pub(crate) struct Status {
    node: String,
    version: &'static str,
    pid: u32,
    started: Moment,
    uptime_seconds: u64,
    /// Whether requests are served as they should; why not is in `unready`.
    ready: bool,
    unready: Vec<String>,
    /// Whether everything in force is on disk, and what comes next can be.
    durable: bool,
    revision: RevisionRecord,
    /// The document on disk, if it is refused.
    last_reload_error: Option<LastReloadError>,
    warnings: Vec<String>,
    /// Services whose document weights were edited in vain.
    drift: Vec<WeightsStatus>,
    listeners: Vec<ListenerStatus>,
}

pub(crate) async fn show(State(plane): State<Arc<Plane>>) -> Json<Status> {
    let view = plane.view();
    let unready = plane.edge.unready();
    let (started, since) = plane.started;
    Json(Status {
        node: plane.node.clone(),
        version: plane.version,
        pid: std::process::id(),
        started,
        uptime_seconds: since.elapsed().as_secs(),
        ready: unready.is_empty(),
        unready,
        durable: plane.durable(),
        revision: view.revision.clone(),
        last_reload_error: plane.last_reload_error(),
        warnings: warnings(&plane, view.warnings()),
        drift: view.drift(),
        listeners: plane.edge.listeners(),
    })
}

/// What the document's warnings do not know: a store that takes no change, names without a
/// certificate, upstreams that cannot answer, endpoints that people took out.
fn warnings(plane: &Plane, document: Vec<String>) -> Vec<String> {
    let mut all = document;
    all.extend(plane.unwritable().map(|why| format!("changes cannot be saved: {why}")));
    for certificate in plane.certificates.list() {
        let names = certificate.names.join(", ");
        let error = certificate.last_error.as_deref();
        match (certificate.state, error) {
            (CertificateState::Held, None) => {}
            (CertificateState::Held, Some(error)) => all.push(format!("{names}: {error}")),
            (_, Some(error)) => all.push(format!("no certificate for {names}: {error}")),
            (_, None) => all.push(format!("no certificate for {names} yet")),
        }
    }
    for upstream in plane.edge.upstreams() {
        let out = upstream.endpoints.iter().filter(|endpoint| endpoint.admin != "active");
        for endpoint in out {
            let name = &upstream.name;
            all.push(format!("upstream {name}: {} is set to {}", endpoint.address, endpoint.admin));
        }
        let usable = |e: &&EndpointStatus| e.admin == "active" && e.health != "unhealthy";
        if upstream.endpoints.iter().find(usable).is_none() {
            all.push(format!("upstream {}: no usable endpoint", upstream.name));
        }
    }
    all
}
