//! The time limits of one HTTP/2 stream that the library leaves to us: how long its client may
//! leave the response unread, and when the exchange has to be over. A stream over its time is
//! reset; the others on its connection go on.

use crate::listener::Listener;
use parking_lot::Mutex;
use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// What is known of a stream's progress.
#[derive(Debug)]
pub(crate) struct StreamClock {
    begun: Instant,
    /// Since when a frame waits for the client's window, in milliseconds after `begun`, plus one;
    /// 0 = none does.
    unread: AtomicU64,
    over_by: OnceLock<Instant>,
}

impl StreamClock {
    fn new() -> Self {
        Self { begun: Instant::now(), unread: AtomicU64::new(0), over_by: OnceLock::new() }
    }

    /// A frame of the response was handed out; until it is asked for the next one, the client's
    /// window is what holds it back.
    pub(crate) fn hand_out(&self) {
        self.unread.store(self.begun.elapsed().as_millis() as u64 + 1, Relaxed);
    }

    /// The next frame was asked for, or nobody will.
    pub(crate) fn take_back(&self) {
        self.unread.store(0, Relaxed);
    }

    /// The exchange's total timeout ends then.
    pub(crate) fn over_by(&self, deadline: Instant) {
        let _ = self.over_by.set(deadline); // a request has one
    }

    /// When the stream's time is up, as things stand. `None`: nothing waits for the client.
    fn end(&self, patience: Duration) -> Option<Instant> {
        let since = self.unread.load(Relaxed).checked_sub(1)?;
        let unread = self.begun + Duration::from_millis(since) + patience;
        Some(self.over_by.get().map_or(unread, |&deadline| deadline.min(unread)))
    }
}

/// Runs the streams of one connection. The library calls the service for a request and runs what
/// it got at once, so that the clock made last is that of the stream run next.
#[derive(Clone)]
pub(crate) struct Streams {
    listener: Arc<Listener>,
    latest: Arc<Mutex<Option<Arc<StreamClock>>>>,
}

impl Streams {
    pub(crate) fn new(listener: Arc<Listener>) -> Self {
        Self { listener, latest: Arc::default() }
    }

    /// The clock of the stream that begins now.
    pub(crate) fn clock(&self) -> Arc<StreamClock> {
        let clock = Arc::new(StreamClock::new());
        *self.latest.lock() = Some(Arc::clone(&clock));
        clock
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let Some(clock) = self.latest.lock().take() else {
            tokio::spawn(stream);
            return;
        };
        let listener = Arc::clone(&self.listener);
        tokio::spawn(async move {
            let timed = Timed { stream, clock, listener, timer: None };
            timed.await;
        });
    }
}

pin_project_lite::pin_project! {
    /// Ends with its stream, or when that one's time is up; being dropped resets the stream.
    struct Timed<F> {
        #[pin]
        stream: F,
        clock: Arc<StreamClock>,
        listener: Arc<Listener>,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for Timed<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(end) = this.clock.end(this.listener.limits.load().body_timeout) else {
            return Poll::Pending;
        };
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_runs_only_while_the_client_leaves_a_frame_unread() {
        let patience = Duration::from_secs(30);
        let clock = StreamClock::new();
        assert_eq!(clock.end(patience), None);
        tokio::time::advance(Duration::from_secs(5)).await;
        clock.hand_out();
        assert_eq!(clock.end(patience), Some(clock.begun + Duration::from_secs(35)));
        clock.over_by(clock.begun + Duration::from_secs(10));
        assert_eq!(clock.end(patience), Some(clock.begun + Duration::from_secs(10)));
        clock.take_back();
        assert_eq!(clock.end(patience), None);
    }
}
