//! Closing without losing the response.
//!
//! A socket that is closed while bytes wait in its receive buffer resets the
//! connection, and a reset may overtake the response at the client (RFC 9112 section
//! 9.6). So the sending side is closed first, and what still comes is read and
//! dropped for a short, bounded while.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::conn::Connection;

/// Longest wait for the client to close its side.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// Bytes read and dropped meanwhile.
const LINGER_MAX: usize = 512 * 1024;

/// Closes the sending side, and with it the connection.
pub(super) async fn shutdown<IO>(conn: &mut Connection<IO>)
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    conn.deadline.set(Instant::now() + LINGER_TIME);
    poll_fn(|cx| {
        let shut = conn.wire.lock().io.as_mut().map(|io| Pin::new(io).poll_shutdown(cx));
        match shut {
            Some(Poll::Pending) => conn.poll_patience(cx),
            _ => Poll::Ready(()),
        }
    })
    .await;
}

/// As [`shutdown`], then waits for the client to close too.
pub(super) async fn linger<IO>(conn: &mut Connection<IO>)
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    shutdown(conn).await;
    let mut budget = LINGER_MAX;
    poll_fn(|cx| {
        let mut wire = conn.wire.lock();
        while !wire.eof {
            wire.input.clear();
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(read)) if read <= budget => budget -= read,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    drop(wire);
                    return conn.poll_patience(cx);
                }
            }
        }
        Poll::Ready(())
    })
    .await;
}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection<IO> {
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline.poll(cx).is_ready() { Poll::Ready(()) } else { self.poll_closed(cx) }
    }
}
