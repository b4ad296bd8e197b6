//! The control API, `/v1`: one file per resource, and what every request passes first.

mod auth;
mod certificates;
mod config;
mod explain;
mod guard;
mod limits;
mod params;
mod probes;
mod problem;
mod services;
mod status;
mod tokens;
mod upstreams;
mod writes;

pub(crate) use auth::{Caller, Peer};
pub(crate) use problem::Problem;
pub use problem::ProblemDocument;

use crate::{plane::Plane, role::Role};
use axum::{
    Router, middleware,
    routing::{delete, get, post, put},
};
use std::sync::Arc;

/// The largest request body, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// The control API. Every route is behind authentication but `/livez` and `/readyz`; the role
/// a route needs is the group it stands in.
pub(crate) fn control(plane: Arc<Plane>) -> Router {
    let viewer = Router::new()
        .route("/v1/status", get(status::show))
        .route("/v1/config", get(config::show))
        .route("/v1/services", get(services::list))
        .route("/v1/services/{service}/weights", get(services::weights))
        .route("/v1/upstreams", get(upstreams::list))
        .route("/v1/upstreams/{upstream}", get(upstreams::show))
        .route("/v1/certificates", get(certificates::list))
        .route("/v1/certificates/root", get(certificates::root))
        .route("/v1/certificates/events", get(certificates::events))
        .route("/v1/explain", get(explain::show))
        .route("/metrics", get(probes::metrics));
    let deployer = Router::new()
        .route("/v1/config", put(config::owned_by_file).patch(config::owned_by_file))
        .route("/v1/config:reload", post(config::reload))
        .route(
            "/v1/services/{service}/weights",
            put(services::set_weights).delete(services::reset_weights),
        )
        .route("/v1/upstreams/{upstream}/endpoints/{address}", put(upstreams::set_endpoint))
        .route("/v1/certificates:plan", post(certificates::plan))
        .route("/v1/certificates/{verb}", post(certificates::act))
        .route_layer(middleware::from_fn_with_state(Role::Deployer, auth::require));
    let admin = Router::new()
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        .route("/v1/certificates", post(certificates::import))
        .route("/v1/issuers/{verb}", post(certificates::act_on_issuer))
        .route_layer(middleware::from_fn_with_state(Role::Admin, auth::require));
    let open = Router::new()
        .route(probes::LIVEZ, get(probes::livez))
        .route(probes::READYZ, get(probes::readyz));

    // The last layer is the first a request meets.
    let router = viewer
        .merge(deployer)
        .merge(admin)
        .merge(open)
        .fallback(problem::no_such_resource)
        .method_not_allowed_fallback(problem::no_such_method);
    let router = limits::at_once(router)
        .layer(middleware::from_fn_with_state(plane.clone(), writes::complete))
        .layer(middleware::from_fn_with_state(plane.clone(), auth::identify))
        .layer(middleware::from_fn_with_state(plane.clone(), guard::check));
    limits::around(router.with_state(plane.clone()), plane)
}

/// The probes: `/livez`, `/readyz` and `/metrics`, open to whoever reaches their address.
pub(crate) fn probes(plane: Arc<Plane>) -> Router {
    let router = Router::new()
        .route(probes::LIVEZ, get(probes::livez))
        .route(probes::READYZ, get(probes::readyz))
        .route("/metrics", get(probes::metrics))
        .fallback(problem::no_such_resource)
        .method_not_allowed_fallback(problem::no_such_method);
    let router = limits::at_once(router);
    limits::around(router.with_state(plane.clone()), plane)
}
