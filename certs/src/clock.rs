//! The wall clock, in one place, so that tests can move it.

use std::{fmt, sync::Arc};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// Tells the wall time. Validity and renewal of certificates go by it; waiting does not.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// A clock that shows what `now` returns.
    pub fn new(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    pub(crate) fn now(&self) -> OffsetDateTime {
        (self.0)()
    }

    /// How long from now to `then`; zero if it has passed.
    pub(crate) fn until(&self, then: OffsetDateTime) -> std::time::Duration {
        (then - self.now()).try_into().unwrap_or_default()
    }
}

impl Default for Clock {
    /// The system's clock.
    fn default() -> Self {
        Self::new(OffsetDateTime::now_utc)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// `at` in RFC 3339, to the second.
pub(crate) fn rfc3339(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}

/// `at` plus `by`, at the end of time if that is beyond it.
pub(crate) fn after(at: OffsetDateTime, by: std::time::Duration) -> OffsetDateTime {
    at.saturating_add(Duration::try_from(by).unwrap_or(Duration::MAX))
}
