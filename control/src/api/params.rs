//! Reading what a request carries: path segments, JSON bodies, `If-Match`. Every error is a
//! problem document.

use super::Problem;
use crate::{etag::ETag, plane::Precondition};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
};
use http::{HeaderMap, header, request::Parts};
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// One path segment, parsed.
pub(crate) fn segment<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: T::Err| Problem::not_found(error.to_string()))
}

/// The path's segments.
pub(crate) struct Segments<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(segments)| Self(segments))
            .map_err(|error| Problem::not_found(error.body_text()))
    }
}

/// The query.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(params)| Self(params))
            .map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// A JSON body. Its media type is not looked at, so that `curl -d` works; pages of other sites
/// are kept out by their origin, not by this.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| Problem::bad_request(error.body_text()))?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::invalid_body(error.to_string()))
    }
}

/// A JSON body that may be left out.
pub(crate) struct MaybeBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| Problem::bad_request(error.body_text()))?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::invalid_body(error.to_string()))
    }
}

/// The `If-Match` a write has to carry.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Precondition, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter().peekable();
    if values.peek().is_none() {
        return Err(Problem::precondition_required(
            "send If-Match with the ETag the resource had when you read it, or `*`",
        ));
    }
    let mut tags = Vec::new();
    for value in values {
        let malformed = || Problem::bad_request("If-Match is not a list of entity tags");
        let value = value.to_str().map_err(|_| malformed())?.trim();
        if value == "*" {
            return Ok(Precondition::Any);
        }
        tags.extend(ETag::parse_list(value).ok_or_else(malformed)?);
    }
    Ok(Precondition::Is(tags))
}

/// A reason people give: at most 500 characters, so that records stay small.
pub(crate) fn reason(text: Option<&str>) -> Result<Option<&str>, Problem> {
    const LONGEST: usize = 500;
    match text {
        Some(text) if text.chars().count() > LONGEST => {
            Err(Problem::invalid_body(format!("a reason may have {LONGEST} characters")))
        }
        other => Ok(other.filter(|text| !text.trim().is_empty())),
    }
}
