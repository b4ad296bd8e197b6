//! How a connection learns that its listener is going away.
//!
//! A drain has three states, and they only move forward. While `Serving`,
//! connections live as long as they like. Once `Draining`, nothing is cut: a
//! connection that is idle stays open, because a request may already be on the
//! wire, and is told to close by the answer to its next request. At `Closed`, the
//! drain deadline, whatever is left ends at once.
//!
//! Reading the state is one atomic load: every request does it, so it must not
//! become a lock that all workers meet at. Each of the two changes has a bell of its
//! own, so that a connection that waits for the deadline is not woken when the drain
//! begins.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::sync::Notify;

/// Where a drain stands. Ordered: a later state is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrainState {
    /// Normal operation.
    Serving,
    /// Answers carry `Connection: close` (h1) or follow a GOAWAY (h2).
    Draining,
    /// The deadline has passed: end what is left.
    Closed,
}

/// The listener's end: begins the drain and ends it. Dropping it changes nothing.
#[derive(Debug)]
pub struct Drainer(Arc<Shared>);

/// A connection's end. Cloning is one reference count.
#[derive(Clone, Debug)]
pub struct Drain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    begun: Notify,
    closed: Notify,
}

/// Both ends of a drain that has not begun.
pub fn drain() -> (Drainer, Drain) {
    let shared = Arc::new(Shared {
        state: AtomicU8::new(DrainState::Serving as u8),
        begun: Notify::new(),
        closed: Notify::new(),
    });
    (Drainer(shared.clone()), Drain(shared))
}

impl Drainer {
    /// Begins the drain. Idempotent, and without effect once closed.
    pub fn drain(&self) {
        self.0.state.fetch_max(DrainState::Draining as u8, Ordering::AcqRel);
        self.0.begun.notify_waiters();
    }

    /// Passes the deadline.
    pub fn close(&self) {
        self.0.state.fetch_max(DrainState::Closed as u8, Ordering::AcqRel);
        self.0.begun.notify_waiters();
        self.0.closed.notify_waiters();
    }

    /// Another connection's end.
    pub fn subscribe(&self) -> Drain {
        Drain(self.0.clone())
    }
}

impl Drain {
    /// The state now.
    #[inline]
    pub fn state(&self) -> DrainState {
        self.0.state()
    }

    /// Resolves once the drain has begun, or is already over.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.0.clone();
        async move {
            // The bell is held before the state is read: a change in between rings it.
            let bell = shared.begun.notified();
            if shared.state() < DrainState::Draining {
                bell.await;
            }
        }
    }

    /// Resolves at the deadline.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.0.clone();
        async move {
            let bell = shared.closed.notified();
            if shared.state() < DrainState::Closed {
                bell.await;
            }
        }
    }
}

impl Shared {
    fn state(&self) -> DrainState {
        match self.state.load(Ordering::Acquire) {
            0 => DrainState::Serving,
            1 => DrainState::Draining,
            _ => DrainState::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn moves_forward_only() {
        let (drainer, drain) = drain();
        assert_eq!(drain.state(), DrainState::Serving);
        let begun = tokio::spawn(drain.draining());
        let ended = tokio::spawn(drain.closed());
        tokio::task::yield_now().await;
        drainer.drain();
        begun.await.unwrap();
        assert_eq!(drain.state(), DrainState::Draining);
        assert!(!ended.is_finished());
        drainer.close();
        ended.await.unwrap();
        drainer.drain();
        assert_eq!(drain.state(), DrainState::Closed);
        drainer.subscribe().closed().await;
        drain.draining().await;
    }

    #[tokio::test]
    async fn a_dropped_drainer_closes_nothing() {
        let (drainer, drain) = drain();
        drop(drainer);
        let wait = tokio::time::timeout(Duration::from_millis(5), drain.draining());
        assert!(wait.await.is_err());
        assert_eq!(drain.state(), DrainState::Serving);
    }
}
