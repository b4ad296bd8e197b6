//! `/v1/tokens`: who may use the API.

use super::{
    Caller, Problem,
    params::{Body, Segments},
    writes::NotRepeated,
};
use crate::{clock::Moment, plane::Plane, role::Role, tokens::Token};
use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidegate_config::Name;

#[derive(Serialize)]
pub(crate) struct Listed {
    tokens: Vec<Token>,
}

pub(crate) async fn list(State(plane): State<Arc<Plane>>) -> Json<Listed> {
    Json(Listed { tokens: plane.list_tokens() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    name: String,
    role: Role,
    /// From now; absent = never.
    expires_in_seconds: Option<u64>,
}

pub(crate) async fn create(
    State(plane): State<Arc<Plane>>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<Create>,
) -> Result<Response, Problem> {
    let invalid = |error: tidegate_config::InvalidName| Problem::invalid_body(error.to_string());
    let name: Name = wanted.name.parse().map_err(invalid)?;
    let expires = match wanted.expires_in_seconds {
        Some(0) => return Err(Problem::invalid_body("`expires_in_seconds` is 0")),
        Some(seconds) => Some(Moment::now().after(seconds)),
        None => None,
    };
    let made = plane.create_token(&name, wanted.role, expires, &caller.name).await?;
    let no_store = HeaderValue::from_static("no-store");
    Ok((
        StatusCode::CREATED,
        [(header::CACHE_CONTROL, no_store)],
        Extension(NotRepeated),
        Json(made),
    )
        .into_response())
}

#[derive(Serialize)]
pub(crate) struct Revoked {
    revoked: String,
    /// Whether it is on disk; it is in force either way.
    durable: bool,
}

pub(crate) async fn revoke(
    State(plane): State<Arc<Plane>>,
    Extension(caller): Extension<Caller>,
    Segments(id): Segments<String>,
) -> Result<Json<Revoked>, Problem> {
    match plane.revoke_token(&id, &caller.name).await {
        Some(durable) => Ok(Json(Revoked { revoked: id, durable })),
        None => Err(Problem::not_found("there is no such token")),
    }
}
