//! Rate limits: governor's GCRA over one bounded table for the whole process.
//!
//! A limit is counted once per node whatever the number of workers. Its buckets survive reloads
//! as long as it keeps its name.

mod key;
mod table;

pub(crate) use table::Table;

use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::{StateInformationMiddleware, StateSnapshot},
    nanos::Nanos,
};
use http::{HeaderMap, HeaderName, HeaderValue};
pub(crate) use key::Subject;
use std::{
    num::NonZeroU32,
    ops::Add,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tidegate_config::{Name, RateLimit};

/// One limit in force.
pub(crate) struct Limit {
    pub(crate) name: Name,
    pub(crate) document: RateLimit,
    limiter: RateLimiter<u128, Slots, TableClock, StateInformationMiddleware>,
    clock: TableClock,
    /// The constant part of `RateLimit-Policy`.
    policy: HeaderValue,
    pub(crate) refused: AtomicU64,
}

/// The answer of one limit to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Within the limit, with this many requests left at once.
    Pass { remaining: u32, reset: Duration },
    /// Over it; the next one passes after this time.
    Refuse { retry_after: Duration },
}

impl Limit {
    pub(crate) fn new(name: Name, document: RateLimit, table: &Arc<Table>) -> Self {
        let clock = TableClock { epoch: Arc::new(OnceLock::new()) };
        let quota = quota(&document);
        let fill = quota.replenish_interval().saturating_mul(quota.burst_size().get());
        let slots = Slots { table: Arc::clone(table), fill: fill.as_nanos() as u64 };
        let limiter = RateLimiter::new(quota, slots, clock.clone());
        // Set only now: the limiter took its starting point from a clock that stood at zero, so
        // arrival times of every limiter count from the table's epoch.
        let _ = clock.epoch.set(table.epoch());
        let window = document.rate.per.as_secs() * u64::from(document.burst)
            / u64::from(document.rate.count);
        let policy = format!("\"{name}\";q={};w={}", document.burst, window.max(1));
        let policy =
            HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("\"limit\""));
        Self { name, document, limiter, clock, policy, refused: AtomicU64::new(0) }
    }

    /// Counts one request. `None` when the request has no such key (a header limit on a request
    /// without the header): it is not limited.
    pub(crate) fn check(&self, subject: &Subject<'_>, table: &Table) -> Option<Decision> {
        let key = subject.key(&self.name, &self.document.key, table)?;
        let decision = match self.limiter.check_key(&key) {
            Ok(state) => Decision::Pass {
                remaining: state.remaining_burst_capacity(),
                reset: self.refill_time(&state),
            },
            Err(not_until) => Decision::Refuse { retry_after: self.wait(&not_until) },
        };
        if matches!(decision, Decision::Refuse { .. }) {
            self.refused.fetch_add(1, Relaxed);
        }
        Some(decision)
    }

    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10), and
    /// `Retry-After` on a refusal, in whole seconds rounded up.
    pub(crate) fn describe(&self, decision: Decision, headers: &mut HeaderMap) {
        let (remaining, reset) = match decision {
            Decision::Pass { remaining, reset } => (remaining, reset),
            Decision::Refuse { retry_after } => {
                headers.insert(http::header::RETRY_AFTER, HeaderValue::from(ceil(retry_after)));
                (0, retry_after)
            }
        };
        let state = format!("\"{}\";r={remaining};t={}", self.name, ceil(reset));
        if let Ok(state) = HeaderValue::try_from(state) {
            headers.insert(HeaderName::from_static("ratelimit"), state);
        }
        headers.insert(HeaderName::from_static("ratelimit-policy"), self.policy.clone());
    }

    /// Until the bucket is full again.
    fn refill_time(&self, state: &StateSnapshot) -> Duration {
        let used = self.document.burst.saturating_sub(state.remaining_burst_capacity());
        self.document.rate.per * used / self.document.rate.count
    }

    fn wait(&self, not_until: &NotUntil<Tick>) -> Duration {
        not_until.wait_time_from(self.clock.now())
    }
}

fn ceil(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn quota(document: &RateLimit) -> Quota {
    let one = NonZeroU32::MIN;
    let count = NonZeroU32::new(document.rate.count).unwrap_or(one);
    let interval = (document.rate.per / count.get()).max(Duration::from_nanos(1));
    // governor counts in 64 bits of nanoseconds; half of them are room enough.
    let most = (u64::MAX / 2) / interval.as_nanos() as u64;
    let burst = document.burst.min(u32::try_from(most).unwrap_or(u32::MAX));
    let burst = NonZeroU32::new(burst).unwrap_or(one);
    Quota::with_period(interval).unwrap_or_else(|| Quota::per_second(one)).allow_burst(burst)
}

/// Nanoseconds since the table's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Add<Nanos> for Tick {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0.saturating_add(nanos.as_u64()))
    }
}

