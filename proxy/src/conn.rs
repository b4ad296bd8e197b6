//! One client connection: TLS, the choice between HTTP/1 and HTTP/2, and its end.

use crate::{
    activity::{Activity, Finding},
    body::{ClientBody, ResponseBody},
    core::Core,
    drain::Drain,
    h1,
    listener::{Listener, Open},
    observe::{Facts, Observation},
    reason::Reason,
    request, respond,
    snapshot::{Listening, Snapshot},
    stream::Streams,
    worker::Worker,
};
use bytes::Bytes;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tidegate_certs::{Selected, Session};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::LazyConfigAcceptor;

/// What all requests of a connection share.
pub(crate) struct Connection {
    pub(crate) core: Arc<Core>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// What the TLS handshake proved; `None` in plain text.
    pub(crate) tls: Option<Session>,
    pub(crate) drain: Drain,
    /// `None` on HTTP/1, whose codec has limits of its own.
    pub(crate) activity: Option<Activity>,
    /// Counts the connection for as long as anything of it lives.
    pub(crate) _open: Open,
}

impl Connection {
    /// How requests are treated: by the snapshot's word, or, when the listener has been
    /// removed, by its last.
    pub(crate) fn listening(&self, snapshot: &Snapshot) -> Arc<Listening> {
        match snapshot.listeners.get(&self.listener.name) {
            Some(listening) => Arc::clone(listening),
            None => self.listener.last(),
        }
    }
}

/// Serves an accepted socket to its end.
pub(crate) async fn serve(mut connection: Connection, tcp: TcpStream) {
    let _ = tcp.set_nodelay(true); // an option, not a need
    let snapshot = connection.core.snapshot();
    let listening = connection.listening(&snapshot);
    drop(snapshot);
    let protocols = listening.document.protocols;
    let Some(tls) = &listening.tls else {
        return match protocols {
            p if p.http2 && (!p.http1 || opens_with_preface(&tcp, &listening).await) => {
                serve_h2(connection, listening, tcp).await;
            }
            _ => serve_h1(connection, tcp).await,
        };
    };
    let handshake = handshake(tls, tcp, connection.peer.ip());
    let limit = listening.document.limits.handshake_timeout;
    let handshakes = &connection.listener.handshakes;
    match timeout(limit, handshake).await {
        Ok(Ok(Some((stream, session)))) => {
            handshakes.done.fetch_add(1, Relaxed);
            connection.tls = Some(session);
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                serve_h2(connection, listening, stream).await;
            } else {
                serve_h1(connection, stream).await;
            }
        }
        Ok(Ok(None)) => {} // an ACME challenge was answered, or a name refused
        Ok(Err(error)) => {
            handshakes.failed.fetch_add(1, Relaxed);
            tracing::debug!(peer = %connection.peer, %error, "TLS handshake failed");
        }
        Err(_) => drop(handshakes.failed.fetch_add(1, Relaxed)),
    }
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

async fn handshake(
    tls: &tidegate_certs::ListenerTls,
    tcp: TcpStream,
    client: IpAddr,
) -> io::Result<Option<(Box<TlsStream>, Session)>> {
    let start = LazyConfigAcceptor::new(Default::default(), tcp).await?;
    let mut selected = tls.select(&start.client_hello());
    if let Selected::OnDemand(demand) = selected {
        // Nothing was sent yet: the client takes it for a slow network. Boxed, as few ever wait.
        Box::pin(demand.settle(client)).await;
        selected = tls.select_held(&start.client_hello());
    }
    match selected {
        Selected::Serve { config, mut session } => {
            let stream = start.into_stream(config).await?;
            session.established(stream.get_ref().1).map_err(io::Error::other)?;
            Ok(Some((Box::new(stream), session)))
        }
        Selected::Challenge(config) => {
            let mut stream = start.into_stream(config).await?;
            let _ = stream.shutdown().await; // the CA has seen what it wanted
            Ok(None)
        }
        Selected::OnDemand(_) | Selected::UnrecognizedName => {
            // alert(21), TLS 1.2 record, length 2: fatal(2), unrecognized_name(112); RFC 6066.
            const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
            let mut io = start.io;
            io.write_all(&ALERT).await?;
            let _ = io.shutdown().await;
            Err(io::Error::new(io::ErrorKind::NotFound, "no certificate for this name"))
        }
    }
}

