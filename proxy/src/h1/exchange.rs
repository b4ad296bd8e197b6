//! One request and its response.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::Full;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    Body, BodyError, Error, Handler, Malformed, Until, Upgrade,
    conn::Connection,
    encode::{self, Asked, Delivery},
    fields,
    head::Head,
    output::{HIGH_WATER, Output},
};
use crate::drain::DrainState;

/// Of a body nobody read, this much is read and dropped to keep the connection ...
const DISCARD_MAX: usize = 64 * 1024;
/// ... if it arrives within this time.
const DISCARD_TIME: Duration = Duration::from_millis(500);

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It takes the next request.
    Next,
    /// It closes, as the client asked and expects.
    Close,
    /// It closes although the client may be sending: see `linger`.
    Linger,
    /// It is no longer ours.
    Upgraded,
}

/// Calls the handler and writes its response.
pub(super) async fn run<IO, H>(
    conn: &mut Connection<IO>,
    handler: &H,
    head: Head,
) -> Result<After, Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Handler,
{
    conn.deadline.clear();
    let asked = Asked::by(&head);
    let body = conn.wire.begin(head.framing, head.expects_continue);
    let mut output = Output::new(is_vectored(conn));
    let call = handler.call(request(head, body));
    let response = answer(conn, &mut output, call).await?;
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => switch(conn, output, response, asked).await,
        status if status.is_informational() => Err(Error::Informational),
        _ => respond(conn, output, response, asked).await,
    }
}

/// Answers what never became a request. The connection closes.
pub(super) async fn refuse<IO, H>(
    conn: &mut Connection<IO>,
    handler: &H,
    malformed: Malformed,
) -> Result<(), Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Handler,
{
    conn.deadline.clear();
    let output = Output::new(is_vectored(conn));
    let response = handler.refuse(malformed).map(Full::new);
    respond(conn, output, response, Asked::by_nobody()).await.map(drop)
}

fn request(head: Head, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = head.uri;
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers;
    request
}

/// Waits for the handler; gives up on it when the client leaves.
async fn answer<IO, F>(
    conn: &mut Connection<IO>,
    output: &mut Output,
    call: F,
) -> Result<F::Output, Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future,
{
    let mut call = pin!(call);
    poll_fn(|cx| {
        if let Poll::Ready(response) = call.as_mut().poll(cx) {
            return Poll::Ready(Ok(response));
        }
        let mut wire = conn.wire.lock();
        if wire.take_interim() {
            output.tail().extend_from_slice(CONTINUE);
        }
        if let Some(io) = &mut wire.io
            && let Poll::Ready(Err(error)) = output.poll_drain(io, cx)
        {
            return Poll::Ready(Err(error.into()));
        }
        if wire.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Error::Disconnected));
        }
        drop(wire);
        conn.poll_closed(cx).map(|()| Err(Error::DrainDeadline))
    })
    .await
}

/// Writes the response and settles what becomes of the connection.
async fn respond<IO, B>(
    conn: &mut Connection<IO>,
    mut output: Output,
    response: Response<B>,
    asked: Asked,
) -> Result<After, Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    let until = response.extensions().get::<Until>().map(|until| until.0);
    let mut delivery = Delivery::of(&response, &asked);
    let close = delivery == Delivery::Close || must_close(conn, &response, &asked);
    encode::head(&response, delivery, &asked, close, output.tail());
    let mut body = response.into_body();
    let mut ended = delivery == Delivery::None;
    poll_fn(|cx| {
        loop {
            let full = match ended {
                true => false,
                false => fill(&mut body, &mut delivery, &mut output, &mut ended, cx)?,
            };
            if conn.poll_send(&mut output, until, cx)?.is_pending() {
                break;
            }
            if ended {
                return Poll::Ready(Ok(()));
            }
            if !full {
                break;
            }
        }
        conn.poll_left(cx).map(Err)
    })
    .await?;
    drop((body, output));
    settle(conn, close, &asked).await
}

/// Moves what is ready of the body into the output. True if it stopped because the
/// output is full, false if there is nothing more for now or at all (`ended`).
fn fill<B>(
    body: &mut B,
    delivery: &mut Delivery,
    output: &mut Output,
    ended: &mut bool,
    cx: &mut Context<'_>,
) -> Result<bool, Error>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    while output.len() < HIGH_WATER {
        if !body.is_end_stream() {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Some(Ok(frame))) => {
                    delivery.frame(frame, output).map_err(|_| Error::ResponseLength)?;
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Err(Error::ResponseBody(error.into())),
                Poll::Ready(None) => {}
            }
        }
        delivery.end(output).map_err(|_| Error::ResponseLength)?;
        *ended = true;
        return Ok(false);
    }
    Ok(true)
}

