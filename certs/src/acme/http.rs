//! HTTP to a certificate authority: over TLS with roots of our choice, with deadlines and bounded
//! answers.

use crate::policy::provider;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// TCP and TLS connect.
const CONNECT: Duration = Duration::from_secs(10);
/// One request and its whole answer.
const EXCHANGE: Duration = Duration::from_secs(30);
/// The longest answer read, in bytes; certificate chains have a few thousand.
const MAX_BODY: usize = 1024 * 1024;
/// Idle connections kept to one authority.
const MAX_IDLE: usize = 4;
/// The longest `Retry-After` believed.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("`{0}` is not an https URL")]
    Url(String),
    #[error("cannot connect to `{host}`: {cause}")]
    Connect { host: String, cause: String },
    #[error("TLS with `{host}` failed: {cause}")]
    Tls { host: String, cause: String },
    #[error("`{host}` broke the exchange off: {cause}")]
    Exchange { host: String, cause: String },
    #[error("`{host}` did not answer within {} s", .after.as_secs())]
    Timeout { host: String, after: Duration },
}

/// Connections to one authority.
pub(crate) struct Transport {
    tls: TlsConnector,
    idle: Mutex<Vec<(String, Sender)>>,
}

type Sender = SendRequest<Full<Bytes>>;

impl Transport {
    /// A client that trusts the roots in `ca`, or the system's. Reads files.
    pub(crate) fn new(ca: Option<&Path>) -> Result<Self, String> {
        let roots = roots(ca)?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), idle: Mutex::default() })
    }

    /// Sends a request, whole answer included.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let late = |_| HttpError::Timeout { host, after: EXCHANGE };
        tokio::time::timeout(EXCHANGE, self.exchange(request)).await.map_err(late)?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, HttpError> {
        let url = request.uri().clone();
        let (host, port) = target(&url)?;
        let authority = format!("{host}:{port}");
        let failed = |cause: String| HttpError::Exchange { host: host.to_owned(), cause };
        let mut request = origin_form(request, &url);
        loop {
            let (mut sender, reused) = match self.idle(&authority) {
                Some(sender) => (sender, true),
                None => (self.connect(host, port).await?, false),
            };
            let answer = match sender.try_send_request(request).await {
                Ok(answer) => answer,
                Err(mut error) => match error.take_message() {
                    // Closed while it was idle; nothing was sent.
                    Some(unsent) if reused => {
                        request = unsent;
                        continue;
                    }
                    _ => return Err(failed(error.error().to_string())),
                },
            };
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, MAX_BODY)
                .collect()
                .await
                .map_err(|error| failed(error.to_string()))?;
            self.keep(authority, sender);
            return Ok(Response::from_parts(parts, body.to_bytes()));
        }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Sender, HttpError> {
        let connect = async {
            let fail = |cause: String| HttpError::Connect { host: format!("{host}:{port}"), cause };
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let tcp = TcpStream::connect((bare, port)).await.map_err(|e| fail(e.to_string()))?;
            // An error costs latency, nothing else.
            let _ = tcp.set_nodelay(true);
            let name = ServerName::try_from(bare.to_owned()).map_err(|e| fail(e.to_string()))?;
            let tls = self.tls.connect(name, tcp).await;
            let tls =
                tls.map_err(|e| HttpError::Tls { host: host.to_owned(), cause: e.to_string() })?;
            let (sender, connection) =
                http1::handshake(TokioIo::new(tls)).await.map_err(|e| fail(e.to_string()))?;
            // Ends when the sender is dropped or the authority closes; the sender sees errors.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(sender)
        };
        let late = |_| HttpError::Timeout { host: host.to_owned(), after: CONNECT };
        tokio::time::timeout(CONNECT, connect).await.map_err(late)?
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

/// The roots in a PEM file, or the system's.
pub(crate) fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err("this system has no root certificates: install `ca-certificates`, or set \
                        `ca` of the issuer to a PEM file"
                .to_owned());
        }
        return Ok(roots);
    };
    let shown = path.display();
    let pem =
        std::fs::read(path).map_err(|error| format!("`ca` `{shown}` is not readable ({error})"))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate
            .map_err(|error| error.to_string())
            .and_then(|der| roots.add(der).map_err(|error| error.to_string()))
            .map_err(|error| format!("`ca` `{shown}` holds an unusable certificate ({error})"))?;
    }
    if roots.is_empty() {
        return Err(format!(
            "`ca` `{shown}` holds no certificate: it has to hold PEM blocks `CERTIFICATE`"
        ));
    }
    Ok(roots)
}

fn target(url: &Uri) -> Result<(&str, u16), HttpError> {
    match (url.scheme_str(), url.host()) {
        (Some("https"), Some(host)) => Ok((host, url.port_u16().unwrap_or(443))),
        _ => Err(HttpError::Url(url.to_string())),
    }
}

/// What goes over the wire: the path in the request line, the host in its header.
fn origin_form(mut request: Request<Full<Bytes>>, url: &Uri) -> Request<Full<Bytes>> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    if let Ok(path) = path.parse() {
        *request.uri_mut() = path;
    }
    let host = url.authority().and_then(|authority| authority.as_str().parse().ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    request
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

    #[test]
    fn only_https_is_spoken() {
        assert!(target(&Uri::from_static("http://ca.example/dir")).is_err());
        let url = Uri::from_static("https://ca.example:14000/dir");
        assert_eq!(target(&url).unwrap(), ("ca.example", 14000));
    }
}