impl Reference for Tick {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.as_u64()))
    }
}

#[derive(Clone, Debug)]
struct TableClock {
    epoch: Arc<OnceLock<Instant>>,
}

impl Clock for TableClock {
    type Instant = Tick;

    fn now(&self) -> Tick {
        Tick(self.epoch.get().map_or(0, |epoch| epoch.elapsed().as_nanos() as u64))
    }
}

/// governor's view of the shared table.
struct Slots {
    table: Arc<Table>,
    /// What an empty bucket takes to fill, in nanoseconds. A bucket that lacks more was emptied
    /// under a stricter limit of that name, and counts as empty.
    fill: u64,
}

impl governor::state::StateStore for Slots {
    type Key = u128;

    fn measure_and_replace<T, F, E>(&self, key: &u128, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let emptiest = self.table.now().saturating_add(self.fill);
        let update = |old: Option<u64>| {
            let old = old.map(|time| Nanos::from(time.min(emptiest)));
            f(old).map(|(value, new)| (value, new.as_u64()))
        };
        self.table.update(*key, update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::key::Subject;
    use tidegate_config::{LimitKey, Rate};

    fn limit(name: &str, count: u32, burst: u32, table: &Arc<Table>) -> Limit {
        let rate = Rate { count, per: Duration::from_secs(3600) };
        let document = RateLimit { key: vec![LimitKey::ClientIp], rate, burst };
        Limit::new(name.parse().unwrap(), document, table)
    }

    fn subject(headers: &HeaderMap, client: &str) -> Subject<'static> {
        let headers: &'static HeaderMap = Box::leak(Box::new(headers.clone()));
        Subject { client: client.parse().unwrap(), path: "/", headers }
    }

    #[test]
    fn a_burst_passes_and_the_next_waits_for_its_turn() {
        let table = Arc::new(Table::new(1000));
        let limit = limit("l", 3600, 3, &table);
        let who = subject(&HeaderMap::new(), "1.2.3.4");
        for left in [2, 1, 0] {
            let Some(Decision::Pass { remaining, .. }) = limit.check(&who, &table) else {
                panic!()
            };
            assert_eq!(remaining, left);
        }
        let Some(Decision::Refuse { retry_after }) = limit.check(&who, &table) else { panic!() };
        assert!(retry_after <= Duration::from_secs(1), "{retry_after:?}");
        assert!(matches!(
            limit.check(&subject(&HeaderMap::new(), "1.2.3.5"), &table),
            Some(Decision::Pass { .. })
        ));
    }

    #[test]
    fn buckets_survive_a_reload_by_name_and_limits_do_not_share_them() {
        let table = Arc::new(Table::new(1000));
        let who = subject(&HeaderMap::new(), "1.2.3.4");
        assert!(matches!(
            limit("a", 1, 1, &table).check(&who, &table),
            Some(Decision::Pass { .. })
        ));
        assert!(matches!(
            limit("a", 1, 1, &table).check(&who, &table),
            Some(Decision::Refuse { .. })
        ));
        assert!(matches!(
            limit("b", 1, 1, &table).check(&who, &table),
            Some(Decision::Pass { .. })
        ));
    }

    #[test]
    fn a_loosened_limit_forgives_what_the_stricter_one_held_against_a_client() {
        let table = Arc::new(Table::new(1000));
        let who = subject(&HeaderMap::new(), "1.2.3.4");
        let strict = limit("l", 10, 10, &table);
        while matches!(strict.check(&who, &table), Some(Decision::Pass { .. })) {}
        let loose = limit("l", 360_000, 100, &table);
        let Some(Decision::Refuse { retry_after }) = loose.check(&who, &table) else {
            return; // a token has come already
        };
        assert!(retry_after <= Duration::from_millis(10), "{retry_after:?}");
    }

    #[test]
    fn headers_tell_the_policy_the_rest_and_when_to_come_back() {
        let table = Arc::new(Table::new(1000));
        let limit = limit("per-client", 60, 2, &table);
        let mut headers = HeaderMap::new();
        limit.describe(Decision::Refuse { retry_after: Duration::from_millis(1500) }, &mut headers);
        assert_eq!(headers["retry-after"], "2");
        assert_eq!(headers["ratelimit"], "\"per-client\";r=0;t=2");
        assert_eq!(headers["ratelimit-policy"], "\"per-client\";q=2;w=120");
    }
}
