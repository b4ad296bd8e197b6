//! After a 101: bytes both ways, until either side ends, nothing moves for the idle timeout, or
//! the drain deadline comes.

use crate::{body::ResponseBody, conn::Connection, h1, upstream::Lease};
use http::Response;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep_until},
};

/// Bytes copied at once, per direction; allocated while a tunnel lives.
const BUFFER: usize = 16 * 1024;

/// Prepares the client's 101 and starts the tunnel that takes over once it is written.
pub(crate) fn switch(
    connection: &Arc<Connection>,
    mut response: Response<Incoming>,
    lease: Lease,
    idle: Duration,
) -> Response<ResponseBody> {
    let upstream = hyper::upgrade::on(&mut response);
    let (handover, client) = h1::Upgrade::new();
    // Held to the end: a tunnel is an open connection, and a drain waits for it.
    let connection = Arc::clone(connection);
    tokio::spawn(async move {
        let _lease = lease; // counts as in flight until the tunnel ends
        let (Ok(client), Ok(upstream)) = (client.await, upstream.await) else { return };
        tokio::select! {
            ended = relay(client, TokioIo::new(upstream), idle) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "tunnel ended");
                }
            }
            () = connection.drain.closed() => tracing::debug!("tunnel ended at the drain deadline"),
        }
    });
    let mut response = response.map(|_| ResponseBody::empty());
    response.extensions_mut().insert(handover);
    response
}

async fn relay(
    client: impl AsyncRead + AsyncWrite + Unpin,
    upstream: impl AsyncRead + AsyncWrite + Unpin,
    idle: Duration,
) -> io::Result<()> {
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (mut upstream_in, mut upstream_out) = tokio::io::split(upstream);
    let activity = Activity::new();
    let up = pump(&mut client_in, &mut upstream_out, &activity);
    let down = pump(&mut upstream_in, &mut client_out, &activity);
    tokio::select! {
        both = async { tokio::try_join!(up, down) } => both.map(|_| ()),
        () = activity.silence(idle) => Err(io::Error::new(io::ErrorKind::TimedOut, "idle")),
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    activity: &Activity,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..n]).await?;
        to.flush().await?;
        activity.happened();
    }
}

/// When something last moved, either way.
struct Activity {
    start: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Activity {
    fn new() -> Self {
        Self { start: Instant::now(), last_ms: Arc::default() }
    }

    fn happened(&self) {
        self.last_ms.store(self.start.elapsed().as_millis() as u64, Relaxed);
    }

    /// Returns once nothing has moved for `idle`.
    async fn silence(&self, idle: Duration) {
        loop {
            let last = self.last_ms.load(Relaxed);
            let until = self.start + Duration::from_millis(last) + idle;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}
