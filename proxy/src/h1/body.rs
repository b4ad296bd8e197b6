//! The body of a request, as the handler and whoever it hands the body to see it.
//!
//! A body reads the connection itself, when it is polled: it may have moved into
//! another task (an upstream connection's), and a byte should not wait for a second
//! task to pass it on. Not polling it is the backpressure. A body never ends cleanly
//! unless its framing did: everything else is a [`BodyError`].

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::deadline::Deadline;

/// A request body: data as it was read from the socket, then trailers if any.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    /// No body, or nothing of it left.
    Empty,
    /// It had arrived with the head.
    Whole(Bytes),
    /// It is read from the connection.
    Stream(Stream),
}

struct Stream {
    source: Arc<dyn Source>,
    /// Which request this is on the connection: a body outlives its exchange when
    /// the handler keeps it, and must not read the next request's.
    ticket: u64,
    /// Bytes that remain, if Content-Length said so.
    left: Option<u64>,
    /// Longest pause between bytes.
    timeout: Duration,
    pause: Deadline,
}

/// Where a streamed body comes from: the shared half of a connection.
pub(super) trait Source: Send + Sync {
    /// The next frame of the body of request `ticket`.
    fn poll_frame(
        &self,
        ticket: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>;

    /// Ends the body of request `ticket` with a fault, if it is not over yet.
    fn fail(&self, ticket: u64, fault: BodyError);

    /// Nobody will read the body of request `ticket` any more.
    fn abandon(&self, ticket: u64);
}

/// Why a request body ended early. The connection is closed after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BodyError {
    /// The client closed its side before the end the framing announced.
    #[error("request body cut short by the client")]
    Truncated,
    /// Broken chunked coding or trailers.
    #[error("malformed chunked request body")]
    Malformed,
    /// A pause longer than [`Limits::body_timeout`](super::Limits::body_timeout).
    #[error("request body stalled")]
    Timeout,
    /// The connection failed.
    #[error("client disconnected")]
    Disconnected,
    /// The exchange was over before the body was read.
    #[error("request body abandoned after the response")]
    Abandoned,
}

impl BodyError {
    /// The status to answer with if no response has begun.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The reason word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Truncated => "body_truncated",
            Self::Malformed => "bad_chunk",
            Self::Timeout => "body_timeout",
            Self::Disconnected => "client_disconnected",
            Self::Abandoned => "body_abandoned",
        }
    }

    /// Finds the body error that caused `error`, such as an HTTP client's failure to
    /// send a request.
    pub fn find(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(*found);
            }
            next = error.source();
        }
        None
    }
}

impl Body {
    /// A body of nothing.
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    pub(super) fn whole(data: Bytes) -> Self {
        Self(if data.is_empty() { Kind::Empty } else { Kind::Whole(data) })
    }

    pub(super) fn stream(
        source: Arc<dyn Source>,
        ticket: u64,
        left: Option<u64>,
        timeout: Duration,
    ) -> Self {
        Self(Kind::Stream(Stream { source, ticket, left, timeout, pause: Deadline::default() }))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl Stream {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.source.poll_frame(self.ticket, cx) {
            Poll::Ready(frame) => {
                self.pause.clear();
                if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    *left = left.saturating_sub(length as u64);
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                self.pause.set_once(|| Instant::now() + self.timeout);
                self.pause.poll(cx).map(|()| {
                    self.source.fail(self.ticket, BodyError::Timeout);
                    Some(Err(BodyError::Timeout))
                })
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.source.abandon(self.ticket);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("left", &self.left).finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Whole(data) => {
                let data = std::mem::take(data);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Kind::Stream(stream) => {
                let frame = std::task::ready!(stream.poll_frame(cx));
                if frame.is_none() || stream.left == Some(0) {
                    self.0 = Kind::Empty;
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Whole(data) => SizeHint::with_exact(data.len() as u64),
            Kind::Stream(Stream { left: Some(left), .. }) => SizeHint::with_exact(*left),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}
