//! Errors as RFC 9457 problem documents: the one place where they become responses.

use crate::{
    plane::{EndpointError, ReloadFailed, TokenError, WeightsError},
    source::Fault,
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

/// `application/problem+json`
pub(crate) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// Says the reason word without the body having to be read.
pub(crate) const REASON: HeaderName = HeaderName::from_static("x-tidegate-reason");

/// An error on its way to the client.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    reason: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The document itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// A URI per kind of problem; ends with the reason word.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem, for people.
    pub title: String,
    /// The response's status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The kind of problem, for programs; the same word is in logs and metrics.
    pub reason: String,
    /// Every fault found, when there may be several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $title:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(detail: impl Into<String>) -> Self {
            Self {
                status: StatusCode::$status,
                reason: stringify!($name),
                title: $title,
                detail: detail.into(),
                errors: Vec::new(),
                headers: Vec::new(),
            }
        }
    )*};
}

impl Problem {
    problems! {
        /// The request cannot be understood.
        bad_request = BAD_REQUEST, "The request is malformed";
        /// Nobody has said who is asking.
        unauthenticated = UNAUTHORIZED, "Authentication is needed";
        /// The caller may not do this.
        forbidden = FORBIDDEN, "The caller's role does not allow this";
        /// A page of another site sent it.
        foreign_origin = FORBIDDEN, "The request comes from a foreign origin";
        /// `Host` is not ours: a page of another site may have rebound its name.
        foreign_host = MISDIRECTED_REQUEST, "The Host is not one of this API";
        /// No such path, service, upstream, ...
        not_found = NOT_FOUND, "There is no such resource";
        /// The path has no such method.
        method_not_allowed = METHOD_NOT_ALLOWED, "The resource has no such method";
        /// The body did not arrive in time.
        slow_request = REQUEST_TIMEOUT, "The request did not arrive in time";
        /// Another writer was faster.
        stale = PRECONDITION_FAILED, "The resource has changed since it was read";
        /// A write must say what it replaces.
        precondition_required = PRECONDITION_REQUIRED, "If-Match is needed";
        /// Over [`BODY_LIMIT`](crate::api::BODY_LIMIT).
        body_too_large = PAYLOAD_TOO_LARGE, "The request body is too large";
        /// The body is not JSON of the expected shape.
        invalid_body = UNPROCESSABLE_ENTITY, "The request body is invalid";
        /// The document on disk is refused.
        invalid_config = UNPROCESSABLE_ENTITY, "The configuration is refused";
        /// See [`WeightsError::UnknownVersion`].
        unknown_version = UNPROCESSABLE_ENTITY, "The service has no such version";
        /// See [`WeightsError::AllZero`].
        all_zero = UNPROCESSABLE_ENTITY, "At least one version needs a weight above 0";
        /// Too fine, too large or no number.
        invalid_weight = UNPROCESSABLE_ENTITY, "A weight is invalid";
        /// The key was used for another request.
        idempotency_key_reused = UNPROCESSABLE_ENTITY, "The Idempotency-Key belongs to another request";
        /// The first copy is not done yet.
        in_progress = CONFLICT, "The same request is being done";
        /// Done, but its answer contains a secret and was not kept.
        already_done = CONFLICT, "The request was done before and its answer is not repeated";
        /// The document belongs to its files.
        document_owned_by_file = CONFLICT, "The document is owned by its files";
        /// It was done a moment ago.
        too_early = CONFLICT, "It is too early to do this again";
        /// A bound is reached.
        too_many = CONFLICT, "There are too many already";
        /// Too many requests at once.
        overloaded = SERVICE_UNAVAILABLE, "Too many requests at once";
        /// The answer took too long; a write goes on nevertheless.
        timeout = SERVICE_UNAVAILABLE, "The answer takes too long";
        /// A certificate authority did not do what it was asked.
        authority_failed = BAD_GATEWAY, "The certificate authority failed";
        /// The store did not take a change that has to be durable.
        store_unavailable = SERVICE_UNAVAILABLE, "The store is not available";
        /// Our fault.
        internal = INTERNAL_SERVER_ERROR, "An internal error";
    }

    /// Adds a response header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The document that is sent.
    pub(crate) fn document(&self) -> ProblemDocument {
        ProblemDocument {
            kind: format!("urn:tidegate:problem:{}", self.reason),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            reason: self.reason.to_owned(),
            errors: self.errors.clone(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.document())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
        headers.insert(REASON, HeaderValue::from_static(self.reason));
        headers.extend(self.headers);
        response
    }
}

impl From<WeightsError> for Problem {
    fn from(error: WeightsError) -> Self {
        let detail = error.to_string();
        match error {
            WeightsError::UnknownService(_) => Self::not_found(detail),
            WeightsError::UnknownVersion { .. } => Self::unknown_version(detail),
            WeightsError::AllZero(_) => Self::all_zero(detail),
            WeightsError::Stale(_) => Self::stale(detail),
            WeightsError::Store(_) => Self::store_unavailable(detail),
        }
    }
}

impl From<EndpointError> for Problem {
    fn from(error: EndpointError) -> Self {
        let detail = error.to_string();
        match error {
            EndpointError::UnknownUpstream(_) | EndpointError::UnknownEndpoint(..) => {
                Self::not_found(detail)
            }
            EndpointError::Store(_) => Self::store_unavailable(detail),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let detail = error.to_string();
        match error {
            TokenError::TooMany => Self::too_many(detail),
            TokenError::Random(_) => Self::internal(detail),
            TokenError::Store(_) => Self::store_unavailable(detail),
        }
    }
}

impl From<ReloadFailed> for Problem {
    fn from(failed: ReloadFailed) -> Self {
        let detail = match failed.faults.len() {
            1 => "1 fault; the configuration in force stays".to_owned(),
            n => format!("{n} faults; the configuration in force stays"),
        };
        Self { errors: failed.faults, ..Self::invalid_config(detail) }
    }
}

/// Answers paths that are not the API's.
pub(crate) async fn no_such_resource(uri: http::Uri) -> Problem {
    Problem::not_found(format!("there is nothing at `{}`", uri.path()))
}

/// Answers methods a path does not have.
pub(crate) async fn no_such_method(method: http::Method, uri: http::Uri) -> Problem {
    Problem::method_not_allowed(format!("`{}` has no method {method}", uri.path()))
}
