//! Serving the control API and the probes on sockets that are bound already (the root package
//! binds them, or gets them from the process before this one).
//!
//! Everything is bounded: connections per socket, the time a head may take, the time a client
//! may take no bytes, and what [`api`](crate::api) bounds. It runs on the runtime that calls
//! it, never on a worker of the data path.

mod stall;

use crate::{
    api::{self, Peer},
    plane::Plane,
};
use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use stall::StallGuard;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tower::ServiceExt;

/// Connections at once, per socket; further ones wait in the kernel's queue.
pub const CONNECTIONS: usize = 256;
/// A request's head has to be here within this, also on a kept-alive connection.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// A client that takes no bytes for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a request's head and of what is buffered.
const BUFFER: usize = 64 * 1024;
/// After `stop`, requests in flight have this long to finish.
const FAREWELL: Duration = Duration::from_secs(5);
/// Between two attempts to accept when the process is out of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A socket, bound and listening.
#[derive(Debug)]
pub enum Socket {
    /// The control API for callers with a token.
    Control(std::net::TcpListener),
    /// The control API for local callers, known by their user id.
    ControlUnix(std::os::unix::net::UnixListener),
    /// `/livez`, `/readyz` and `/metrics`, for anybody.
    Probes(std::net::TcpListener),
}

/// Serves until `stop` says so (or its sender is gone), then finishes what is in flight.
pub async fn serve(
    plane: Arc<Plane>,
    sockets: Vec<Socket>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let control = api::control(plane.clone());
    let probes = api::probes(plane.clone());
    let mut listeners = Vec::new();
    for socket in sockets {
        listeners.push(match socket {
            Socket::Control(listener) => (tcp(listener)?, control.clone()),
            Socket::ControlUnix(listener) => (unix(listener)?, control.clone()),
            Socket::Probes(listener) => (tcp(listener)?, probes.clone()),
        });
    }
    let mut tasks = JoinSet::new();
    for (listener, router) in listeners {
        let plane = plane.clone();
        let stop = stop.clone();
        tasks.spawn(async move {
            match listener {
                Listener::Tcp(listener) => {
                    let accept = || async { Ok((listener.accept().await?.0, Peer::Tcp)) };
                    accept_from(plane, accept, router, stop).await;
                }
                Listener::Unix(listener) => {
                    let accept = || async {
                        let (stream, _) = listener.accept().await?;
                        let uid = stream.peer_cred()?.uid();
                        Ok((stream, Peer::Unix { uid }))
                    };
                    accept_from(plane, accept, router, stop).await;
                }
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

fn tcp(listener: std::net::TcpListener) -> io::Result<Listener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(Listener::Tcp)
}

fn unix(listener: std::os::unix::net::UnixListener) -> io::Result<Listener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener).map(Listener::Unix)
}

async fn accept_from<S, F>(
    plane: Arc<Plane>,
    accept: impl Fn() -> F,
    router: Router,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<(S, Peer)>>,
{
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = async {
                let permit = permits.clone().acquire_owned().await;
                (permit, accept().await)
            } => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            (Ok(permit), Ok((stream, peer))) => {
                let gauge = plane.metrics.connections.clone();
                let connection = converse(stream, peer, router.clone(), stop.clone());
                connections.spawn(async move {
                    gauge.inc();
                    connection.await;
                    gauge.dec();
                    drop(permit);
                });
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "a connection of the control API is not accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
            (Err(_), _) => break,
        }
    }
    let rest = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, rest).await.is_err() {
        tracing::warn!("connections of the control API are cut");
    }
}

/// Waits for `stop`; a sender that is gone is a process that ends.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn converse<S>(stream: S, peer: Peer, router: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(Body::new))
    });
    let stream = TokioIo::new(StallGuard::new(stream, WRITE_PATIENCE));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(BUFFER)
        .serve_connection(stream, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the control API broke off");
    }
}
