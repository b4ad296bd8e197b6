//! A client of the control API: for the CLI, and for tests. Every call is bounded in time and
//! size.

use crate::{api::ProblemDocument, twin};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// To connect.
const CONNECT: Duration = Duration::from_secs(5);
/// One whole call; the server gives up a little sooner.
const CALL: Duration = Duration::from_secs(75);
/// The largest answer, in bytes.
const LARGEST: usize = 64 * 1024 * 1024;
/// RFC 3986's unreserved characters stay as they are.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a control API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `http://HOST:PORT`, or `ADDRESS:PORT` for short.
    Tcp {
        /// Host and port, as they go into `Host`.
        authority: String,
    },
    /// `unix:/path`
    Unix(PathBuf),
}

/// Why a string is no [`Target`].
#[derive(Debug, thiserror::Error)]
#[error("expected `http://HOST:PORT` or `unix:/PATH`, found `{0}`")]
pub struct InvalidTarget(String);

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let invalid = || InvalidTarget(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let absolute = path.starts_with('/').then(|| Self::Unix(path.into()));
            return absolute.ok_or_else(invalid);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Tcp { authority: address.to_string() });
        }
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let authority = uri.authority().ok_or_else(invalid)?;
        let plain = uri.scheme_str() == Some("http")
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none()
            && !authority.as_str().contains('@');
        match (plain, authority.port_u16()) {
            (true, Some(_)) => Ok(Self::Tcp { authority: authority.to_string() }),
            (true, None) => Ok(Self::Tcp { authority: format!("{authority}:80") }),
            (false, _) => Err(invalid()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { authority } => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Target {
    /// The address meant, if it needs no resolving.
    pub fn address(&self) -> Option<SocketAddr> {
        let Self::Tcp { authority } = self else { return None };
        match authority.strip_prefix("localhost:") {
            Some(port) => Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()),
            None => authority.parse().ok(),
        }
    }

    /// The local twin of a loopback address, if there is one: there no token is needed.
    fn twin(&self) -> Option<Self> {
        twin::find(self.address()?, &twin::Surroundings::here()).map(Self::Unix)
    }
}

/// Why a call did not bring the answer asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there, or nobody we may talk to.
    #[error("nothing answers at {target}: {cause}")]
    Connect {
        /// What was tried.
        target: Target,
        /// Why it failed.
        cause: io::Error,
    },
    /// It took too long.
    #[error("{target} gave no answer within {} s", .after.as_secs())]
    Timeout {
        /// What was tried.
        target: Target,
        /// How long.
        after: Duration,
    },
    /// Something answers that does not speak HTTP, or stopped half-way.
    #[error("the conversation with {target} broke off: {cause}")]
    Broken {
        /// What was tried.
        target: Target,
        /// Why it failed.
        cause: String,
    },
    /// The API says no, and why.
    #[error("{}", .0.detail)]
    Problem(Box<ProblemDocument>),
    /// Something answers that is not the control API.
    #[error("{target} answers {status} with something else than the control API does: {cause}")]
    Foreign {
        /// What was tried.
        target: Target,
        /// The answer's status.
        status: StatusCode,
        /// What is wrong with it.
        cause: String,
    },
    /// A token or tag that cannot be in a header.
    #[error("the {0} contains characters that cannot be sent")]
    Unsendable(&'static str),
}

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// Its entity tag, if it has one.
    pub etag: Option<String>,
    /// Its content.
    pub content: T,
}

/// A request to the API.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    body: Option<serde_json::Value>,
    if_match: Option<String>,
}

impl Call {
    /// A call of `path`, whose segments have been [`escape`]d.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: None, if_match: None }
    }

    /// Reads `path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// With a JSON body.
    pub fn body(mut self, body: serde_json::Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Only if the resource still has this entity tag.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }
}

/// Makes text part of a path or query.
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// A client of one control API. Each call is a connection of its own.
#[derive(Clone)]
pub struct Client {
    target: Target,
    token: Option<String>,
}

