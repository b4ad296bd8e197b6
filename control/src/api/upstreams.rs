//! `GET /v1/upstreams[/{upstream}]` and `PUT /v1/upstreams/{upstream}/endpoints/{address}`.

use super::{
    Caller, Problem,
    params::{self, Body, Segments},
};
use crate::{
    clock::Stamp,
    plane::{EndpointChange, EndpointState, Plane, View},
    ports::{EndpointStatus, UpstreamStatus},
};
use axum::{Extension, Json, extract::State};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, sync::Arc};
use tidegate_config::Name;

#[derive(Serialize)]
pub(crate) struct Upstreams {
    upstreams: Vec<UpstreamShown>,
}

#[derive(Serialize)]
pub(crate) struct UpstreamShown {
    name: Name,
    endpoints: Vec<EndpointShown>,
}

#[derive(Serialize)]
struct EndpointShown {
    address: SocketAddr,
    health: &'static str,
    last_failure: Option<String>,
    admin: &'static str,
    in_flight: u64,
    /// Who took it out, when and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<Stamp>,
}

impl UpstreamShown {
    fn new(upstream: UpstreamStatus, view: &View) -> Self {
        let shown = |endpoint: EndpointStatus| {
            let id = (upstream.name.clone(), endpoint.address);
            EndpointShown {
                set: view.records.endpoints.get(&id).map(|held| held.record.stamp.clone()),
                address: endpoint.address,
                health: endpoint.health,
                last_failure: endpoint.last_failure,
                admin: endpoint.admin,
                in_flight: endpoint.in_flight,
            }
        };
        let endpoints = upstream.endpoints.into_iter().map(shown).collect();
        Self { endpoints, name: upstream.name }
    }
}

pub(crate) async fn list(State(plane): State<Arc<Plane>>) -> Json<Upstreams> {
    let view = plane.view();
    let upstreams = plane.edge.upstreams().into_iter();
    Json(Upstreams { upstreams: upstreams.map(|u| UpstreamShown::new(u, &view)).collect() })
}

pub(crate) async fn show(
    State(plane): State<Arc<Plane>>,
    Segments(name): Segments<String>,
) -> Result<Json<UpstreamShown>, Problem> {
    let found = plane.edge.upstreams().into_iter().find(|u| u.name.as_str() == name);
    let found = found.map(|upstream| Json(UpstreamShown::new(upstream, &plane.view())));
    found.ok_or_else(|| Problem::not_found(format!("there is no upstream `{name}`")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetEndpoint {
    state: EndpointState,
    reason: Option<String>,
}

pub(crate) async fn set_endpoint(
    State(plane): State<Arc<Plane>>,
    Extension(caller): Extension<Caller>,
    Segments((upstream, address)): Segments<(String, String)>,
    Body(wanted): Body<SetEndpoint>,
) -> Result<Json<EndpointChange>, Problem> {
    let upstream = params::segment(&upstream)?;
    let address = params::segment(&address)?;
    let stamp = caller.stamp(params::reason(wanted.reason.as_deref())?);
    Ok(Json(plane.set_endpoint(&upstream, address, wanted.state, stamp).await?))
}
