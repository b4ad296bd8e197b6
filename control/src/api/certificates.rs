//! `GET /v1/certificates`: what is held, until when, and what went wrong last; and
//! `GET /v1/certificates/root`: the internal CA's root, for clients to trust;
//! `POST /v1/certificates`: takes one that somebody else obtained;
//! `GET /v1/certificates/events?after=ID`: what happened lately;
//! `POST /v1/certificates:plan`: a dry run;
//! `POST /v1/certificates/NAME:renew`, `NAME:revoke` and `/v1/issuers/NAME:rollover`.

use super::{
    Caller, Problem,
    params::{Body, Params, Segments},
};
use crate::{plane::Plane, role::Role};
use axum::{
    Extension, Json,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use tidegate_certs::{
    CertificateStatus, CertsError, Event, ImportError, Imported, Plan, RevocationReason,
};

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

/// Which events are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct After {
    /// The id of the last one that is known.
    after: u64,
}

#[derive(Serialize)]
pub(crate) struct Events {
    events: Vec<Event>,
}

pub(crate) async fn events(
    State(plane): State<Arc<Plane>>,
    Params(After { after }): Params<After>,
) -> Json<Events> {
    Json(Events { events: plane.certificates.events(after) })
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

/// What a dry run looks at.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PlanFor {
    /// Without any: what would be ordered now.
    names: Vec<String>,
}

/// `plan`: asks authorities, name servers and this node's addresses, so not for viewers.
pub(crate) async fn plan(
    State(plane): State<Arc<Plane>>,
    Body(PlanFor { names }): Body<PlanFor>,
) -> Json<Plan> {
    Json(plane.certificates.plan(&names).await)
}

/// What a verb is told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Told {
    /// Of a revocation.
    reason: RevocationReason,
}

#[derive(Serialize)]
pub(crate) struct Done {
    /// The certificate's name, or the issuer's.
    name: String,
    /// What was done.
    done: &'static str,
}

/// `renew` and `revoke`. Names hold no `:`; what stands behind the last one is the verb.
pub(crate) async fn act(
    State(plane): State<Arc<Plane>>,
    Extension(caller): Extension<Caller>,
    Segments(segment): Segments<String>,
    told: Result<Body<Told>, Problem>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let (name, verb) = segment.rsplit_once(':').unwrap_or((&segment, ""));
    let (status, done) = match verb {
        "renew" => {
            plane.certificates.renew(name, caller.role >= Role::Admin).map_err(problem)?;
            (StatusCode::ACCEPTED, "queued")
        }
        "revoke" if caller.role < Role::Admin => {
            return Err(Problem::forbidden("revoking needs the role `admin`"));
        }
        "revoke" => {
            let Body(told) = told?;
            plane.certificates.revoke(name, told.reason).await.map_err(problem)?;
            (StatusCode::OK, "revoked")
        }
        _ => return Err(Problem::not_found("certificates know `:renew` and `:revoke`")),
    };
    tracing::info!(caller = %caller.name, name, verb, "a certificate was acted on");
    Ok((status, Json(Done { name: name.to_owned(), done })))
}

/// `rollover`: another key for our account there.
pub(crate) async fn act_on_issuer(
    State(plane): State<Arc<Plane>>,
    Extension(caller): Extension<Caller>,
    Segments(segment): Segments<String>,
) -> Result<Json<Done>, Problem> {
    let Some(name) = segment.strip_suffix(":rollover") else {
        return Err(Problem::not_found("issuers know `:rollover`"));
    };
    plane.certificates.roll_account_over(name).await.map_err(problem)?;
    tracing::info!(caller = %caller.name, name, "the account key was rolled over");
    Ok(Json(Done { name: name.to_owned(), done: "rolled over" }))
}

fn problem(error: CertsError) -> Problem {
    match error {
        CertsError::Name { .. } => Problem::not_found(error.to_string()),
        CertsError::Early { .. } => Problem::too_early(error.to_string()),
        CertsError::Store(_) => Problem::store_unavailable(error.to_string()),
        other => Problem::authority_failed(other.to_string()),
    }
}
