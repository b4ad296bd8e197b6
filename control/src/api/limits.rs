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
/// A caller nobody knows is refused before its body is read, so it holds none for long.
pub(crate) const CONCURRENCY: usize = 64;
/// One request, from its head to its answer's head.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Puts the limits around a router.
pub(crate) fn around(router: Router, plane: Arc<Plane>) -> Router {
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    router
        .layer(middleware::from_fn_with_state(permits, bound))
        .layer(middleware::from_fn_with_state(plane, count))
}

async fn bound(
    State(permits): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Ok(_permit) = permits.try_acquire() else {
        return Err(Problem::overloaded(format!("{CONCURRENCY} requests are being answered")));
    };
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
