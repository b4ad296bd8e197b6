//! Kept-alive connections of one worker to one endpoint.
//!
//! The last connection used is the first taken, so that the surplus ages and is closed. The
//! mutex is the worker's own and uncontended; only clearing and sweeping come from elsewhere.

use crate::body::UpstreamBody;
use hyper::client::conn::{http1, http2};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

pub(crate) type H1Sender = http1::SendRequest<UpstreamBody>;
pub(crate) type H2Sender = http2::SendRequest<UpstreamBody>;

#[derive(Default)]
pub(crate) struct Pool {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    idle: Vec<Idle>,
    h2: Option<H2Sender>,
}

struct Idle {
    sender: H1Sender,
    since: Instant,
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

    /// The shared HTTP/2 connection, if it is open.
    pub(crate) fn h2(&self) -> Option<H2Sender> {
        let mut inner = self.inner.lock();
        match &inner.h2 {
            Some(sender) if !sender.is_closed() => Some(sender.clone()),
            _ => {
                inner.h2 = None;
                None
            }
        }
    }

    pub(crate) fn put_h2(&self, sender: H2Sender) {
        self.inner.lock().h2 = Some(sender);
    }

    pub(crate) fn clear(&self) {
        *self.inner.lock() = Inner::default();
    }

    /// Closes what has been idle for longer than `max_idle`.
    pub(crate) fn sweep(&self, max_idle: Duration) {
        let now = Instant::now();
        self.inner.lock().idle.retain(|idle| {
            now.saturating_duration_since(idle.since) <= max_idle && !idle.sender.is_closed()
        });
    }

    pub(crate) fn idle(&self) -> usize {
        self.inner.lock().idle.len()
    }
}