/// HTTP/2 by prior knowledge (RFC 9113 section 3.3): looks at the first bytes without taking
/// them. A client that stops within the preface is asked again a little later, up to the
/// header timeout.
async fn opens_with_preface(tcp: &TcpStream, listening: &Listening) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let look = async {
        let mut seen = [0; PREFACE.len()];
        loop {
            match tcp.peek(&mut seen).await {
                Ok(0) | Err(_) => return false,
                Ok(n) if seen[..n] != PREFACE[..n] => return false,
                Ok(n) if n == PREFACE.len() => return true,
                Ok(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    // Too slow: the HTTP/1 codec has the words to say so.
    timeout(listening.document.limits.header_timeout, look).await.unwrap_or(false)
}

async fn serve_h1<IO>(connection: Connection, io: IO)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let drain = connection.drain.clone();
    let limits = Arc::clone(&connection.listener.limits);
    let handler = H1(Arc::new(connection));
    if let Err(error) = h1::serve(io, limits, drain, handler).await {
        tracing::debug!(%error, "connection ended");
    }
}

#[derive(Clone)]
struct H1(Arc<Connection>);

impl h1::Handler for H1 {
    type ResponseBody = ResponseBody;
    type Future = Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>;

    fn call(&self, request: Request<h1::Body>) -> Self::Future {
        let connection = Arc::clone(&self.0);
        Box::pin(request::serve(connection, request.map(ClientBody::h1), None))
    }

    fn refuse(&self, malformed: h1::Malformed) -> Response<Bytes> {
        refuse(&self.0, Reason::from(malformed), malformed.to_string())
    }
}

/// The answer to what never became a request; counted and logged like one.
fn refuse(connection: &Arc<Connection>, reason: Reason, detail: String) -> Response<Bytes> {
    let request = Request::new(());
    let facts = Facts::new(&request, connection.peer.ip(), connection);
    let mut observation = Observation::begin(connection, facts);
    observation.facts.reason = Some(reason);
    observation.facts.detail = Some(detail);
    let response = respond::refusal(&reason.into());
    observation.head(response.status().as_u16());
    observation.complete();
    response
}

async fn serve_h2<IO>(mut connection: Connection, listening: Arc<Listening>, io: IO)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &listening.document.limits;
    let streams = Streams::new(Arc::clone(&connection.listener));
    let mut builder = http2::Builder::new(streams.clone());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams.get() as u32)
        // Twice ours, so that a request over ours gets an answer with its reason.
        .max_header_list_size((limits.header_bytes.0 as u32).saturating_mul(2))
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(64 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256)
        .keep_alive_interval(limits.keepalive_timeout / 2)
        .keep_alive_timeout(Duration::from_secs(10));
    drop(listening);
    let draining = connection.drain.draining();
    connection.activity = Some(Activity::new());
    let connection = Arc::new(connection);
    let watched = Arc::clone(&connection);
    let service = service_fn(move |request: Request<Incoming>| {
        let connection = Arc::clone(&connection);
        let pause = connection.listener.limits.load().body_timeout;
        let request = request.map(|body| ClientBody::h2(body, pause));
        let response = Box::pin(request::serve(connection, request, Some(streams.clock())));
        async { Ok::<_, Infallible>(response.await) }
    });
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut draining = std::pin::pin!(draining);
    let mut leaving = false;
    let listener = Arc::clone(&watched.listener);
    let mut look = listener.limits.load().header_timeout;
    let ended = loop {
        tokio::select! {
            ended = serving.as_mut() => break ended,
            () = draining.as_mut(), if !leaving => {
                // GOAWAY with the highest id first, the real one a round trip later.
                serving.as_mut().graceful_shutdown();
                leaving = true;
            }
            () = sleep(look) => {
                let Some(activity) = &watched.activity else { return };
                match activity.look(&listener.limits.load()) {
                    Finding::Fine(again) => look = again.max(Duration::from_millis(10)),
                    Finding::Idle if !leaving => {
                        serving.as_mut().graceful_shutdown();
                        leaving = true;
                        look = FAREWELL;
                    }
                    Finding::Idle => return, // it does not even take leave
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// A client that was told to go has this long to do so.
const FAREWELL: Duration = Duration::from_secs(5);
