//! Kept-alive connections of one worker to one endpoint.
//!
//! HTTP/1: the last connection used is the first taken, so that the surplus ages and is closed.
//! HTTP/2: requests share the first connection that has room for one more, for the same reason.
//! The mutex is the worker's own and uncontended; only clearing and sweeping come from elsewhere.

use crate::body::UpstreamBody;
use hyper::client::conn::{http1, http2};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

pub(crate) type H1Sender = http1::SendRequest<UpstreamBody>;
pub(crate) type H2Sender = http2::SendRequest<UpstreamBody>;

#[derive(Default)]
pub(crate) struct Pool {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    idle: Vec<Idle>,
    shared: Vec<Shared>,
}

struct Idle {
    sender: H1Sender,
    since: Instant,
}

/// An HTTP/2 connection.
struct Shared {
    sender: H2Sender,
    /// Every clone of it is a request.
    stream: Stream,
    /// When a request last used it, or was last seen to.
    used: Instant,
}

impl Shared {
    /// The connection's own task has one, the pool another.
    fn streams(&self) -> usize {
        Arc::strong_count(&self.stream.0).saturating_sub(2)
    }

    fn has_room(&self, most: usize) -> bool {
        self.streams() < most.min(self.stream.0.load(Relaxed)).max(1)
    }
}

/// Counts a request on its HTTP/2 connection for as long as it lives, and knows how many the
/// server takes at once.
#[derive(Clone)]
pub(crate) struct Stream(Arc<AtomicUsize>);

impl Stream {
    pub(crate) fn first(allowed: Arc<AtomicUsize>) -> Self {
        Self(allowed)
    }
}

impl Pool {
    /// The connection used last, unless it is closed or older than `max_idle`.
    pub(crate) fn take(&self, max_idle: Duration) -> Option<H1Sender> {
        let mut inner = self.inner.lock();
        while let Some(Idle { sender, since }) = inner.idle.pop() {
            if since.elapsed() > max_idle {
                inner.idle.clear(); // all below are older
                return None;
            }
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection, unless there are `max` already.
    pub(crate) fn put(&self, sender: H1Sender, max: usize) {
        if sender.is_closed() {
            return;
        }
        let mut inner = self.inner.lock();
        if inner.idle.len() < max {
            inner.idle.push(Idle { sender, since: Instant::now() });
        }
    }

    /// An open HTTP/2 connection with fewer than `most` requests on it.
    pub(crate) fn h2(&self, most: usize) -> Option<(H2Sender, Stream)> {
        let mut inner = self.inner.lock();
        inner.shared.retain(|connection| !connection.sender.is_closed());
        let roomy = inner.shared.iter_mut().find(|connection| connection.has_room(most))?;
        roomy.used = Instant::now();
        Some((roomy.sender.clone(), roomy.stream.clone()))
    }

    /// Shares a new HTTP/2 connection, unless there are `max` already; `stream` is its first.
    pub(crate) fn put_h2(&self, sender: &H2Sender, stream: &Stream, max: usize) {
        let mut inner = self.inner.lock();
        if inner.shared.len() < max {
            let (sender, stream) = (sender.clone(), stream.clone());
            inner.shared.push(Shared { sender, stream, used: Instant::now() });
        }
    }

    pub(crate) fn clear(&self) {
        *self.inner.lock() = Inner::default();
    }

    /// Closes what has been idle for longer than `max_idle`.
    pub(crate) fn sweep(&self, max_idle: Duration) {
        let now = Instant::now();
        let young = |since| now.saturating_duration_since(since) <= max_idle;
        let mut inner = self.inner.lock();
        inner.idle.retain(|idle| young(idle.since) && !idle.sender.is_closed());
        inner.shared.retain_mut(|connection| {
            if connection.streams() > 0 {
                connection.used = now;
            }
            young(connection.used) && !connection.sender.is_closed()
        });
    }

    /// Connections that serve no request now.
    pub(crate) fn idle(&self) -> usize {
        let inner = self.inner.lock();
        inner.idle.len() + inner.shared.iter().filter(|shared| shared.streams() == 0).count()
    }
}
