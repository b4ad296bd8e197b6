//! How fast a body has to come while it is held: one that trickles in would keep its memory for
//! hours, since each byte ends the pause that the listener's `body_timeout` bounds.

use std::time::Duration;
use tokio::time::Instant;

/// Bytes a second, on average over each time of the listener's `body_timeout`: what Apache's
/// `mod_reqtimeout` asks for.
const RATE: f64 = 500.0;

/// As much as is held has to come again within this time, or the body's end.
const AGAIN: Duration = Duration::from_secs(600);

/// By when a body has to have come by how much.
pub(super) struct Pace {
    window: Duration,
    due: Instant,
    /// Bytes that begin the next window.
    wanted: usize,
}

impl Pace {
    pub(super) fn new(window: Duration, now: Instant) -> Self {
        Self { window, due: now + window, wanted: enough(window) }
    }

    /// When it is too slow, unless more of it or its end comes before.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// So many bytes are there by now.
    pub(super) fn came(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        if bytes >= self.wanted {
            // The more memory it takes, the sooner it has to end.
            self.wanted = bytes + enough(self.window).max(self.share(bytes));
            self.due = now() + self.window;
        }
    }
}

impl Pace {
    /// What has to come in a window so that all that is held so far would have come in [`AGAIN`].
    fn share(&self, bytes: usize) -> usize {
        (bytes as f64 * self.window.as_secs_f64() / AGAIN.as_secs_f64()) as usize
    }
}

fn enough(window: Duration) -> usize {
    (window.as_secs_f64() * RATE) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_asks_for_its_bytes() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut pace = Pace::new(30 * second, start);
        assert_eq!(pace.due(), start + 30 * second);
        pace.came(14_999, || start + 29 * second);
        assert_eq!(pace.due(), start + 30 * second);
        pace.came(15_000, || start + 29 * second);
        assert_eq!(pace.due(), start + 59 * second);
        // What came early does not count for later.
        pace.came(1_000_000, || start + 40 * second);
        pace.came(1_049_999, || start + 60 * second);
        assert_eq!(pace.due(), start + 70 * second);
        pace.came(1_050_000, || start + 60 * second);
        assert_eq!(pace.due(), start + 90 * second);
    }
}
