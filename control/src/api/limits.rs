//! What everybody together may use: requests at once, and time for each; and the count of them.

use super::Problem;
use crate::plane::Plane;
use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Requests at once, of the control API (all its sockets together) and of the probes; 503 above.
/// Counted from when the body is there: a caller that sends slowly holds up nobody else.
pub(crate) const CONCURRENCY: usize = 64;
/// One request, from its head to its answer's head.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Limits how many requests a router answers at once.
pub(crate) fn at_once(router: Router<Arc<Plane>>) -> Router<Arc<Plane>> {
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    router.layer(middleware::from_fn_with_state(permits, bound))
}

/// Puts time and count around a router.
pub(crate) fn around(router: Router, plane: Arc<Plane>) -> Router {
    router.layer(middleware::from_fn(patience)).layer(middleware::from_fn_with_state(plane, count))
}

async fn bound(
    State(permits): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Ok(_permit) = permits.try_acquire() else {
        return Err(Problem::overloaded(format!("{CONCURRENCY} requests are being answered")));
    };
    Ok(next.run(request).await)
}

async fn patience(request: Request, next: Next) -> Result<Response, Problem> {
    let answer = tokio::time::timeout(PATIENCE, next.run(request)).await;
    answer.map_err(|_| {
        Problem::timeout(format!(
            "no answer within {} s; a write goes on and may still take effect",
            PATIENCE.as_secs()
        ))
    })
}

async fn count(State(plane): State<Arc<Plane>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await.into_response();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    plane.metrics.requests.with_label_values(&[route, response.status().as_str()]).inc();
    response
}
