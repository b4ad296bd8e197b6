//! The socket and what was read from it: the part of a connection that the body of
//! the request in flight shares.
//!
//! Only one side reads at a time. While a body is unfinished, whoever polls it reads;
//! before and after, the connection does. Writing is the connection's alone. The lock
//! is therefore uncontended (both sides run on one worker) and never held across an
//! await.

use std::{
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{
    Body, BodyError, Limits,
    body::Source,
    chunked::{self, Chunked, Step},
    framing::Framing,
};

/// One read between bodies, into the stack: what arrived is then copied into a
/// buffer of its size, so that an idle connection holds none and a head pins no more
/// than itself.
const SCRATCH: usize = 16 * 1024;
/// Pipelined bytes held while a request is in flight.
const PIPELINE_MAX: usize = 16 * 1024;
/// One read of a body, to begin with and at most.
const BODY_READ: usize = 16 * 1024;
const BODY_READ_MAX: usize = 64 * 1024;

/// A connection's shared half.
pub(super) struct Wire<IO> {
    state: Mutex<State<IO>>,
    limits: Arc<ArcSwap<Limits>>,
}

/// What the lock guards.
pub(super) struct State<IO> {
    /// Gone once the connection was upgraded.
    pub(super) io: Option<IO>,
    /// Read, not yet consumed.
    pub(super) input: BytesMut,
    /// The client has closed its side.
    pub(super) eof: bool,
    /// Counts requests; a body with another number is a stale one.
    ticket: u64,
    decoder: Decoder,
    fault: Option<BodyError>,
    /// The handler dropped the body; nobody reads it any more.
    abandoned: bool,
    interim: Interim,
    /// The connection, waiting for the body to end.
    waiting: Option<Waker>,
    /// Whoever waits for the body, to be told if it is retired.
    reader: Option<Waker>,
    /// How much the next read of a body asks for.
    body_read: usize,
}

/// How the body of the request in flight is framed and what is left of it.
#[derive(Debug)]
enum Decoder {
    Length(u64),
    Chunked(Chunked),
}

/// `100 Continue` (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interim {
    /// Not asked for, written, or no longer wanted.
    None,
    /// The client waits for it, and nobody has asked for the body.
    Expected,
    /// The body was asked for: to be written.
    Due,
}

