//! Asking a responder: plain HTTP, since answers are signed.

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// Answers have a few kilobytes, with the certificate of who signed.
const MAX_ANSWER: usize = 64 << 10;
/// From the connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// Posts a request (RFC 6960 appendix A.1); redirects are not followed.
pub(super) async fn post(url: &str, request: Vec<u8>) -> Result<Bytes, String> {
    let exchange = async {
        let url: Uri = url.parse().map_err(|_| format!("`{url}` is no URL"))?;
        if url.scheme_str() != Some("http") {
            return Err(format!("`{url}` is not an `http` URL"));
        }
        let authority = url.authority().ok_or_else(|| format!("`{url}` names no host"))?;
        let address =
            (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
        let failed = |error: &dyn std::fmt::Display| format!("{authority}: {error}");
        let tcp = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(tcp)).await.map_err(|error| failed(&error))?;
        // Ends with the sender, or when the responder closes.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let request = Request::post(url.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, authority.as_str())
            .header(header::CONTENT_TYPE, "application/ocsp-request")
            .body(Full::new(Bytes::from(request)))
            .map_err(|error| failed(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(failed(&answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| failed(&error))
    };
    let late = |_| format!("no answer within {PATIENCE:?}");
    tokio::time::timeout(PATIENCE, exchange).await.map_err(late)?
}
