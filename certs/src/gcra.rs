//! The generic cell rate algorithm: a bucket of `rate.count` that is refilled evenly. Pure.

use std::time::Duration;
use tidegate_config::Rate;

/// `tat` is the theoretical arrival time of the next event, in milliseconds of any clock; the one
/// after it, or how long to wait.
pub(crate) fn gcra(tat: i64, now: i64, rate: Rate) -> Result<i64, Duration> {
    let per = i64::try_from(rate.per.as_millis()).unwrap_or(i64::MAX / 4);
    let interval = (per / i64::from(rate.count)).max(1);
    let window = interval.saturating_mul(i64::from(rate.count));
    // Further ahead than it can be: the clock was set back, or the rate was raised.
    let tat = tat.min(now.saturating_add(window)).max(now);
    let next = tat.saturating_add(interval);
    match next.saturating_sub(now).saturating_sub(window) {
        wait @ 1.. => Err(Duration::from_millis(wait.unsigned_abs())),
        _ => Ok(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Rate = Rate { count: 10, per: Duration::from_secs(10) };

    #[test]
    fn ten_at_once_and_then_one_a_second() {
        let mut tat = 0;
        for _ in 0..10 {
            tat = gcra(tat, 1_000_000, TEN).unwrap();
        }
        assert_eq!(gcra(tat, 1_000_000, TEN), Err(Duration::from_secs(1)));
        tat = gcra(tat, 1_001_000, TEN).unwrap();
        assert_eq!(gcra(tat, 1_001_400, TEN), Err(Duration::from_millis(600)));
        assert!(gcra(tat, 1_011_000, TEN).is_ok());
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up_for_long() {
        assert_eq!(gcra(i64::MAX, 5_000, TEN), Err(Duration::from_secs(1)));
    }
}