impl Client {
    /// A client of the API at `target`. Without a token the local twin of a loopback address
    /// is used, if there is one.
    pub fn new(target: Target, token: Option<String>) -> Self {
        let twin = if token.is_none() { target.twin() } else { None };
        Self { target: twin.unwrap_or(target), token }
    }

    /// Where it connects to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Makes a call and reads the JSON it answers.
    pub async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<Answer<T>, ClientError> {
        let (status, etag, body) = self.answer(call).await?;
        let content =
            serde_json::from_slice(&body).map_err(|error| self.foreign(status, &error))?;
        Ok(Answer { etag, content })
    }

    /// Makes a call and reads the text it answers.
    pub async fn text(&self, call: Call) -> Result<String, ClientError> {
        let (status, _, body) = self.answer(call).await?;
        String::from_utf8(body.into()).map_err(|error| self.foreign(status, &error))
    }

    /// What a call that succeeds answers.
    async fn answer(&self, call: Call) -> Result<(StatusCode, Option<String>, Bytes), ClientError> {
        let request = self.request(call)?;
        let (status, etag, body) = tokio::time::timeout(CALL, self.exchange(request))
            .await
            .unwrap_or_else(|_| Err(self.timeout(CALL)))?;
        if status.is_success() {
            return Ok((status, etag, body));
        }
        let problem =
            serde_json::from_slice(&body).map_err(|error| self.foreign(status, &error))?;
        Err(ClientError::Problem(Box::new(problem)))
    }

    fn foreign(&self, status: StatusCode, cause: &dyn fmt::Display) -> ClientError {
        ClientError::Foreign { target: self.target.clone(), status, cause: cause.to_string() }
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, ClientError> {
        let host = match &self.target {
            Target::Tcp { authority } => authority.as_str(),
            Target::Unix(_) => "localhost",
        };
        let body = call.body.map_or(Bytes::new(), |body| body.to_string().into());
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(etag) = call.if_match {
            request = request.header(header::IF_MATCH, etag);
        }
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| ClientError::Unsendable("token"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(Full::new(body)).map_err(|_| ClientError::Unsendable("request"))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Option<String>, Bytes), ClientError> {
        match &self.target {
            Target::Tcp { authority } => {
                self.over(self.connected(TcpStream::connect(authority)).await?, request).await
            }
            Target::Unix(path) => {
                self.over(self.connected(UnixStream::connect(path)).await?, request).await
            }
        }
    }

    async fn connected<S>(
        &self,
        connect: impl Future<Output = io::Result<S>>,
    ) -> Result<S, ClientError> {
        let connected = tokio::time::timeout(CONNECT, connect).await;
        connected
            .map_err(|_| self.timeout(CONNECT))?
            .map_err(|cause| ClientError::Connect { target: self.target.clone(), cause })
    }

    async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Option<String>, Bytes), ClientError> {
        let broken = |error: &dyn fmt::Display| ClientError::Broken {
            target: self.target.clone(),
            cause: error.to_string(),
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.map_err(|e| broken(&e))?;
            let etag = parts.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
            Ok((parts.status, etag.map(str::to_owned), body.to_bytes()))
        };
        // The connection is driven beside the answer and ends with it.
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            ended = connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(broken(&error)),
            }
        }
    }

    fn timeout(&self, after: Duration) -> ClientError {
        ClientError::Timeout { target: self.target.clone(), after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_back_as_written() {
        for text in ["http://127.0.0.1:9180", "http://[::1]:9180", "unix:/run/tidegate/c.sock"] {
            assert_eq!(text.parse::<Target>().expect(text).to_string(), text);
        }
        let short: Target = "127.0.0.1:9180".parse().unwrap();
        assert_eq!(short.to_string(), "http://127.0.0.1:9180");
        let named: Target = "http://localhost:9180".parse().unwrap();
        assert_eq!(named.address(), short.address());
        for bad in ["localhost:9180", "https://a:1", "http://a:1/x", "unix:x", "http://u@a:1", ""] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
