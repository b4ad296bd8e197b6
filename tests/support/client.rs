//! Clients that keep their connection and tell precisely what happened to a request.

use super::wait::within;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri,
    header::{HOST, SET_COOKIE},
};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Body, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use std::{convert::Infallible, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// A request's body.
pub type AnyBody = BoxBody<Bytes, Infallible>;

/// A response, read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A header's value; the first one if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a readable header"))
    }

    /// The reason word of a refusal.
    pub fn reason(&self) -> Option<&str> {
        self.header("x-tidegate-reason")
    }

    /// Which version answered.
    pub fn version(&self) -> &str {
        self.header("x-version").unwrap_or("none")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {} {:?}", self.status, self.text()))
    }

    /// The value of a cookie it sets.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.headers.get_all(SET_COOKIE).iter().find_map(|value| {
            let pair = value.to_str().ok()?.split(';').next()?;
            let (found, value) = pair.split_once('=')?;
            (found == name).then(|| value.to_owned())
        })
    }

    /// Checks a refusal: its status and its reason word.
    ///
    /// # Panics
    /// When it is another.
    pub fn assert_refused(&self, status: u16, reason: &str) {
        let found = (self.status.as_u16(), self.reason());
        assert_eq!(found, (status, Some(reason)), "{:?} {}", self.headers, self.text());
    }
}

/// How a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No connection came about.
    Connect(String),
    /// The connection ended before the request was written: it may be sent again elsewhere.
    NotSent(String),
    /// The server said by GOAWAY or REFUSED_STREAM that it did not process the request.
    Refused(String),
    /// The connection ended under the request.
    Cut(String),
}

/// Which HTTP a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by ALPN over TLS, else by prior knowledge.
    Http2,
}

enum Sender {
    Http1(http1::SendRequest<AnyBody>),
    Http2(http2::SendRequest<AnyBody>),
}

/// A client with at most one connection.
pub struct Client {
    target: SocketAddr,
    speaks: Speaks,
    tls: Option<Arc<ClientConfig>>,
    authority: String,
    sender: Option<Sender>,
    /// The certificate the server showed last.
    pub certificate: Option<CertificateDer<'static>>,
    /// Connections opened so far.
    pub opened: u64,
}

impl Client {
    /// HTTP/1.1 in plain text.
    pub fn http1(target: SocketAddr) -> Self {
        Self::new(target, Speaks::Http1)
    }

    /// HTTP/2 in plain text, by prior knowledge.
    pub fn http2(target: SocketAddr) -> Self {
        Self::new(target, Speaks::Http2)
    }

    /// Either.
    pub fn new(target: SocketAddr, speaks: Speaks) -> Self {
        Self {
            target,
            speaks,
            tls: None,
            authority: "app.test".to_owned(),
            sender: None,
            certificate: None,
            opened: 0,
        }
    }

