//! `GET /v1/certificates`: what is held, until when, and what went wrong last; and
//! `GET /v1/certificates/root`: the internal CA's root, for clients to trust.

use crate::plane::Plane;
use axum::{
    Json,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
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

pub(crate) async fn root(State(plane): State<Arc<Plane>>) -> Response {
    // RFC 8555 section 9.1 registers the type for a chain of certificates in PEM.
    let kind = [(CONTENT_TYPE, "application/pem-certificate-chain")];
    (kind, plane.certificates.root_pem()).into_response()
}
