//! Asking a responder: plain HTTP, since answers are signed.

use crate::http::ask;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use std::time::Duration;

/// Answers have a few kilobytes, with the certificate of who signed.
const MAX_ANSWER: usize = 64 << 10;
/// From the connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// Posts a request (RFC 6960 appendix A.1).
pub(super) async fn post(url: &str, request: Vec<u8>) -> Result<Bytes, String> {
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/ocsp-request")
        .body(request.into())
        .map_err(|_| format!("`{url}` is no URL"))?;
    let answer = ask(request, None, MAX_ANSWER, PATIENCE).await;
    match answer.map(http::Response::into_parts) {
        Ok((parts, body)) if parts.status == StatusCode::OK => Ok(body),
        Ok((parts, _)) => Err(format!("`{url}` answered {}", parts.status)),
        Err(error) => Err(error.to_string()),
    }
}