/// Whether the response has to announce the end of the connection.
fn must_close<IO, B>(conn: &Connection<IO>, response: &Response<B>, asked: &Asked) -> bool {
    let wire = conn.wire.lock();
    // A drain fails no request that is already here: what is pipelined is served first.
    let pipelined = wire.body_is_done() && !wire.input.is_empty();
    !asked.keep_alive
        || (conn.drain.state() != DrainState::Serving && !pipelined)
        || wire.fault().is_some()
        || wire.continue_is_expected()
        || wire.body_is_hopeless(DISCARD_MAX)
        || fields::has_element(response.headers(), header::CONNECTION, b"close")
}

/// After a complete response: can the connection take another request?
async fn settle<IO>(conn: &mut Connection<IO>, close: bool, asked: &Asked) -> Result<After, Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match leftover(conn) {
        Leftover::Fault(fault) => {
            super::close::linger(conn).await;
            Err(fault.into())
        }
        Leftover::Nothing | Leftover::Request if !close => Ok(After::Next),
        Leftover::Nothing if !asked.keep_alive => Ok(After::Close),
        Leftover::Body if !close && discard(conn).await => Ok(After::Next),
        _ => Ok(After::Linger),
    }
}

/// What the client sent, or may still send, beyond what was read.
enum Leftover {
    Nothing,
    /// Another request.
    Request,
    /// The rest of the body.
    Body,
    /// A body that may or may not come: `100 Continue` was never sent.
    Waiting,
    Fault(BodyError),
}

fn leftover<IO>(conn: &Connection<IO>) -> Leftover {
    let mut wire = conn.wire.lock();
    wire.retire();
    match wire.fault() {
        Some(fault) => Leftover::Fault(fault),
        None if wire.continue_is_expected() => Leftover::Waiting,
        None if !wire.body_is_done() => Leftover::Body,
        None if !wire.input.is_empty() => Leftover::Request,
        None => Leftover::Nothing,
    }
}

/// Reads and drops what is left of the body. False if that is too much.
async fn discard<IO>(conn: &mut Connection<IO>) -> bool
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    conn.deadline.set(Instant::now() + DISCARD_TIME);
    let mut budget = DISCARD_MAX;
    poll_fn(|cx| {
        let discarded = conn.wire.lock().poll_discard(cx, &mut budget, &conn.limits.load());
        match discarded {
            Poll::Pending => conn.deadline.poll(cx).map(|()| false),
            ready => ready,
        }
    })
    .await
}

/// Writes the head of a 101 and lets go of the connection.
async fn switch<IO, B>(
    conn: &mut Connection<IO>,
    mut output: Output,
    mut response: Response<B>,
    asked: Asked,
) -> Result<After, Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let upgrade = response.extensions_mut().remove::<Upgrade>();
    let (Some(upgrade), true, Version::HTTP_11) =
        (upgrade, conn.wire.lock().body_is_done(), asked.version)
    else {
        return Err(Error::Informational);
    };
    encode::head(&response, Delivery::None, &asked, false, output.tail());
    poll_fn(|cx| match conn.poll_send(&mut output, None, cx)? {
        Poll::Pending => conn.poll_left(cx).map(Err),
        Poll::Ready(()) => Poll::Ready(Ok::<_, Error>(())),
    })
    .await?;
    let (io, ahead) = {
        let mut wire = conn.wire.lock();
        wire.retire();
        (wire.io.take(), std::mem::take::<BytesMut>(&mut wire.input))
    };
    if let Some(io) = io {
        upgrade.complete(io, ahead.freeze());
    }
    Ok(After::Upgraded)
}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection<IO> {
    /// Writes the output. An error if the client takes nothing for too long, or not all `until`
    /// then.
    fn poll_send(
        &mut self,
        output: &mut Output,
        until: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, Error> {
        let sent = match &mut self.wire.lock().io {
            Some(io) => output.poll_drain(io, cx),
            None => Poll::Ready(Ok(())),
        };
        let progress = output.take_progress();
        match sent {
            Poll::Ready(sent) => {
                self.deadline.clear();
                sent?;
                Ok(Poll::Ready(()))
            }
            Poll::Pending => {
                if progress {
                    self.deadline.clear();
                }
                self.deadline.set_once(|| {
                    let silent = Instant::now() + self.limits.load().body_timeout;
                    until.map_or(silent, |until| until.min(silent))
                });
                match self.deadline.poll(cx) {
                    Poll::Ready(()) => Err(Error::WriteTimeout),
                    Poll::Pending => Ok(Poll::Pending),
                }
            }
        }
    }

    /// Ready when there is nobody left to respond to, or no time.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if self.wire.lock().poll_gone(cx).is_ready() {
            return Poll::Ready(Error::Disconnected);
        }
        self.poll_closed(cx).map(|()| Error::DrainDeadline)
    }
}

fn is_vectored<IO: AsyncWrite>(conn: &Connection<IO>) -> bool {
    conn.wire.lock().io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
}
