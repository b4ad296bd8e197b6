//! Whether anything goes on on an HTTP/2 connection: how long it may be without a stream is a
//! limit that the library leaves to us.

use crate::h1::Limits;
use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

#[derive(Debug)]
pub(crate) struct Activity {
    since: Instant,
    /// Requests between their head and the end of their response.
    open: AtomicU32,
    /// When a request last began or ended: milliseconds since `since`.
    moved: AtomicU64,
    requests: AtomicU64,
}

/// What a look at a connection finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Look again after this time.
    Fine(Duration),
    /// No stream for longer than allowed.
    Idle,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            open: AtomicU32::new(0),
            moved: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        }
    }

    pub(crate) fn begin(&self) {
        self.open.fetch_add(1, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        self.move_on();
    }

    pub(crate) fn end(&self) {
        self.open.fetch_sub(1, Relaxed);
        self.move_on();
    }

    fn move_on(&self) {
        self.moved.store(self.since.elapsed().as_millis() as u64, Relaxed);
    }

    /// Before the first request the header timeout is the limit, between requests the keep-alive
    /// timeout.
    pub(crate) fn look(&self, limits: &Limits) -> Finding {
        let first = self.requests.load(Relaxed) == 0;
        let limit = if first { limits.header_timeout } else { limits.keepalive_timeout };
        if self.open.load(Relaxed) > 0 {
            return Finding::Fine(limit);
        }
        let quiet =
            self.since.elapsed().saturating_sub(Duration::from_millis(self.moved.load(Relaxed)));
        match limit.checked_sub(quiet) {
            Some(left) if !left.is_zero() => Finding::Fine(left),
            _ => Finding::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_only_without_streams() {
        let (none, long) = (Duration::ZERO, Duration::from_secs(3600));
        let activity = Activity::new();
        let look = |header_timeout, keepalive_timeout| {
            activity.look(&Limits { header_timeout, keepalive_timeout, ..Limits::default() })
        };
        assert_eq!(look(none, long), Finding::Idle);
        activity.begin();
        assert_eq!(look(none, none), Finding::Fine(none));
        activity.end();
        assert!(matches!(look(none, long), Finding::Fine(_)));
        assert_eq!(look(long, none), Finding::Idle);
    }
}
