//! `/livez`, `/readyz` and `/metrics`.

use super::{Caller, Problem};
use crate::plane::Plane;
use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use prometheus::{Encoder, TextEncoder};
use serde::Serialize;
use std::sync::Arc;

pub(crate) const LIVEZ: &str = "/livez";
pub(crate) const READYZ: &str = "/readyz";

/// The process answers: that is all.
pub(crate) async fn livez() -> &'static str {
    "alive\n"
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    /// Why not; for authenticated callers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<String>>,
    /// Whether everything in force is on disk, and what comes next can be; for authenticated callers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<bool>,
}

/// 200 when requests are served as they should, else 503.
pub(crate) async fn readyz(
    State(plane): State<Arc<Plane>>,
    caller: Option<Extension<Caller>>,
) -> Response {
    let reasons = plane.edge.unready();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let known = caller.is_some();
    let shown =
        Ready { ready, reasons: known.then_some(reasons), durable: known.then(|| plane.durable()) };
    (status, Json(shown)).into_response()
}

/// Everything counted, in Prometheus' text format.
pub(crate) async fn metrics(State(plane): State<Arc<Plane>>) -> Result<Response, Problem> {
    plane.metrics.unwritten.set(i64::try_from(plane.unwritten()).unwrap_or(i64::MAX));
    plane.metrics.store_writable.set(i64::from(plane.unwritable().is_none()));
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    encoder
        .encode(&plane.registry.gather(), &mut text)
        .map_err(|error| Problem::internal(format!("metrics cannot be written: {error}")))?;
    Ok(([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response())
}
