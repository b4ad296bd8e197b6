//! New connections to endpoints.

use super::{Endpoint, H1Sender, H2Sender, Stream, Upstream};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Why there is no connection. Not one byte of a request was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("connect: {0}")]
    Tcp(io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
}

/// A connection: TCP, or TLS over it.
pub(crate) enum Connected {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Connects within the upstream's connect timeout, TLS included.
pub(crate) async fn connect(
    upstream: &Upstream,
    endpoint: &Endpoint,
) -> Result<Connected, ConnectError> {
    let limit = upstream.document.timeouts.connect;
    upstream.shared.connects.fetch_add(1, Relaxed);
    let connected = match timeout(limit, establish(upstream, endpoint)).await {
        Ok(connected) => connected,
        Err(_) => Err(ConnectError::Timeout(limit)),
    };
    if connected.is_err() {
        upstream.shared.connect_failures.fetch_add(1, Relaxed);
    }
    connected
}

async fn establish(upstream: &Upstream, endpoint: &Endpoint) -> Result<Connected, ConnectError> {
    let tcp = TcpStream::connect(endpoint.address).await.map_err(ConnectError::Tcp)?;
    let _ = tcp.set_nodelay(true); // an option, not a need
    let (Some(config), Some(tls)) = (&upstream.tls, &upstream.document.tls) else {
        return Ok(Connected::Plain(tcp));
    };
    let name = ServerName::try_from(tls.server_name.clone())
        .map_err(|error| ConnectError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let stream = TlsConnector::from(config.clone()).connect(name, tcp).await;
    Ok(Connected::Tls(Box::new(stream.map_err(ConnectError::Tls)?)))
}

/// A fresh HTTP/1 connection.
pub(crate) async fn connect_h1(
    upstream: &Upstream,
    endpoint: &Endpoint,
) -> Result<H1Sender, ConnectError> {
    match connect(upstream, endpoint).await? {
        Connected::Plain(io) => h1(io).await,
        Connected::Tls(io) => h1(*io).await,
    }
}

async fn h1<IO>(io: IO) -> Result<H1Sender, ConnectError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_header_size(64 * 1024)
        .max_headers(256)
        .max_buf_size(128 * 1024)
        .handshake(TokioIo::new(io))
        .await?;
    tokio::spawn(async move {
        // How it ended is told by the exchange it served, if it served one.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

/// A fresh HTTP/2 connection, shared from now on by the worker's requests.
pub(crate) async fn connect_h2(
    upstream: &Upstream,
    endpoint: &Endpoint,
    worker: usize,
) -> Result<(H2Sender, Stream), ConnectError> {
    let (sender, stream) = match connect(upstream, endpoint).await? {
        Connected::Plain(io) => h2(io).await,
        Connected::Tls(io) => h2(*io).await,
    }?;
    // Two requests may have connected at once; the surplus ages and is closed.
    let kept = if endpoint.keeps_connections() { upstream.document.pool.idle } else { 0 };
    endpoint.pools[worker].put_h2(&sender, &stream, kept);
    Ok((sender, stream))
}

async fn h2<IO>(io: IO) -> Result<(H2Sender, Stream), ConnectError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .handshake(TokioIo::new(io))
        .await?;
    let allowed = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
    let stream = Stream::first(Arc::clone(&allowed));
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        let _ = poll_fn(|cx| {
            let ended = connection.as_mut().poll(cx);
            allowed.store(connection.current_max_send_streams(), Relaxed);
            ended
        })
        .await;
    });
    Ok((sender, stream))
}
