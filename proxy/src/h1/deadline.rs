//! A timer that is moved far more often than it fires.
//!
//! Every request moves the connection's deadline. Touching the runtime's timer wheel
//! each time costs more than parsing the request, so the timer is left where it is
//! when the deadline moves away from it, and moved on only when it fires too early:
//! once per timeout, not once per request.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that can be moved cheaply. Allocates on first use.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
    at: Option<Instant>,
}

impl Deadline {
    /// Sets the deadline, replacing the one before.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = Some(at);
    }

    /// Sets the deadline unless there is one.
    pub(super) fn set_once(&mut self, at: impl FnOnce() -> Instant) {
        self.at.get_or_insert_with(at);
    }

    /// No deadline; the timer stays for the next one.
    pub(super) fn clear(&mut self) {
        self.at = None;
    }

    /// Ready at the deadline; without one, pending.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    async fn elapses_after(deadline: &mut Deadline, start: Instant) -> Duration {
        poll_fn(|cx| deadline.poll(cx)).await;
        start.elapsed()
    }

    async fn is_pending(deadline: &mut Deadline) -> bool {
        poll_fn(|cx| Poll::Ready(deadline.poll(cx).is_pending())).await
    }

    #[tokio::test(start_paused = true)]
    async fn moves_both_ways() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut deadline = Deadline::default();
        assert!(is_pending(&mut deadline).await);
        deadline.set(start + 5 * second);
        assert!(is_pending(&mut deadline).await);
        deadline.set(start + 2 * second);
        assert_eq!(elapses_after(&mut deadline, start).await.as_secs(), 2);
        deadline.set(start + 3 * second);
        assert!(is_pending(&mut deadline).await);
        deadline.set(start + 9 * second);
        deadline.set_once(|| start);
        assert_eq!(elapses_after(&mut deadline, start).await.as_secs(), 9);
        deadline.clear();
        assert!(is_pending(&mut deadline).await);
    }
}
