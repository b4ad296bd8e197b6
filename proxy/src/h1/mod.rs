//! The HTTP/1 server side of a connection: strictly narrower than RFC 9112.
//!
//! A proxy fails its upstreams when it reads a message differently than they do. This
//! codec therefore takes one spelling of everything that frames or routes a message,
//! and answers every other with the status and reason word of [`Malformed`] and the
//! end of the connection. What it takes, it hands on byte for byte.
//!
//! [`serve`] owns a connection from the first byte to the last. Per request it parses
//! the head into slices of what was read, calls the [`Handler`], and writes the
//! response while its body is produced. An exchange lives in one allocation that ends
//! with it, so that an idle connection costs its socket, a timer and little else.
//!
//! Where the RFCs leave a choice, or more room than we take:
//! - Lines end in CRLF; a bare LF, bare CR or NUL anywhere in a head or in chunk
//!   framing is refused. One CRLF before a request line is skipped (RFC 9112 2.2).
//! - Targets reach the handler in origin-form (or `*` for OPTIONS), never decoded or
//!   normalised. The authority of an absolute-form target must equal Host.
//! - CONNECT and TRACE are refused. Versions are 1.1 and 1.0.
//! - Host is a name of letters, digits, `-`, `_`, or an address, with a port or not.
//! - Field values may hold obs-text. Fields with `_` in their name are dropped.
//! - A body is framed by one plain Content-Length or by `chunked`, alone.
//! - An offer to upgrade to `h2c` is removed; all other hop-by-hop fields, and Expect,
//!   stay for the handler to judge.
//! - A client that closes its side while its request is in flight has left: half-closed
//!   clients are not served, as the two cannot be told apart.
//! - A response body that fails, or does not match its Content-Length, cuts the
//!   connection. (For an HTTP/1.0 client without a length, that looks like an end.)
//!
//! Bounds: the head by [`Limits`]; pipelined bytes 16 KiB; a body's read buffer 64 KiB;
//! the response 64 KiB beyond what the socket takes, plus one frame; chunk extensions
//! 256 bytes each and 16 KiB together; an unread body 64 KiB, the rest closes.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

mod body;
mod chunked;
mod close;
mod conn;
mod date;
mod deadline;
mod encode;
mod error;
mod exchange;
mod fields;
mod framing;
mod head;
mod host;
mod malformed;
mod output;
mod scan;
mod target;
#[cfg(test)]
mod tests;
mod upgrade;
mod wire;

pub use self::{
    body::{Body, BodyError},
    error::Error,
    malformed::Malformed,
    upgrade::{Upgrade, Upgraded},
};
use self::{
    conn::{Connection, Next},
    exchange::After,
};
pub(crate) use self::{fields::retain_trailers, host::is_valid as is_valid_host};

/// Whether a Content-Length is one the codec takes.
pub(crate) fn is_valid_length(value: &http::HeaderValue) -> bool {
    framing::content_length(value).is_ok()
}

/// Whether every byte and escape of a target is one the codec takes.
pub(crate) fn is_valid_target(raw: &[u8]) -> bool {
    target::check_bytes(raw).is_ok()
}

use crate::drain::Drain;

/// What a connection may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head, and again of its trailers. Over it: 431.
    pub header_bytes: usize,
    /// Field lines of a head, and again of its trailers. Over it: 431.
    pub headers: usize,
    /// Bytes of the request target, at most 65,534. Over it: 414.
    pub uri_bytes: usize,
    /// From the first byte of a head (of the first one: from the start of the
    /// connection) to its last. Over it: 408, or a silent end if nothing came.
    pub header_timeout: Duration,
    /// Longest pause while a body is read or a response is written.
    pub body_timeout: Duration,
    /// Longest silence between two requests.
    pub keepalive_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            headers: 100,
            uri_bytes: 8 * 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(75),
        }
    }
}

/// In a response's extensions: when it has to be over, however slowly its client reads. A body
/// keeps to its own time; this is for the time in which nobody asks it.
#[derive(Clone, Copy, Debug)]
pub struct Until(
    /// The moment.
    pub tokio::time::Instant,
);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The body of a response.
    type ResponseBody: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;
    /// One exchange. Dropped when the client leaves.
    type Future: Future<Output = Response<Self::ResponseBody>> + Send + 'static;

    /// Answers one request. The codec keeps the future in the exchange's allocation;
    /// boxing it gains nothing.
    fn call(&self, request: Request<Body>) -> Self::Future;

    /// The answer to what never became a request. The codec adds `Connection: close`;
    /// a 405 owes the client an `Allow`.
    fn refuse(&self, malformed: Malformed) -> Response<Bytes>;
}

/// Serves a connection until it ends. The limits are looked at again for every head and body.
pub async fn serve<IO, H>(
    io: IO,
    limits: Arc<ArcSwap<Limits>>,
    drain: Drain,
    handler: H,
) -> Result<(), Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Handler,
{
    let mut conn = Connection::new(io, limits, drain);
    loop {
        let after = match conn.next().await {
            Next::Request(head) => Box::pin(exchange::run(&mut conn, &handler, head)).await?,
            Next::Malformed(malformed) => {
                Box::pin(exchange::refuse(&mut conn, &handler, malformed)).await?;
                close::linger(&mut conn).await;
                return Err(malformed.into());
            }
            Next::End => After::Close,
        };
        match after {
            After::Next => {}
            After::Close => break close::shutdown(&mut conn).await,
            After::Linger => break close::linger(&mut conn).await,
            After::Upgraded => break,
        }
    }
    Ok(())
}
