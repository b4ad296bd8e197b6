//! `GET /v1/certificates`: what is held, until when, and what went wrong last; and
//! `GET /v1/certificates/root`: the internal CA's root, for clients to trust;
//! `POST /v1/certificates`: takes one that somebody else obtained.

use super::{Caller, Problem, params::Body};
use crate::plane::Plane;
use axum::{
    Extension, Json,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use tidegate_certs::{CertificateStatus, ImportError, Imported};

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Import {
    /// PEM, the leaf first.
    chain: String,
    /// PEM.
    key: String,
}

// The key is never shown.
impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").finish_non_exhaustive()
    }
}

pub(crate) async fn import(
    State(plane): State<Arc<Plane>>,
    Extension(caller): Extension<Caller>,
    Body(Import { chain, key }): Body<Import>,
) -> Result<(StatusCode, Json<Imported>), Problem> {
    let imported = plane.certificates.import(&chain, &key).await.map_err(|error| match error {
        ImportError::Bad(_) | ImportError::Useless(_) => Problem::invalid_body(error.to_string()),
        ImportError::Store(error) => Problem::store_unavailable(error.to_string()),
    })?;
    tracing::info!(caller = %caller.name, names = ?imported.names, "a certificate was imported");
    Ok((StatusCode::CREATED, Json(imported)))
}
