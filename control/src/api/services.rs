//! `GET /v1/services` and `/v1/services/{service}/weights`.

use super::{
    Caller, Problem,
    params::{self, Body, MaybeBody, Segments},
};
use crate::{
    plane::{Origin, Plane, WeightsStatus},
    ports::VersionStatus,
};
use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use tidegate_config::{Name, Weight};

#[derive(Serialize)]
pub(crate) struct ServiceShown {
    name: Name,
    /// Whose the weights are.
    source: Option<Origin>,
    drift: bool,
    versions: Vec<VersionShown>,
}

/// A [`VersionStatus`] with its weight as people write it.
#[derive(Serialize)]
struct VersionShown {
    name: Name,
    upstream: Name,
    weight: Option<Weight>,
    requests: u64,
    failures: u64,
    in_flight: u64,
}

impl From<VersionStatus> for VersionShown {
    fn from(status: VersionStatus) -> Self {
        Self {
            name: status.name,
            upstream: status.upstream,
            weight: Weight::try_from_hundredths(status.weight_hundredths),
            requests: status.requests,
            failures: status.failures,
            in_flight: status.in_flight,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Services {
    services: Vec<ServiceShown>,
}

pub(crate) async fn list(State(plane): State<Arc<Plane>>) -> Json<Services> {
    let view = plane.view();
    let services = plane.edge.services().into_iter().map(|service| {
        let weights = view.weights(service.name.as_str());
        ServiceShown {
            source: weights.as_ref().map(|weights| weights.source),
            drift: weights.is_some_and(|weights| weights.drift),
            name: service.name,
            versions: service.versions.into_iter().map(VersionShown::from).collect(),
        }
    });
    Json(Services { services: services.collect() })
}

pub(crate) async fn weights(
    State(plane): State<Arc<Plane>>,
    Segments(service): Segments<String>,
) -> Result<Response, Problem> {
    let weights = plane.view().weights(&service);
    weights
        .map(answer)
        .ok_or_else(|| Problem::not_found(format!("there is no service `{service}`")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetWeights {
    /// Numbers are read as text, so that 33.33 is exactly that.
    weights: BTreeMap<String, serde_json::Number>,
    reason: Option<String>,
}

pub(crate) async fn set_weights(
    State(plane): State<Arc<Plane>>,
    Extension(caller): Extension<Caller>,
    Segments(service): Segments<String>,
    headers: HeaderMap,
    Body(wanted): Body<SetWeights>,
) -> Result<Response, Problem> {
    let service: Name = params::segment(&service)?;
    let precondition = params::if_match(&headers)?;
    let reason = params::reason(wanted.reason.as_deref())?;
    let weights = wanted.weights.iter().map(|(version, number)| {
        let version: Name = version.parse().map_err(|error: tidegate_config::InvalidName| {
            Problem::unknown_version(error.to_string())
        })?;
        let weight: Weight = number
            .to_string()
            .parse()
            .map_err(|error| Problem::invalid_weight(format!("version `{version}`: {error}")))?;
        Ok((version, weight))
    });
    let weights = weights.collect::<Result<_, Problem>>()?;
    let stamp = caller.stamp(reason);
    Ok(answer(plane.set_weights(&service, weights, &precondition, stamp).await?))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reset {
    reason: Option<String>,
}

pub(crate) async fn reset_weights(
    State(plane): State<Arc<Plane>>,
    Extension(caller): Extension<Caller>,
    Segments(service): Segments<String>,
    headers: HeaderMap,
    MaybeBody(Reset { reason }): MaybeBody<Reset>,
) -> Result<Response, Problem> {
    let service: Name = params::segment(&service)?;
    let precondition = params::if_match(&headers)?;
    let stamp = caller.stamp(params::reason(reason.as_deref())?);
    Ok(answer(plane.reset_weights(&service, &precondition, stamp).await?))
}

fn answer(status: WeightsStatus) -> Response {
    ([(header::ETAG, status.etag().to_string())], Json(status)).into_response()
}
