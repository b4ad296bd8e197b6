//! A provider behind a URL: one POST of JSON for each change.

use super::provider::{Action, Provider, ProviderError, Record};
use crate::{acme::roots, policy::provider};
use async_trait::async_trait;
use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::json;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tidegate_config::{DnsWebhook, Secret};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Asks a service.
pub(super) struct Webhook {
    url: Uri,
    secret: Option<Secret>,
    /// For https.
    tls: Option<TlsConnector>,
    timeout: Duration,
}

impl Webhook {
    pub(super) fn new(settings: &DnsWebhook) -> Result<Self, String> {
        let url: Uri = settings.url.reveal().parse().map_err(|_| "`url` is not one".to_owned())?;
        let tls = match url.scheme_str() {
            Some("https") => {
                let mut config = ClientConfig::builder_with_provider(provider())
                    .with_safe_default_protocol_versions()
                    .map_err(|error| error.to_string())?
                    .with_root_certificates(roots(settings.ca.as_deref())?)
                    .with_no_client_auth();
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                Some(TlsConnector::from(Arc::new(config)))
            }
            _ => None,
        };
        Ok(Self { url, secret: settings.secret.clone(), tls, timeout: settings.timeout })
    }

    /// The host, which is no secret; the path and query may hold one.
    fn host(&self) -> &str {
        self.url.host().unwrap_or_default()
    }

    fn failed(&self, cause: impl fmt::Display) -> ProviderError {
        ProviderError::Webhook { host: self.host().to_owned(), cause: cause.to_string() }
    }

    fn request(
        &self,
        action: Action,
        record: &Record,
    ) -> Result<Request<Full<Bytes>>, ProviderError> {
        let Record { fqdn, value, ttl, name } = record;
        let body = json!({
            "action": action.word(), "fqdn": fqdn, "value": value, "ttl": ttl, "name": name,
        });
        let body = body.to_string();
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let host = self.url.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close");
        if let Some(secret) = &self.secret {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            request = request.header("tidegate-signature", signature(secret, now, &body));
        }
        request.body(Full::from(body)).map_err(|error| self.failed(error))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<StatusCode, ProviderError> {
        let host = self.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = self.url.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let stream = TcpStream::connect((host.as_str(), port)).await;
        let stream = stream.map_err(|error| self.failed(error))?;
        match &self.tls {
            Some(tls) => {
                let name = ServerName::try_from(host).map_err(|error| self.failed(error))?;
                let stream = tls.connect(name, stream).await;
                self.send(stream.map_err(|error| self.failed(error))?, request).await
            }
            None => self.send(stream, request).await,
        }
    }

    /// Only the head of the answer is read: what a service says may hold secrets of its own.
    async fn send(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<StatusCode, ProviderError> {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(16 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.failed(error))?;
        let mut answer = std::pin::pin!(sender.send_request(request));
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // With the end an answer may have come; else it tells why there is none.
            _ = connection => answer.await,
        };
        answer.map(|answer| answer.status()).map_err(|error| self.failed(error))
    }
}

/// `t=SECONDS,v1=HEX`: who asked and when, so that an old request is not played again.
fn signature(secret: &Secret, now: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let tag = hmac::sign(&key, format!("{now}.{body}").as_bytes());
    format!("t={now},v1={}", hex::encode(tag))
}

#[async_trait]
impl Provider for Webhook {
    async fn change(&self, action: Action, record: &Record) -> Result<(), ProviderError> {
        let request = self.request(action, record)?;
        let late = |_| ProviderError::Timeout {
            after: self.timeout,
            remedy: "does the webhook answer this machine? raise `timeout` if it takes longer",
        };
        let status =
            tokio::time::timeout(self.timeout, self.exchange(request)).await.map_err(late)??;
        match status.is_success() {
            true => Ok(()),
            false => Err(ProviderError::Status { host: self.host().to_owned(), status }),
        }
    }
}

// Neither the URL, whose path may be a token, nor the secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.host()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_signed_and_nothing_secret_is_shown() {
        let url = "https://dns.corp.example:8443/acme?token=hidden";
        let settings = DnsWebhook {
            url: Secret::new(url),
            secret: Some(Secret::new("shared")),
            ca: None,
            timeout: Duration::from_secs(1),
        };
        let hook = Webhook {
            url: url.parse().unwrap(),
            secret: settings.secret,
            tls: None,
            timeout: settings.timeout,
        };
        let record = Record {
            fqdn: "_acme-challenge.a.test".into(),
            value: "v".into(),
            ttl: 60,
            name: "*.a.test".into(),
        };
        let request = hook.request(Action::Present, &record).unwrap();
        assert_eq!(request.uri(), "/acme?token=hidden");
        assert_eq!(request.headers()["host"], "dns.corp.example:8443");
        assert!(request.headers()["tidegate-signature"].to_str().unwrap().starts_with("t="));
        // `printf 7.body | openssl dgst -sha256 -hmac shared`
        let wanted = "t=7,v1=a0cda157a36bb097610510e68f066ff33d95e7d0d6d1575caa8aa19e20ea2b59";
        assert_eq!(signature(&Secret::new("shared"), 7, "body"), wanted);
        let shown = format!("{hook:?} {}", hook.failed("no"));
        assert!(!shown.contains("hidden") && !shown.contains("shared"), "{shown}");
    }
}
