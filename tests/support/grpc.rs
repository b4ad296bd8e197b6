//! An HTTP/2 upstream on the h2 crate itself, which can refuse streams and say goodbye; and a
//! body that a story feeds frame by frame.

use super::{
    frames::{self, GOAWAY, SETTINGS},
    port::Port,
};
use bytes::Bytes;
use futures_util::future::poll_fn;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::{Body, Frame};
use rustls::ServerConfig;
use serde_json::json;
use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// The upstream: `/refuse` is reset with REFUSED_STREAM as often as told, `/reset` always with
/// INTERNAL_ERROR, `/held` is never answered, paths with `.Stream/` echo every message as it comes and end with trailers,
/// everything else tells in JSON what came. Stops when dropped.
pub struct H2Origin {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
    _port: Port,
}

#[derive(Default)]
struct Shared {
    version: String,
    tls: Option<TlsAcceptor>,
    /// `None` = as many as the library allows.
    streams: Option<u32>,
    refusals: AtomicU64,
    goaways: AtomicU64,
    requests: AtomicU64,
    connections: AtomicU64,
    seen: Mutex<Vec<(String, HeaderMap)>>,
}

impl H2Origin {
    /// In plain text, by prior knowledge.
    pub async fn start(version: &str) -> Self {
        Self::with_tls(version, None)
    }

    /// Over TLS; `config` must offer `h2`.
    pub async fn start_tls(version: &str, config: Arc<ServerConfig>) -> Self {
        Self::with_tls(version, Some(TlsAcceptor::from(config)))
    }

    /// In plain text, with so many streams at once on a connection.
    pub async fn start_narrow(version: &str, streams: u32) -> Self {
        Self::with(Shared {
            version: version.to_owned(),
            streams: Some(streams),
            ..Shared::default()
        })
    }

    fn with_tls(version: &str, tls: Option<TlsAcceptor>) -> Self {
        Self::with(Shared { version: version.to_owned(), tls, ..Shared::default() })
    }

    fn with(shared: Shared) -> Self {
        let port = Port::reserve();
        let shared = Arc::new(shared);
        let serving = tokio::spawn(Arc::clone(&shared).accept(port.listen()));
        Self { address: port.address(), shared, serving, _port: port }
    }

    /// How many requests for `/refuse` are refused before one is answered.
    pub fn refuse_next(&self, count: u64) {
        self.shared.refusals.store(count, Ordering::SeqCst);
    }

    /// The next connections begin with a GOAWAY (ENHANCE_YOUR_CALM) that takes no stream.
    pub fn goaway_next(&self, count: u64) {
        self.shared.goaways.store(count, Ordering::SeqCst);
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The headers of the requests for `path`.
    pub fn seen(&self, path: &str) -> Vec<HeaderMap> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|(found, _)| found == path).map(|(_, headers)| headers.clone()).collect()
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let shared = Arc::clone(&self);
            shared.connections.fetch_add(1, Ordering::SeqCst);
            connections.spawn(async move {
                match shared.tls.clone() {
                    None => shared.serve(stream).await,
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        shared.serve(stream).await;
                    }
                }
            });
        }
    }

    async fn serve(self: Arc<Self>, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let turn = |left: u64| left.checked_sub(1);
        if self.goaways.fetch_update(Ordering::SeqCst, Ordering::SeqCst, turn).is_ok() {
            let goaway = [0, 0, 0, 0, 0, 0, 0, 11];
            let frames =
                [frames::encode(SETTINGS, 0, 0, &[]), frames::encode(GOAWAY, 0, 0, &goaway)];
            let _ = stream.write_all(&frames.concat()).await;
            // Until the client goes: bytes left unread would turn the end into a reset.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            return;
        }
        let mut builder = h2::server::Builder::new();
        if let Some(streams) = self.streams {
            builder.max_concurrent_streams(streams);
        }
        let Ok(mut connection) = builder.handshake(stream).await else { return };
        let mut streams = JoinSet::new();
        while let Some(Ok((request, respond))) = connection.accept().await {
            // A stream that fails is one the peer gave up; the story sees it at its own end.
            let answer = Arc::clone(&self).answer(request, respond);
            streams.spawn(async move {
                let _ = answer.await;
            });
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let path = request.uri().path().to_owned();
        self.seen.lock().unwrap().push((path.clone(), request.headers().clone()));
        let refused = path == "/refuse"
            && self
                .refusals
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok();
        if refused {
            respond.send_reset(Reason::REFUSED_STREAM);
            return Ok(());
        }
        if path == "/held" {
            return pending().await;
        }
        if path == "/reset" {
            respond.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        }
        if path.contains(".Stream/") {
            self.grpc(request, respond).await
        } else {
            self.tell(request, respond).await
        }
    }

    /// Echoes every message as it comes; trailers at the end.
    async fn grpc(
        &self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let head = Response::builder()
            .header("x-version", &self.version)
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let mut answer = respond.send_response(head, false)?;
        let mut body = request.into_body();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            send(&mut answer, data).await?;
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("grpc-message", HeaderValue::from_static("done"));
        answer.send_trailers(trailers)
    }

    /// Tells in JSON what came.
    async fn tell(
        &self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let (head, mut body) = request.into_parts();
        let mut length = 0;
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            length += data.len();
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        let trailers: Vec<_> = trailers.keys().map(ToString::to_string).collect();
        let headers: Vec<(String, String)> = head
            .headers
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let told = json!({
            "version": self.version,
            "method": head.method.as_str(),
            "target": head.uri.path_and_query().map(ToString::to_string),
            "authority": head.uri.authority().map(ToString::to_string),
            "http": "HTTP/2",
            "headers": headers,
            "body_length": length,
            "trailers": trailers,
        });
        let response = Response::builder()
            .header("x-version", &self.version)
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        let mut answer = respond.send_response(response, false)?;
        answer.send_data(told.to_string().into(), true)
    }
}

/// Sends data as the peer's window allows.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return Ok(()) };
        let part = data.split_to(room?.min(data.len()));
        stream.send_data(part, false)?;
    }
    Ok(())
}

/// A request body fed by a story; ends when its sender goes.
pub struct FedBody(mpsc::Receiver<Frame<Bytes>>);

/// A fed body and the end that feeds it.
pub fn fed_body() -> (mpsc::Sender<Frame<Bytes>>, FedBody) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, FedBody(receiver))
}

impl Body for FedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// A message as gRPC frames it.
pub fn message(text: &str) -> Bytes {
    let mut framed = vec![0];
    framed.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    framed.extend(text.as_bytes());
    framed.into()
}
