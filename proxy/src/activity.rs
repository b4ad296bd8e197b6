//! What goes on on an HTTP/2 connection, for limits that the library leaves to us: how long it
//! may be without a stream, and how long its client may leave every response unread.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

#[derive(Debug)]
pub(crate) struct Activity {
    since: Instant,
    /// Requests between their head and the end of their response.
    open: AtomicU32,
    /// Responses with data at hand that the client's window does not let out.
    held_back: AtomicU32,
    /// When something last moved: milliseconds since `since`.
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
    /// Nothing was read for longer than allowed, although there is something to read.
    Stalled,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            open: AtomicU32::new(0),
            held_back: AtomicU32::new(0),
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

    /// A frame of a response was handed out; until it is asked for the next one, the client's
    /// window is what holds it back.
    pub(crate) fn hand_out(&self) {
        self.held_back.fetch_add(1, Relaxed);
        self.move_on();
    }

    /// The next frame was asked for, or nobody will.
    pub(crate) fn take_back(&self) {
        self.held_back.fetch_sub(1, Relaxed);
        self.move_on();
    }

    fn move_on(&self) {
        self.moved.store(self.since.elapsed().as_millis() as u64, Relaxed);
    }

    /// `first` is the limit before the first request, `idle` that between requests, `unread` that
    /// on responses nobody reads.
    pub(crate) fn look(&self, first: Duration, idle: Duration, unread: Duration) -> Finding {
        let (limit, finding) = match (self.open.load(Relaxed), self.held_back.load(Relaxed)) {
            (0, _) if self.requests.load(Relaxed) == 0 => (first, Finding::Idle),
            (0, _) => (idle, Finding::Idle),
            (_, 0) => return Finding::Fine(unread),
            _ => (unread, Finding::Stalled),
        };
        let quiet =
            self.since.elapsed().saturating_sub(Duration::from_millis(self.moved.load(Relaxed)));
        match limit.checked_sub(quiet) {
            Some(left) if !left.is_zero() => Finding::Fine(left),
            _ => finding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_connection_is_idle_only_without_streams_and_stalled_only_with_unread_ones() {
        let activity = Activity::new();
        assert_eq!(activity.look(NONE, LONG, LONG), Finding::Idle);
        activity.begin();
        assert_eq!(activity.look(NONE, NONE, LONG), Finding::Fine(LONG));
        activity.hand_out();
        assert_eq!(activity.look(LONG, LONG, NONE), Finding::Stalled);
        activity.take_back();
        assert_eq!(activity.look(LONG, LONG, NONE), Finding::Fine(NONE));
        activity.end();
        assert!(matches!(activity.look(NONE, LONG, NONE), Finding::Fine(_)));
        assert_eq!(activity.look(LONG, NONE, LONG), Finding::Idle);
    }
}
