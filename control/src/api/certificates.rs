//! `GET /v1/certificates`: what is held, until when, and what went wrong last.

use crate::plane::Plane;
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use tidegate_certs::CertificateStatus;

#[derive(Serialize)]
pub(crate) struct Certificates {
    certificates: Vec<CertificateStatus>,
}

pub(crate) async fn list(State(plane): State<Arc<Plane>>) -> Json<Certificates> {
    Json(Certificates { certificates: plane.certificates.list() })
}
