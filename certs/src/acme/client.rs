//! The wire of one authority: its directory, its nonces, signed requests (RFC 8555 section 6).

use super::{
    jws::{BadKey, Signer},
    transport::{Transport, is_json, retry_after},
};
use crate::http::HttpError;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use instant_acme::Problem;
use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Requests signed anew because the authority refused the nonce. A refused one was not
/// processed, so that repeating it is safe whatever it asks for (section 6.5).
const NONCES: u32 = 10;
/// Before the third attempt and after; authorities drop nonces when a node of theirs restarts.
const NONCE_PAUSE: Duration = Duration::from_millis(50);
/// Unused nonces kept.
const MAX_NONCES: usize = 8;
/// A directory is believed that long.
const DIRECTORY_LIFE: Duration = Duration::from_secs(3600);
const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// A client of one directory.
pub(super) struct Client {
    transport: Transport,
    url: String,
    /// The longest one call may take, repeated nonces included.
    call: Duration,
    directory: Mutex<Option<(Instant, Arc<Directory>)>>,
    nonces: Mutex<Vec<String>>,
    /// Who looks after the account.
    pub(super) registering: tokio::sync::Mutex<()>,
}

/// What an authority offers (section 7.1.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directory {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    pub(super) new_order: String,
    pub(super) revoke_cert: Option<String>,
    pub(super) key_change: Option<String>,
    /// RFC 9773.
    pub(super) renewal_info: Option<String>,
    #[serde(default)]
    pub(super) meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    /// Kinds of certificates, with a description each.
    pub(super) profiles: BTreeMap<String, Value>,
    /// What CAA records call the authority.
    pub(super) caa_identities: Vec<String>,
    pub(super) external_account_required: bool,
}

/// An answer that is not an error.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) location: Option<String>,
    /// How long to wait before the next look.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{problem}")]
    Problem {
        problem: Problem,
        /// The authority wants no orders for that long (429 or 503 with `Retry-After`).
        hold: Option<Duration>,
    },
    #[error("`{}` answered {status} without an ACME problem", short(.url))]
    Status { url: String, status: StatusCode, hold: Option<Duration> },
    #[error("`{}` answered something that is not ACME: is `directory` right?", short(.url))]
    NotAcme { url: String },
    #[error("the authority did not answer within {} s", .0.as_secs())]
    Late(Duration),
    #[error("the authority refused {NONCES} nonces of its own in a row")]
    Nonces,
    #[error(transparent)]
    Key(#[from] BadKey),
}

impl WireError {
    /// The last part of the problem's type, such as `rateLimited`; empty for other errors.
    pub(super) fn kind(&self) -> &str {
        match self {
            Self::Problem { problem, .. } => kind(problem),
            _ => "",
        }
    }
}

/// The beginning of a URL: authorities make them, of any length.
fn short(url: &str) -> String {
    url.chars().take(200).collect()
}

/// The last part of a problem's type (section 6.7).
pub(super) fn kind(problem: &Problem) -> &str {
    problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()).unwrap_or_default()
}

impl Answer {
    pub(super) fn read<T: DeserializeOwned>(&self, url: &str) -> Result<T, WireError> {
        serde_json::from_slice(&self.body).map_err(|_| WireError::NotAcme { url: url.to_owned() })
    }
}

impl Client {
    pub(super) fn new(transport: Transport, url: &str, call: Duration) -> Self {
        Self {
            transport,
            url: url.to_owned(),
            call,
            directory: Mutex::default(),
            nonces: Mutex::default(),
            registering: tokio::sync::Mutex::default(),
        }
    }

    /// What the authority offers; asked for at most once an hour.
    pub(super) async fn directory(&self) -> Result<Arc<Directory>, WireError> {
        if let Some((at, directory)) = &*self.directory.lock()
            && at.elapsed() < DIRECTORY_LIFE
        {
            return Ok(Arc::clone(directory));
        }
        let directory: Directory = self.get(&self.url).await?.read(&self.url)?;
        let directory = Arc::new(directory);
        *self.directory.lock() = Some((Instant::now(), Arc::clone(&directory)));
        Ok(directory)
    }

    /// A plain GET, for what needs no account.
    pub(super) async fn get(&self, url: &str) -> Result<Answer, WireError> {
        let call = async { judge(url, self.send(Method::GET, url, None).await?) };
        self.timed(call).await
    }

    /// A signed request; without a payload a POST-as-GET.
    pub(super) async fn post(
        &self,
        signer: &Signer<'_>,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Answer, WireError> {
        self.timed(self.post_until_taken(signer, url, payload)).await
    }

    async fn post_until_taken(
        &self,
        signer: &Signer<'_>,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Answer, WireError> {
        for attempt in 0..NONCES {
            if attempt >= 2 {
                tokio::time::sleep(NONCE_PAUSE * attempt).await;
            }
            let nonce = self.nonce().await?;
            let body = signer.sign(url, &nonce, payload)?;
            let answer = self.send(Method::POST, url, Some(body)).await?;
            let fresh = nonce_of(answer.headers());
            match judge(url, answer) {
                Err(error) if error.kind() == "badNonce" => {
                    // Those of the same age are likely no better; the refusal brings a good one.
                    *self.nonces.lock() = fresh.into_iter().collect();
                }
                outcome => {
                    self.keep(fresh);
                    return outcome;
                }
            }
        }
        Err(WireError::Nonces)
    }

    async fn nonce(&self) -> Result<String, WireError> {
        if let Some(nonce) = self.nonces.lock().pop() {
            return Ok(nonce);
        }
        let url = self.directory().await?.new_nonce.clone();
        let answer = self.send(Method::HEAD, &url, None).await?;
        match nonce_of(answer.headers()) {
            Some(nonce) => Ok(nonce),
            None => Err(judge(&url, answer).err().unwrap_or(WireError::NotAcme { url })),
        }
    }

    fn keep(&self, nonce: Option<String>) {
        let mut nonces = self.nonces.lock();
        nonces.extend(nonce);
        if nonces.len() > MAX_NONCES {
            nonces.remove(0);
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<Value>,
    ) -> Result<Response<Bytes>, WireError> {
        let mut request =
            Request::builder().method(method).uri(url).header(header::USER_AGENT, AGENT);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/jose+json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|_| WireError::NotAcme { url: url.to_owned() })?;
        Ok(self.transport.send(request).await?)
    }

    async fn timed<T>(
        &self,
        call: impl Future<Output = Result<T, WireError>>,
    ) -> Result<T, WireError> {
        let late = |_| WireError::Late(self.call);
        tokio::time::timeout(self.call, Box::pin(call)).await.map_err(late)?
    }
}

/// An answer, or the error it is.
fn judge(url: &str, answer: Response<Bytes>) -> Result<Answer, WireError> {
    let (parts, body) = answer.into_parts();
    let retry_after = retry_after(&parts.headers, SystemTime::now());
    if parts.status.is_success() || parts.status.is_redirection() {
        let location = text(&parts.headers, header::LOCATION.as_str());
        return Ok(Answer { location, retry_after, body });
    }
    let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let hold = retry_after.filter(|_| busy.contains(&parts.status));
    let problem = is_json(&parts.headers).then(|| serde_json::from_slice(&body).ok()).flatten();
    Err(match problem {
        Some(problem) => WireError::Problem { problem, hold },
        None => WireError::Status { url: url.to_owned(), status: parts.status, hold },
    })
}

fn nonce_of(headers: &HeaderMap) -> Option<String> {
    text(headers, "replay-nonce")
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
