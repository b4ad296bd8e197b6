//! A write runs to its end, even when its client goes away half-way, and is done once if it
//! carries an `Idempotency-Key`.

use super::{BODY_LIMIT, Caller, Problem};
use crate::{
    idempotency::{Answer, Known, LONGEST_BODY, RequestId},
    plane::Plane,
};
use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::{sync::Arc, time::Duration};

/// The whole body has to be here within this.
const BODY_PATIENCE: Duration = Duration::from_secs(15);
/// The longest `Idempotency-Key`, in characters.
const LONGEST_KEY: usize = 255;
const REPLAYED: &str = "idempotency-replayed";

/// On a response: it contains a secret, so it is not kept for copies of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotRepeated;

/// Reads the body of a write and does the rest in a task of its own.
pub(crate) async fn complete(
    State(plane): State<Arc<Plane>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    let body = read(body).await?;
    let id = match (key(&parts.headers)?, parts.extensions.get::<Caller>()) {
        (Some(key), Some(caller)) => {
            let target = parts.uri.to_string();
            let if_match =
                parts.headers.get(header::IF_MATCH).map_or(&b""[..], |tag| tag.as_bytes());
            let request = [parts.method.as_str().as_bytes(), target.as_bytes(), if_match, &body];
            Some(RequestId::new(&caller.subject, key, &request))
        }
        _ => None,
    };
    let request = Request::from_parts(parts, Body::from(body));
    let task = tokio::spawn(async move {
        match id {
            Some(id) => once(&plane, &id, request, next).await,
            None => next.run(request).await,
        }
    });
    // The task panicked: the panic itself is in the log.
    task.await.map_err(|_| Problem::internal("the request could not be finished"))
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    let whole = Limited::new(body, BODY_LIMIT).collect();
    let whole = tokio::time::timeout(BODY_PATIENCE, whole).await.map_err(|_| {
        Problem::slow_request(format!("no whole body within {} s", BODY_PATIENCE.as_secs()))
    })?;
    whole.map(|body| body.to_bytes()).map_err(|error| match error.is::<LengthLimitError>() {
        true => Problem::body_too_large(format!("a body may have {BODY_LIMIT} bytes")),
        false => Problem::bad_request("the body broke off"),
    })
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (1..=LONGEST_KEY).contains(&key.len()) => Ok(Some(key)),
        _ => Err(Problem::bad_request(format!(
            "expected an Idempotency-Key of 1 to {LONGEST_KEY} printable characters"
        ))),
    }
}

async fn once(plane: &Plane, id: &RequestId, request: Request, next: Next) -> Response {
    let _permit = match plane.answers.begin(id).await {
        Ok(Known::New(permit)) => permit,
        Ok(Known::Done(answer)) => return replay(answer),
        Ok(Known::Running) => {
            return Problem::in_progress("ask again with the same key").into_response();
        }
        Ok(Known::Other) => {
            return Problem::idempotency_key_reused("a new request needs a new key")
                .into_response();
        }
        // What only reduces risk works without the store; the rest fails by itself.
        Err(error) => {
            tracing::warn!(%error, "no answers can be looked up; the write is done anyway");
            return next.run(request).await;
        }
    };
    let response = next.run(request).await;
    if !response.status().is_success() {
        return response;
    }
    let repeatable = response.extensions().get::<NotRepeated>().is_none();
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else {
        return Problem::internal("the answer could not be built").into_response();
    };
    let answer = if repeatable { of(&parts, &body) } else { Some(of_secret()) };
    if let Some(answer) = answer
        && let Err(error) = plane.answers.keep(id, answer).await
    {
        tracing::warn!(%error, "an answer is not kept; a copy of its request would be done again");
    }
    Response::from_parts(parts, Body::from(body))
}

fn of(parts: &http::response::Parts, body: &Bytes) -> Option<Answer> {
    if body.len() > LONGEST_BODY {
        tracing::warn!(bytes = body.len(), "an answer is too long to be kept for copies");
        return None;
    }
    let text = |name| parts.headers.get(name)?.to_str().ok().map(str::to_owned);
    Some(Answer {
        status: parts.status.as_u16(),
        content_type: text(header::CONTENT_TYPE),
        etag: text(header::ETAG),
        body: String::from_utf8(body.to_vec()).ok()?,
    })
}

fn of_secret() -> Answer {
    let problem = Problem::already_done("its answer was a secret, which is shown once only");
    let document = problem.document();
    Answer {
        status: document.status,
        content_type: Some("application/problem+json".to_owned()),
        etag: None,
        body: serde_json::to_string(&document).expect("strings and numbers are JSON"),
    }
}

fn replay(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    let kept = [(header::CONTENT_TYPE, answer.content_type), (header::ETAG, answer.etag)];
    for (name, value) in kept {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
