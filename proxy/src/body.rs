//! Bodies on their way: from the client, towards an upstream (perhaps more than once), and back.
//! Nothing is buffered beyond what a retry may need.

use crate::{h1, observe::Observation, pause::Pause, reason::Reason, upstream::Lease};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// Request bytes kept for a retry.
const HELD: usize = 64 * 1024;

/// A request body as the client sends it.
#[derive(Debug)]
pub(crate) enum ClientBody {
    Empty,
    H1(h1::Body),
    H2 {
        body: Incoming,
        pause: Pause,
    },
    /// What was read ahead, then the rest.
    Held {
        data: Bytes,
        trailers: Option<Box<http::HeaderMap>>,
        rest: Box<Self>,
    },
}

impl ClientBody {
    pub(crate) fn h1(body: h1::Body) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::H1(body) }
    }

    pub(crate) fn h2(body: Incoming, pause: Duration) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::H2 { body, pause: Pause::new(pause) } }
    }

    /// What was read ahead of a body, and its rest.
    pub(crate) fn held(data: Bytes, trailers: Option<http::HeaderMap>, rest: Self) -> Self {
        Self::Held { data, trailers: trailers.map(Box::new), rest: Box::new(rest) }
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Option<Result<Frame<Bytes>, Reason>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Held { data, trailers, rest } => {
                data.is_empty() && trailers.is_none() && rest.is_empty()
            }
            Self::H1(body) => body.is_end_stream(),
            // hyper counts down what Content-Length told; only an empty frame may follow.
            Self::H2 { body, .. } => body.is_end_stream() || body.size_hint().exact() == Some(0),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Held { data, rest, .. } => {
                let more = data.len() as u64;
                let rest = rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(more));
                if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(more)) {
                    hint.set_upper(upper);
                }
                hint
            }
            Self::H1(body) => body.size_hint(),
            Self::H2 { body, .. } => body.size_hint(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Held { data, trailers, rest } => {
                if !data.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(data)))));
                }
                if let Some(trailers) = trailers.take() {
                    return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
                }
                rest.poll(cx)
            }
            Self::H1(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(Reason::from)))
            }
            Self::H2 { body, pause } => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => {
                    pause.over();
                    let frame = frame.map(|frame| frame.map(without_forbidden_trailers));
                    Poll::Ready(frame.map(|frame| frame.map_err(|_| Reason::ClientClosed)))
                }
                Poll::Pending => {
                    ready!(pause.poll(cx));
                    Poll::Ready(Some(Err(Reason::BodyTimeout)))
                }
            },
        }
    }
}

/// Trailers must not carry what frames, routes or authenticates a message.
fn without_forbidden_trailers(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        h1::retain_trailers(trailers);
    }
    frame
}

/// A request body that several attempts can send: what the first attempt took is held, up to a
/// bound, for the next.
#[derive(Debug)]
pub(crate) struct Replay {
    source: ClientBody,
    /// A copy: slices of what was read would keep the buffers they were read into.
    held: BytesMut,
    trailers: Option<http::HeaderMap>,
    /// More than [`HELD`] went by: this body can be sent once only.
    gone: bool,
    /// Bytes the route still allows.
    allowance: u64,
    ended: bool,
    failed: Option<Reason>,
    attempt: u32,
    /// Chunks the current attempt has taken: a sign of life of the upload.
    taken: u64,
    /// When the current attempt had taken everything.
    delivered: Option<Instant>,
}

/// A shared [`Replay`].
#[derive(Clone, Debug)]
pub(crate) struct Replayable(Arc<Mutex<Replay>>);

impl Replayable {
    pub(crate) fn new(source: ClientBody, limit: Option<u64>) -> Self {
        Self(Arc::new(Mutex::new(Replay {
            source,
            held: BytesMut::new(),
            trailers: None,
            gone: false,
            allowance: limit.unwrap_or(u64::MAX),
            ended: false,
            failed: None,
            attempt: 0,
            taken: 0,
            delivered: None,
        })))
    }

    /// The body of the next attempt; earlier ones see an error from now on.
    pub(crate) fn attempt(&self) -> UpstreamBody {
        let mut replay = self.0.lock();
        replay.attempt += 1;
        replay.delivered = None;
        let attempt = replay.attempt;
        drop(replay);
        UpstreamBody(Some(Attempt {
            replay: Arc::clone(&self.0),
            attempt,
            sent: 0,
            trailed: false,
        }))
    }

