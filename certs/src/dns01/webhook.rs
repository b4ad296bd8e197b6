//! A provider behind a URL: one POST of JSON for each change.

use super::provider::{Action, Provider, ProviderError, Record};
use crate::http::{HttpError, ask_status, broken, host, tls};
use async_trait::async_trait;
use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Full;
use serde_json::json;
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tidegate_config::{DnsWebhook, Secret};
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
        let https = url.scheme_str() == Some("https");
        let tls = https.then(|| tls(settings.ca.as_deref())).transpose()?;
        Ok(Self { url, secret: settings.secret.clone(), tls, timeout: settings.timeout })
    }

    fn request(
        &self,
        action: Action,
        record: &Record,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let Record { fqdn, value, ttl, name } = record;
        let body = json!({
            "action": action.word(), "fqdn": fqdn, "value": value, "ttl": ttl, "name": name,
        });
        let body = body.to_string();
        let mut request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close");
        if let Some(secret) = &self.secret {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            request = request.header("tidegate-signature", signature(secret, now, &body));
        }
        request.body(Full::from(body))
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
        let host = host(&self.url);
        let request = self.request(action, record).map_err(|error| broken(&self.url, &error))?;
        // What a service says may hold secrets of its own: its status is enough.
        match ask_status(request, self.tls.as_ref(), self.timeout).await {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(ProviderError::Status { host: host.to_owned(), status }),
            Err(HttpError::Timeout { after, .. }) => Err(ProviderError::Timeout {
                after,
                remedy: "does the webhook answer this machine? raise `timeout` if it takes longer",
            }),
            Err(error) => Err(error.into()),
        }
    }
}

// Neither the URL, whose path may be a token, nor the secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &host(&self.url)).finish_non_exhaustive()
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
        assert!(request.headers()["tidegate-signature"].to_str().unwrap().starts_with("t="));
        // `printf 7.body | openssl dgst -sha256 -hmac shared`
        let wanted = "t=7,v1=a0cda157a36bb097610510e68f066ff33d95e7d0d6d1575caa8aa19e20ea2b59";
        assert_eq!(signature(&Secret::new("shared"), 7, "body"), wanted);
        let shown = format!("{hook:?}");
        assert!(!shown.contains("hidden") && !shown.contains("shared"), "{shown}");
    }
}
