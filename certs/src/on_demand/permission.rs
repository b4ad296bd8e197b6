//! Who may have a certificate: a list, and a URL that is asked about what is not on it.

use crate::http::{HttpError, ask_status, host, tls};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use std::time::Duration;
use tidegate_config::OnDemand;
use tokio_rustls::TlsConnector;

/// Of a question and its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener's.
pub(super) struct Permission {
    settings: OnDemand,
    endpoint: Option<Endpoint>,
}

struct Endpoint {
    url: Uri,
    /// For https.
    tls: Option<TlsConnector>,
}

/// The word on a name.
#[derive(Debug)]
pub(super) enum Word {
    Yes,
    No,
    /// There was no word; why is for the operator.
    Silence(String),
}

impl Permission {
    /// Reads files of roots.
    pub(super) fn new(settings: &OnDemand) -> Result<Self, String> {
        let endpoint = |url: &str| -> Result<_, String> {
            let url: Uri = url.parse().map_err(|_| "`ask` is not a URL".to_owned())?;
            let https = url.scheme_str() == Some("https");
            let tls = https.then(|| tls(settings.ca.as_deref())).transpose()?;
            Ok(Endpoint { url, tls })
        };
        let endpoint = settings.ask.as_ref().map(|url| endpoint(url.reveal())).transpose()?;
        Ok(Self { settings: settings.clone(), endpoint })
    }

    /// Whether the word on `name` could be a yes, without asking.
    pub(super) fn is_possible(&self, name: &str) -> bool {
        self.endpoint.is_some() || self.settings.lists(name)
    }

    /// The word on `name`, which is of letters, digits, dots and hyphens.
    pub(super) async fn ask(&self, name: &str) -> Word {
        if self.settings.lists(name) {
            return Word::Yes;
        }
        match &self.endpoint {
            Some(endpoint) => endpoint.ask(name).await,
            None => Word::No,
        }
    }
}

impl Endpoint {
    async fn ask(&self, name: &str) -> Word {
        let joint = if self.url.query().is_some() { '&' } else { '?' };
        let request = Request::get(format!("{}{joint}domain={name}", self.url))
            .header(header::CONNECTION, "close")
            .body(Full::<Bytes>::default());
        let request = match request {
            Ok(request) => request,
            Err(error) => return Word::Silence(error.to_string()),
        };
        let host = host(&self.url);
        match ask_status(request, self.tls.as_ref(), PATIENCE).await {
            Ok(StatusCode::OK) => Word::Yes,
            Ok(status) if status.is_server_error() => {
                let status = status.as_u16();
                Word::Silence(format!("`{host}` answered {status}: see its log"))
            }
            Ok(_) => Word::No,
            Err(error @ HttpError::Tls { .. }) => {
                Word::Silence(format!("{error}: set `ca` if its root is not one the system trusts"))
            }
            Err(error) => Word::Silence(format!("{error}: is it running?")),
        }
    }
}
