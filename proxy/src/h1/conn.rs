//! A connection between its requests.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use arc_swap::ArcSwap;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    Limits, Malformed,
    deadline::Deadline,
    head::{Head, Heads},
    wire::Wire,
};
use crate::drain::{Drain, DrainState};

/// What lives as long as the connection. Kept small: an idle connection is this, its
/// socket and its timer.
pub(super) struct Connection<IO> {
    pub(super) wire: Arc<Wire<IO>>,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    pub(super) drain: Drain,
    pub(super) deadline: Deadline,
    closed: Closed,
    /// No request has been taken yet.
    fresh: bool,
}

/// What comes next on a connection. Not kept across an await: its size is no matter.
#[expect(clippy::large_enum_variant, reason = "moved once, into the exchange's allocation")]
pub(super) enum Next {
    Request(Head),
    Malformed(Malformed),
    /// The client closed, kept silent too long, or the drain is over.
    End,
}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection<IO> {
    pub(super) fn new(io: IO, limits: Arc<ArcSwap<Limits>>, drain: Drain) -> Self {
        let mut deadline = Deadline::default();
        deadline.set(Instant::now() + limits.load().header_timeout);
        Self {
            wire: Arc::new(Wire::new(io, limits.clone())),
            limits,
            drain,
            deadline,
            closed: Closed::default(),
            fresh: true,
        }
    }

    /// Waits for a head. The time for it runs from its first byte, for the first
    /// request from the start of the connection.
    pub(super) async fn next(&mut self) -> Next {
        let mut heads = Heads::default();
        let mut clock = if self.fresh { Clock::Head } else { Clock::Stopped };
        self.fresh = false;
        poll_fn(|cx| self.poll_next(&mut heads, &mut clock, cx)).await
    }

    fn poll_next(
        &mut self,
        heads: &mut Heads,
        clock: &mut Clock,
        cx: &mut Context<'_>,
    ) -> Poll<Next> {
        let limits = self.limits.load();
        let mut wire = self.wire.lock();
        loop {
            match heads.take(&mut wire.input, &limits) {
                Ok(Some(head)) => return Poll::Ready(Next::Request(head)),
                Ok(None) => {}
                Err(malformed) => return Poll::Ready(Next::Malformed(malformed)),
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                // Nothing to answer: half a head is no request.
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::End),
                Poll::Pending => break,
            }
        }
        let begun = heads.begun(&wire.input);
        wire.release();
        drop(wire);

        clock.advance(begun, &mut self.deadline, &limits);
        drop(limits);
        if self.deadline.poll(cx).is_ready() {
            return Poll::Ready(if begun {
                Next::Malformed(Malformed::HeaderTimeout)
            } else {
                Next::End
            });
        }
        self.poll_closed(cx).map(|()| Next::End)
    }

    /// Ready at the drain deadline.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.closed.poll(&self.drain, cx)
    }
}

/// Whoever still holds a body must not keep the socket open with it: a cut response
/// is only seen as cut once the socket is gone.
impl<IO> Drop for Connection<IO> {
    fn drop(&mut self) {
        let io = {
            let mut wire = self.wire.lock();
            wire.retire();
            wire.io.take()
        };
        drop(io);
    }
}

/// Which of the two times between requests is running.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    Stopped,
    KeepAlive,
    Head,
}

impl Clock {
    fn advance(&mut self, begun: bool, deadline: &mut Deadline, limits: &Limits) {
        let (clock, timeout) = match (*self, begun) {
            (Self::Stopped, false) => (Self::KeepAlive, limits.keepalive_timeout),
            (Self::Stopped | Self::KeepAlive, true) => (Self::Head, limits.header_timeout),
            (Self::KeepAlive, false) | (Self::Head, _) => return,
        };
        *self = clock;
        deadline.set(Instant::now() + timeout);
    }
}

/// The wait for the drain deadline: registered once per connection, not once per
/// request, and polled again only for another task.
#[derive(Default)]
struct Closed {
    wait: Option<Registered>,
}

impl Closed {
    fn poll(&mut self, drain: &Drain, cx: &mut Context<'_>) -> Poll<()> {
        if drain.state() == DrainState::Closed {
            return Poll::Ready(());
        }
        match &mut self.wait {
            Some(wait) if wait.task.will_wake(cx.waker()) => Poll::Pending,
            wait => {
                let wait = wait.get_or_insert_with(|| Registered {
                    closed: Box::pin(drain.closed()),
                    task: cx.waker().clone(),
                });
                wait.task.clone_from(cx.waker());
                wait.closed.as_mut().poll(cx)
            }
        }
    }
}

struct Registered {
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    task: Waker,
}
