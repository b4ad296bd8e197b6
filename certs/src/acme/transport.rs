//! HTTP to a certificate authority: connections are kept for a while, answers may say when to come
//! again.

use crate::http::{HttpError, Sender, broken, connect, origin_form, read, tls, within};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::Full;
use parking_lot::Mutex;
use std::{
    fmt,
    path::Path,
    time::{Duration, SystemTime},
};
use tokio_rustls::TlsConnector;

/// One request and its whole answer.
const EXCHANGE: Duration = Duration::from_secs(30);
/// The longest answer read, in bytes; certificate chains have a few thousand.
const MAX_BODY: usize = 1024 * 1024;
/// Idle connections kept to one authority.
const MAX_IDLE: usize = 4;
/// The longest `Retry-After` believed.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Connections to one authority, always over TLS.
pub(super) struct Transport {
    tls: TlsConnector,
    /// By host and port.
    idle: Mutex<Vec<(String, Sender)>>,
}

impl Transport {
    /// A client that trusts the roots in `ca`, or the system's. Reads files.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, String> {
        Ok(Self { tls: tls(ca)?, idle: Mutex::default() })
    }

    /// Sends a request, whole answer included.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, HttpError> {
        let url = request.uri().clone();
        within(&url, EXCHANGE, self.exchange(request)).await
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, HttpError> {
        let url = request.uri().clone();
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let mut request = origin_form(request);
        loop {
            let (mut sender, reused) = match self.idle(authority) {
                Some(sender) => (sender, true),
                None => (connect(&url, Some(&self.tls)).await?, false),
            };
            let answer = match sender.try_send_request(request).await {
                Ok(answer) => answer,
                Err(mut error) => match error.take_message() {
                    // Closed while it was idle; nothing was sent.
                    Some(unsent) if reused => {
                        request = unsent;
                        continue;
                    }
                    _ => return Err(broken(&url, error.error())),
                },
            };
            let answer = read(&url, answer, MAX_BODY).await?;
            self.keep(authority.to_owned(), sender);
            return Ok(answer);
        }
    }

    fn idle(&self, authority: &str) -> Option<Sender> {
        let mut idle = self.idle.lock();
        idle.retain(|(_, sender)| !sender.is_closed());
        let index = idle.iter().position(|(of, sender)| of == authority && sender.is_ready())?;
        Some(idle.swap_remove(index).1)
    }

    fn keep(&self, authority: String, sender: Sender) {
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE && !sender.is_closed() {
            idle.push((authority, sender));
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.contains("json"))
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static(value));
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("99999999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(read("soon"), None);
    }
}
