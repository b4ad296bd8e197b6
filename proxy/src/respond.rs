//! Answers of our own: refusals, redirects, fixed responses. The one place where errors become
//! HTTP.

use crate::{body::ResponseBody, reason::Reason};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};
use tidegate_config::HeaderOps;

/// The header that carries the reason word.
pub(crate) const REASON: HeaderName = HeaderName::from_static("x-tidegate-reason");

/// Why a request is not answered by an upstream. The client learns the reason word; `detail`
/// is for the operator's log.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) detail: Option<String>,
    /// Headers for the client, such as Retry-After.
    pub(crate) headers: Option<Box<HeaderMap>>,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: Some(detail.into()), headers: None }
    }

    /// The connection ends with the answer: nothing that follows on it will be served. On HTTP/2
    /// that is the client's to do.
    pub(crate) fn closing(mut self, version: http::Version) -> Self {
        if version != http::Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            self.headers.get_or_insert_default().insert(CONNECTION, close);
        }
        self
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: None, headers: None }
    }
}

/// The client's view of a refusal: status, reason word, nothing else.
pub(crate) fn refusal(refusal: &Refusal) -> Response<Bytes> {
    let reason = refusal.reason;
    let status = reason.status();
    let text = format!("{} {}\n", status.as_u16(), reason.word());
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REASON, HeaderValue::from_static(reason.word()));
    if reason == Reason::Method {
        let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        headers.insert(ALLOW, allowed);
    }
    for (name, value) in refusal.headers.iter().flat_map(|headers| headers.iter()) {
        headers.insert(name, value.clone());
    }
    response
}

pub(crate) fn redirect(status: StatusCode, to: &str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = status;
    if let Ok(to) = HeaderValue::try_from(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

pub(crate) fn fixed(
    status: StatusCode,
    body: Bytes,
    content_type: HeaderValue,
) -> Response<ResponseBody> {
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let mut response =
        Response::new(if bodiless { ResponseBody::empty() } else { ResponseBody::full(body) });
    *response.status_mut() = status;
    if !bodiless {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

/// The answer to HEAD: the head that GET would get, its length included (RFC 9110 section 9.3.2).
/// An upstream's body is left in place: it is empty, and reading its end frees the connection.
pub(crate) fn without_body(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.own_length() {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        return Response::from_parts(parts, ResponseBody::empty());
    }
    Response::from_parts(parts, body)
}

/// Applies a route's header operations: removed first, then set, then added.
pub(crate) fn apply(ops: &HeaderOps, headers: &mut HeaderMap) {
    for name in &ops.remove {
        headers.remove(name);
    }
    for (name, value) in &ops.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &ops.add {
        headers.append(name, value.clone());
    }
}
