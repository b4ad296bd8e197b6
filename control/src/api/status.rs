//! `GET /v1/status`: what runs here, since when, and what somebody should look at.

use crate::{
    clock::Moment,
    plane::{LastReloadError, Plane, WeightsStatus},
    ports::ListenerStatus,
    revisions::RevisionRecord,
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;

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
    /// Whether everything in force is on disk.
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
        warnings: view.warnings(),
        drift: view.drift(),
        listeners: plane.edge.listeners(),
    })
}