    /// Whether the body can be sent from its start (again).
    pub(crate) fn is_whole(&self) -> bool {
        let replay = self.0.lock();
        !replay.gone && replay.failed.is_none()
    }

    /// When the upstream had taken the last of the body; `None` while there is more.
    pub(crate) fn delivered(&self) -> Option<Instant> {
        self.0.lock().delivered
    }

    /// Grows while the upload moves.
    pub(crate) fn taken(&self) -> u64 {
        self.0.lock().taken
    }

    /// Why the client's side of the body failed, if it did.
    pub(crate) fn failed(&self) -> Option<Reason> {
        self.0.lock().failed
    }
}

/// A request body as an upstream connection sends it.
#[derive(Debug)]
pub(crate) struct UpstreamBody(Option<Attempt>);

#[derive(Debug)]
struct Attempt {
    replay: Arc<Mutex<Replay>>,
    attempt: u32,
    /// Held bytes this attempt has sent.
    sent: usize,
    trailed: bool,
}

impl UpstreamBody {
    /// No body.
    pub(crate) const EMPTY: Self = Self(None);
}

/// Ends an attempt's body early; the cause is in [`Replayable::failed`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interrupted {
    #[error("the client's body failed: {}", .0.word())]
    Client(Reason),
    #[error("a later attempt took over")]
    Superseded,
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        let Some(this) = &mut self.0 else { return Poll::Ready(None) };
        let mut replay = this.replay.lock();
        if replay.attempt != this.attempt {
            return Poll::Ready(Some(Err(Interrupted::Superseded)));
        }
        if let Some(held @ [_, ..]) = replay.held.get(this.sent..) {
            let held = Bytes::copy_from_slice(held);
            this.sent += held.len();
            replay.took(this.sent);
            return Poll::Ready(Some(Ok(Frame::data(held))));
        }
        if let Some(reason) = replay.failed {
            return Poll::Ready(Some(Err(Interrupted::Client(reason))));
        }
        if replay.ended {
            replay.took(this.sent);
            let trailers = if this.trailed { None } else { replay.trailers.clone() };
            this.trailed = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(replay.poll(cx)).map(|frame| frame.map_err(Interrupted::Client));
        if !replay.gone {
            this.sent = replay.held.len();
        }
        this.trailed = replay.trailers.is_some();
        replay.took(this.sent);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(this) => {
                let replay = this.replay.lock();
                if replay.attempt == this.attempt && replay.held.is_empty() && !replay.gone {
                    replay.source.size_hint()
                } else {
                    SizeHint::default()
                }
            }
        }
    }
}

impl Replay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
        let frame = match ready!(self.source.poll(cx)) {
            None => {
                self.ended = true;
                return Poll::Ready(None);
            }
            Some(Err(reason)) => return self.fail(reason),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) => {
                let Some(rest) = self.allowance.checked_sub(data.len() as u64) else {
                    return self.fail(Reason::BodyTooLarge);
                };
                self.allowance = rest;
                self.hold(&data);
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                self.trailers = Some(trailers.clone());
                self.ended = true;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    /// The current attempt took a chunk, `sent` of those held by now.
    fn took(&mut self, sent: usize) {
        self.taken += 1;
        let all_held = self.gone || sent == self.held.len();
        if all_held && (self.ended || self.source.is_empty()) {
            self.delivered.get_or_insert_with(Instant::now);
        }
    }

    fn hold(&mut self, data: &Bytes) {
        if self.gone {
            return;
        }
        if self.held.len() + data.len() > HELD {
            self.gone = true;
            self.held = BytesMut::new();
        } else {
            self.held.extend_from_slice(data);
        }
    }

    fn fail(&mut self, reason: Reason) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
        self.failed = Some(reason);
        Poll::Ready(Some(Err(reason)))
    }
}

/// A response body as the client gets it.
pub struct ResponseBody {
    source: Source,
    /// What has to happen at the end, and what watches the way there.
    watch: Option<Box<Watch>>,
}

enum Source {
    Empty,
    Full(Bytes),
    Upstream(Incoming),
    Held(Box<Held>),
}

/// What was read ahead of an upstream's body, and its rest.
struct Held {
    data: Bytes,
    trailers: Option<http::HeaderMap>,
    rest: Option<Incoming>,
}