impl<IO> Wire<IO> {
    pub(super) fn new(io: IO, limits: Arc<ArcSwap<Limits>>) -> Self {
        let state = State {
            io: Some(io),
            input: BytesMut::new(),
            eof: false,
            ticket: 0,
            decoder: Decoder::Length(0),
            fault: None,
            abandoned: false,
            interim: Interim::None,
            waiting: None,
            reader: None,
            body_read: BODY_READ,
        };
        Self { state: Mutex::new(state), limits }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<IO>> {
        self.state.lock()
    }
}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire<IO> {
    /// The body of the request whose head was just taken.
    pub(super) fn begin(self: &Arc<Self>, framing: Framing, expects_continue: bool) -> Body {
        let mut state = self.lock();
        state.ticket += 1;
        state.abandoned = false;
        state.interim = Interim::None;
        let left = match framing {
            Framing::Length(length) if length <= state.input.len() as u64 => {
                state.decoder = Decoder::Length(0);
                return Body::whole(state.input.split_to(length as usize).freeze());
            }
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        state.decoder = left.map_or_else(|| Decoder::Chunked(Chunked::new()), Decoder::Length);
        if expects_continue && state.input.is_empty() {
            state.interim = Interim::Expected;
        }
        state.body_read = BODY_READ;
        Body::stream(self.clone(), state.ticket, left, self.limits.load().body_timeout)
    }
}

impl<IO: AsyncRead + Send + Unpin> Source for Wire<IO> {
    fn poll_frame(
        &self,
        ticket: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.lock();
        if state.ticket != ticket {
            return Poll::Ready(Some(Err(BodyError::Abandoned)));
        }
        let Poll::Ready(frame) = state.poll_body(cx, &self.limits.load()) else {
            register(&mut state.reader, cx);
            return Poll::Pending;
        };
        if state.body_is_over() {
            state.reader = None;
            state.release();
            state.wake();
        }
        Poll::Ready(frame)
    }

    fn fail(&self, ticket: u64, fault: BodyError) {
        let mut state = self.lock();
        if state.ticket == ticket && !state.body_is_over() {
            state.fault = Some(fault);
            state.wake();
        }
    }

    fn abandon(&self, ticket: u64) {
        let mut state = self.lock();
        if state.ticket == ticket {
            state.abandoned = true;
        }
    }
}

impl<IO> State<IO> {
    /// Whether nothing of the body is left to read.
    pub(super) fn body_is_done(&self) -> bool {
        match &self.decoder {
            Decoder::Length(left) => *left == 0,
            Decoder::Chunked(chunked) => chunked.is_done(),
        }
    }

    /// Done or failed: its reader will not come back.
    fn body_is_over(&self) -> bool {
        self.fault.is_some() || self.body_is_done()
    }

    /// What ended the body early.
    pub(super) fn fault(&self) -> Option<BodyError> {
        self.fault
    }

    /// Whether more is left than can be discarded, and nobody will read it.
    pub(super) fn body_is_hopeless(&self, budget: usize) -> bool {
        self.abandoned && matches!(self.decoder, Decoder::Length(left) if left > budget as u64)
    }

    /// The client still waits for `100 Continue` and nobody wants the body.
    pub(super) fn continue_is_expected(&self) -> bool {
        self.interim != Interim::None
    }

    /// Whether `100 Continue` is to be written now; true once.
    pub(super) fn take_interim(&mut self) -> bool {
        let due = self.interim == Interim::Due;
        if due {
            self.interim = Interim::None;
        }
        due
    }

    /// Cuts the tie to the body of the request in flight: whoever still holds it gets
    /// [`BodyError::Abandoned`].
    pub(super) fn retire(&mut self) {
        self.ticket += 1;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Gives the read buffer back if there is nothing in it: whoever waits, or makes
    /// us wait, holds none.
    pub(super) fn release(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

impl<IO: AsyncRead + Unpin> State<IO> {
    /// Reads once into `input`; 0 is the end. For heads: see [`SCRATCH`].
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(0)) };
        let mut scratch = [MaybeUninit::uninit(); SCRATCH];
        let mut read = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(io).poll_read(cx, &mut read))?;
        self.input.extend_from_slice(read.filled());
        self.eof |= read.filled().is_empty();
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Ready when the client has gone while a request is in flight. Bytes of the next
    /// request are kept, up to [`PIPELINE_MAX`]; then nothing more is read.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.fault == Some(BodyError::Disconnected) {
                return Poll::Ready(());
            }
            if !self.body_is_done() {
                // Its reader reads, and finds out first.
                register(&mut self.waiting, cx);
                return Poll::Pending;
            }
            if self.eof {
                return Poll::Ready(());
            }
            if self.input.len() >= PIPELINE_MAX {
                return Poll::Pending;
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }

    /// Reads and drops the rest of the body, at most `budget` bytes. Ready with
    /// whether it came to its end.
    pub(super) fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        budget: &mut usize,
        limits: &Limits,
    ) -> Poll<bool> {
        while !self.body_is_done() {
            match ready!(self.poll_body(cx, limits)) {
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    let Some(left) = budget.checked_sub(length) else {
                        return Poll::Ready(false);
                    };
                    *budget = left;
                }
                Some(Err(_)) => return Poll::Ready(false),
                None => {}
            }
        }
        Poll::Ready(true)
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Some(Err(fault)));
        }
        loop {
            let fault = match self.decoder.decode(&mut self.input, limits) {
                Ok(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Step::Trailers(fields)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(fields))));
                }
                Ok(Step::End) => return Poll::Ready(None),
                Ok(Step::More) if self.eof => BodyError::Truncated,
                Ok(Step::More) => match self.poll_read_body(cx) {
                    Poll::Ready(Ok(())) => {
                        // A client that did not wait for it needs none.
                        self.interim = Interim::None;
                        continue;
                    }
                    Poll::Ready(Err(_)) => BodyError::Disconnected,
                    Poll::Pending => {
                        self.release();
                        self.ask_for_body();
                        return Poll::Pending;
                    }
                },
                Err(fault) => fault,
            };
            self.fault = Some(fault);
            return Poll::Ready(Some(Err(fault)));
        }
    }

    /// The first wait for a body makes `100 Continue` due.
    fn ask_for_body(&mut self) {
        if self.interim == Interim::Expected {
            self.interim = Interim::Due;
            self.wake();
        }
    }

    /// Reads once, straight into the buffer that the body's frames are cut from.
    fn poll_read_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let wanted = match self.decoder {
            Decoder::Length(left) => {
                self.body_read.min(usize::try_from(left).unwrap_or(usize::MAX))
            }
            Decoder::Chunked(_) => self.body_read,
        };
        // A short rest of the buffer is still worth a read before a new one is made.
        if self.input.capacity() - self.input.len() < wanted.div_ceil(4) {
            self.input.reserve(wanted);
        }
        let room = self.input.capacity() - self.input.len();
        let read = ready!(pin!(io.read_buf(&mut self.input)).poll(cx))?;
        self.eof |= read == 0;
        if read == room {
            self.body_read = (self.body_read * 2).min(BODY_READ_MAX);
        }
        Poll::Ready(Ok(()))
    }
}

impl Decoder {
    fn decode(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<Step, BodyError> {
        match self {
            Self::Length(0) => Ok(Step::End),
            Self::Length(left) => Ok(chunked::take(input, left).map_or(Step::More, Step::Data)),
            Self::Chunked(chunked) => chunked.decode(input, limits),
        }
    }
}
