//! HTTP as a client: one request and its whole answer, bounded in length and time. Redirects are
//! not followed.

use crate::policy::provider;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::{fmt::Display, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// TCP and TLS connect.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection that takes requests.
pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// Why there is no answer. Says nothing of a URL but its host: the rest may be secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the URL at `{host}` is not an `{scheme}` one")]
    Scheme { host: String, scheme: &'static str },
    #[error("cannot connect to `{host}`: {cause}")]
    Connect { host: String, cause: String },
    #[error("TLS with `{host}` failed: {cause}")]
    Tls { host: String, cause: String },
    #[error("`{host}` broke the exchange off: {cause}")]
    Exchange { host: String, cause: String },
    #[error("`{host}` did not answer within {} s", .after.as_secs())]
    Timeout { host: String, after: Duration },
}

/// Asks on a connection of its own: over `tls` an `https` URL, without it an `http` one. An answer
/// has at most `most` bytes and comes within `patience`.
pub(crate) async fn ask(
    request: Request<Full<Bytes>>,
    tls: Option<&TlsConnector>,
    most: usize,
    patience: Duration,
) -> Result<Response<Bytes>, HttpError> {
    let url = request.uri().clone();
    let exchange = async {
        let mut sender = connect(&url, tls).await?;
        let answer = sender.send_request(origin_form(request)).await;
        read(&url, answer.map_err(|error| broken(&url, &error))?, most).await
    };
    within(&url, patience, exchange).await
}

/// As [`ask`], for the status alone: the body is not read.
pub(crate) async fn ask_status(
    request: Request<Full<Bytes>>,
    tls: Option<&TlsConnector>,
    patience: Duration,
) -> Result<StatusCode, HttpError> {
    let url = request.uri().clone();
    let exchange = async {
        let mut sender = connect(&url, tls).await?;
        let answer = sender.send_request(origin_form(request)).await;
        answer.map(|answer| answer.status()).map_err(|error| broken(&url, &error))
    };
    within(&url, patience, exchange).await
}

/// What comes of an exchange with `url` in time.
pub(crate) async fn within<T>(
    url: &Uri,
    patience: Duration,
    exchange: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    let late = |_| HttpError::Timeout { host: host(url).to_owned(), after: patience };
    // Boxed: a TLS handshake is kilobytes of state, and nobody asks often.
    tokio::time::timeout(patience, Box::pin(exchange)).await.map_err(late)?
}

/// Connects to the host of `url`; its scheme has to be that of the means.
pub(crate) async fn connect(url: &Uri, tls: Option<&TlsConnector>) -> Result<Sender, HttpError> {
    let (scheme, port) = if tls.is_some() { ("https", 443) } else { ("http", 80) };
    let host = host(url);
    if url.scheme_str() != Some(scheme) {
        return Err(HttpError::Scheme { host: host.to_owned(), scheme });
    }
    let port = url.port_u16().unwrap_or(port);
    let connect = async {
        let fail = |cause: &dyn Display| HttpError::Connect {
            host: format!("{host}:{port}"),
            cause: cause.to_string(),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let tcp = TcpStream::connect((bare, port)).await.map_err(|error| fail(&error))?;
        // An error costs latency, nothing else.
        let _ = tcp.set_nodelay(true);
        let sender = match tls {
            Some(tls) => {
                let name = ServerName::try_from(bare.to_owned()).map_err(|error| fail(&error))?;
                let stream = tls.connect(name, tcp).await.map_err(|error| HttpError::Tls {
                    host: host.to_owned(),
                    cause: error.to_string(),
                })?;
                handshake(stream).await
            }
            None => handshake(tcp).await,
        };
        sender.map_err(|error| fail(&error))
    };
    within(url, CONNECT, connect).await
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Sender, hyper::Error> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the sender is dropped or the other side closes; the sender sees errors.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

/// The whole of an answer from `url`.
pub(crate) async fn read(
    url: &Uri,
    answer: Response<Incoming>,
    most: usize,
) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, most).collect().await;
    let body = body.map_err(|error| broken(url, &error))?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

pub(crate) fn broken(url: &Uri, cause: &dyn Display) -> HttpError {
    HttpError::Exchange { host: host(url).to_owned(), cause: cause.to_string() }
}

/// What goes over the wire: the path in the request line, the host in its header.
pub(crate) fn origin_form(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let url = request.uri().clone();
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    if let Ok(path) = path.parse() {
        *request.uri_mut() = path;
    }
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Ok(host) = host.parse() {
        // Who asks an address for a name says so.
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    request
}

/// Without user and port; brackets around an IPv6 address stay.
pub(crate) fn host(url: &Uri) -> &str {
    url.host().unwrap_or_default()
}

/// A client's side of TLS that trusts the roots in `ca`, or the system's. Reads files.
pub(crate) fn tls(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The roots in a PEM file, or the system's.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn urls_have_the_scheme_of_the_means_and_stay_secret() {
        let url = Uri::from_static("https://user:word@ca.example:14000/hidden");
        let error = connect(&url, None).await.map(drop).unwrap_err();
        assert_eq!(error.to_string(), "the URL at `ca.example` is not an `http` one");
        let request = origin_form(Request::get(url).body(Full::default()).unwrap());
        assert_eq!(request.uri(), "/hidden");
        assert_eq!(request.headers()[header::HOST], "ca.example:14000");
    }
}