impl Source {
    /// What an upstream's body has next.
    fn poll_upstream(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self {
            Self::Empty | Self::Full(_) => Poll::Ready(None),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
            Self::Held(held) => {
                if !held.data.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut held.data)))));
                }
                if let Some(trailers) = held.trailers.take() {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                match &mut held.rest {
                    Some(rest) => Pin::new(rest).poll_frame(cx),
                    None => Poll::Ready(None),
                }
            }
        }
    }

    fn is_end(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Held(held) => {
                held.data.is_empty()
                    && held.trailers.is_none()
                    && held.rest.as_ref().is_none_or(Body::is_end_stream)
            }
        }
    }
}

/// What accompanies a response until its last byte.
pub(crate) struct Watch {
    pub(crate) observation: Box<Observation>,
    pub(crate) lease: Option<Lease>,
    pub(crate) pause: Pause,
    pub(crate) deadline: Option<Pin<Box<Sleep>>>,
}

/// The response broke off; clients must see that.
#[derive(Debug, thiserror::Error)]
#[error("the response broke off: {}", .0.word())]
pub struct Broken(Reason);

impl ResponseBody {
    pub(crate) fn empty() -> Self {
        Self { source: Source::Empty, watch: None }
    }

    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Full(bytes.into()), watch: None }
    }

    pub(crate) fn upstream(body: Incoming) -> Self {
        Self { source: Source::Upstream(body), watch: None }
    }

    /// What was read ahead of an upstream's body, and its rest.
    pub(crate) fn held(data: Bytes, trailers: Option<http::HeaderMap>, rest: Self) -> Self {
        let rest = match rest.source {
            Source::Upstream(rest) => Some(rest),
            Source::Empty | Source::Full(_) | Source::Held(_) => None,
        };
        Self { source: Source::Held(Box::new(Held { data, trailers, rest })), watch: None }
    }

    /// The length of a body made here; `None` for an upstream's.
    pub(crate) fn own_length(&self) -> Option<usize> {
        match &self.source {
            Source::Full(bytes) => Some(bytes.len()),
            Source::Empty | Source::Upstream(_) | Source::Held(_) => None,
        }
    }

    /// Hands over what is to be told at the end.
    pub(crate) fn watched(mut self, mut watch: Watch) -> Self {
        if self.source.is_end() {
            watch.finish();
        }
        self.watch = Some(Box::new(watch));
        self
    }
}

impl Watch {
    fn finish(&mut self) {
        self.observation.complete();
        if let Some(lease) = self.lease.take() {
            lease.finished();
        }
    }

    fn broken(&mut self, reason: Reason) -> Broken {
        self.observation.broke_off(reason);
        self.lease = None;
        Broken(reason)
    }

    /// Ready when the exchange has lasted for too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        match &mut this.source {
            Source::Empty => return Poll::Ready(None),
            Source::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.source = Source::Empty;
                if let Some(watch) = &mut this.watch {
                    watch.observation.sent(bytes.len());
                    watch.finish();
                }
                let frame = (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)));
                return Poll::Ready(frame);
            }
            Source::Upstream(_) | Source::Held(_) => {}
        }
        if let Some(watch) = &mut this.watch {
            watch.observation.asked();
            // First of all: an upstream that always has something never waits.
            if watch.poll_deadline(cx).is_ready() {
                return Poll::Ready(Some(Err(watch.broken(Reason::TotalTimeout))));
            }
        }
        let polled = this.source.poll_upstream(cx);
        let Some(watch) = &mut this.watch else {
            let broken = |_| Broken(Reason::UpstreamTruncated);
            return polled.map(|frame| frame.map(|frame| frame.map_err(broken)));
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                watch.pause.over();
                watch.observation.sent(frame.data_ref().map_or(0, Bytes::len));
                if this.source.is_end() {
                    watch.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                watch.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => {
                Poll::Ready(Some(Err(watch.broken(Reason::UpstreamTruncated))))
            }
            Poll::Pending => {
                ready!(watch.pause.poll(cx));
                Poll::Ready(Some(Err(watch.broken(Reason::UpstreamTruncated))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream(body) => body.size_hint(),
            Source::Held(held) => {
                let read = held.data.len() as u64;
                let rest = held.rest.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(read));
                if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
                    hint.set_upper(upper);
                }
                hint
            }
        }
    }
}