    /// Over TLS; `config` offers the ALPN names.
    #[must_use]
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The name asked for, in SNI and Host; default `app.test`.
    #[must_use]
    pub fn host(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.authority);
        self
    }

    /// Opens a connection unless there is one.
    pub async fn connect(&mut self) -> Result<(), Failure> {
        self.sender.retain_open();
        if self.sender.is_some() {
            return Ok(());
        }
        let stream = TcpStream::connect(self.target).await.map_err(connect_failure)?;
        stream.set_nodelay(true).map_err(connect_failure)?;
        self.opened += 1;
        self.sender = Some(match self.tls.clone() {
            None => self.handshake(stream).await?,
            Some(config) => {
                let name = self.authority.split(':').next().expect("split gives one").to_owned();
                let name = ServerName::try_from(name).expect("a name for SNI");
                let connector = tokio_rustls::TlsConnector::from(config);
                let stream = connector.connect(name, stream).await.map_err(connect_failure)?;
                let session = stream.get_ref().1;
                self.certificate = session
                    .peer_certificates()
                    .and_then(|chain| chain.first())
                    .map(|certificate| certificate.clone().into_owned());
                let http2 = session.alpn_protocol() == Some(b"h2");
                if http2 != (self.speaks == Speaks::Http2) {
                    let chosen = session.alpn_protocol().map(String::from_utf8_lossy);
                    return Err(Failure::Connect(format!("ALPN chose {chosen:?}")));
                }
                self.handshake(stream).await?
            }
        });
        Ok(())
    }

    async fn handshake(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Sender, Failure> {
        let io = TokioIo::new(stream);
        match self.speaks {
            Speaks::Http1 => {
                let (sender, connection) = http1::handshake(io).await.map_err(connect_failure)?;
                tokio::spawn(connection.with_upgrades());
                Ok(Sender::Http1(sender))
            }
            Speaks::Http2 => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.map_err(connect_failure)?;
                tokio::spawn(connection);
                Ok(Sender::Http2(sender))
            }
        }
    }

    /// Which HTTP it speaks.
    pub fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// Whether the connection is still there, idle or not.
    pub fn connected(&mut self) -> bool {
        self.sender.retain_open();
        self.sender.is_some()
    }

    /// Gives the connection up.
    pub fn disconnect(&mut self) {
        self.sender = None;
    }

    /// Sends a request on the connection, opening one if there is none, and returns when the
    /// response's head is there.
    pub async fn open(&mut self, request: Request<AnyBody>) -> Result<Response<Incoming>, Failure> {
        Box::pin(self.connect()).await?;
        let request = self.dress(request);
        let outcome = match self.sender.as_mut().expect("connected above") {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(|e| Failure::NotSent(chain(&e)))?;
                sender.try_send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(|e| Failure::NotSent(chain(&e)))?;
                sender.try_send_request(request).await
            }
        };
        outcome.map_err(|mut error| {
            let unsent = error.take_message().is_some();
            let error = error.into_error();
            if unsent { Failure::NotSent(chain(&error)) } else { classify(&error) }
        })
    }

    /// Sends a request and reads the response to its end.
    pub async fn try_send(&mut self, request: Request<AnyBody>) -> Result<Reply, Failure> {
        let response = self.open(request).await?;
        read(response).await
    }

    /// Sends a request that must be answered, by whatever status.
    pub async fn send(&mut self, request: Request<AnyBody>) -> Reply {
        let what = format!("{} {}", request.method(), request.uri());
        match within(&what, self.try_send(request)).await {
            Ok(reply) => reply,
            Err(failure) => panic!("{what}: {failure:?}"),
        }
    }

    /// GET.
    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(request("GET", path, Bytes::new())).await
    }

    /// Gives the request the authority: as Host over h1, as `:authority` over h2.
    fn dress(&self, mut request: Request<AnyBody>) -> Request<AnyBody> {
        match self.speaks {
            Speaks::Http1 => {
                let host = HeaderValue::from_str(&self.authority).unwrap();
                request.headers_mut().entry(HOST).or_insert(host);
            }
            Speaks::Http2 if request.uri().authority().is_none() => {
                let host = request.headers_mut().remove(HOST);
                let authority = host.as_ref().map_or(&*self.authority, |h| h.to_str().unwrap());
                let uri = Uri::builder()
                    .scheme(if self.tls.is_some() { "https" } else { "http" })
                    .authority(authority)
                    .path_and_query(request.uri().path_and_query().unwrap().clone())
                    .build();
                *request.uri_mut() = uri.unwrap();
            }
            Speaks::Http2 => {}
        }
        request
    }
}

trait RetainOpen {
    /// Drops a connection that has ended.
    fn retain_open(&mut self);
}

impl RetainOpen for Option<Sender> {
    fn retain_open(&mut self) {
        let closed = match self {
            Some(Sender::Http1(sender)) => sender.is_closed(),
            Some(Sender::Http2(sender)) => sender.is_closed(),
            None => return,
        };
        if closed {
            *self = None;
        }
    }
}

/// Reads a response to its end.
pub async fn read(response: Response<Incoming>) -> Result<Reply, Failure> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| classify(&error))?;
    Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
}

/// A request with a body of known length (none if empty).
pub fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<AnyBody> {
    with_headers(method, path, &[], body)
}

/// As [`request`], with headers.
pub fn with_headers(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<AnyBody> {
    let mut builder = Request::builder().method(method).uri(path);
    for &(name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::from(body.into()).boxed()).unwrap()
}

/// A request with any body.
pub fn streaming(
    method: &str,
    path: &str,
    body: impl Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static,
) -> Request<AnyBody> {
    Request::builder().method(method).uri(path).body(body.boxed()).unwrap()
}

/// One GET over HTTP/1.1 on a connection of its own.
pub async fn get(target: SocketAddr, path: &str) -> Reply {
    Client::http1(target).get(path).await
}

/// One GET with headers, likewise.
pub async fn get_with(target: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
    Client::http1(target).send(with_headers("GET", path, headers, "")).await
}

/// What became of a request whose exchange broke off.
fn classify(error: &hyper::Error) -> Failure {
    let mut source = Some(error as &(dyn std::error::Error + 'static));
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            let unprocessed = (h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR))
                || h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            if h2.is_remote() && unprocessed {
                return Failure::Refused(chain(error));
            }
        }
        source = cause.source();
    }
    if error.is_canceled() { Failure::NotSent(chain(error)) } else { Failure::Cut(chain(error)) }
}

fn connect_failure(error: impl std::error::Error) -> Failure {
    Failure::Connect(chain(&error))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += ": ";
        text += &cause.to_string();
        source = cause.source();
    }
    text
}
