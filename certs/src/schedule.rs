//! How long things may take and how often they are tried.

use crate::acme::MAX_RETRY_AFTER;
use rand::Rng;
use std::time::Duration;

/// Periods and deadlines of the maintenance loop. The defaults are for production; tests
/// shorten them.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Between two looks for certificates that are missing or due. Default 30 s.
    pub check: Duration,
    /// Between two looks at certificate files. Default 1 s.
    pub files: Duration,
    /// Wait after the first failed attempt for a name; doubles with each further one. Default 1 min.
    pub backoff_first: Duration,
    /// The longest wait between attempts. Default 6 h.
    pub backoff_max: Duration,
    /// A name is tried for so long after its first failure, then only once its settings change or
    /// somebody asks for it. Default 30 days.
    pub give_up: Duration,
    /// The longest wait that a restart leaves in force. Default 5 min.
    pub backoff_restart: Duration,
    /// One call of the CA, retries of bad nonces included. Default 1 min.
    pub call: Duration,
    /// From a challenge set ready to its verdict. Default 2 min.
    pub validation: Duration,
    /// From finalization to the certificate. Default 3 min.
    pub issuance: Duration,
    /// Between publishing a challenge's answer and asking the CA to look, so that the other
    /// process of an upgrade knows it too. Default 600 ms.
    pub settle: Duration,
    /// Lease of a name that is being ordered; a process that died keeps others waiting that
    /// long. Default 1 min.
    pub lease: Duration,
    /// Between looks while another process orders a name. Default 5 s.
    pub contended: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            check: Duration::from_secs(30),
            files: Duration::from_secs(1),
            backoff_first: Duration::from_secs(60),
            backoff_max: Duration::from_secs(6 * 3600),
            give_up: Duration::from_secs(30 * 24 * 3600),
            backoff_restart: Duration::from_secs(300),
            call: Duration::from_secs(60),
            validation: Duration::from_secs(120),
            issuance: Duration::from_secs(180),
            settle: Duration::from_millis(600),
            lease: Duration::from_secs(60),
            contended: Duration::from_secs(5),
        }
    }
}

impl Schedule {
    /// The wait after `failures` failed attempts in a row, within a quarter of its mean.
    pub(crate) fn backoff(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let mean = self.backoff_first.saturating_mul(doubled).min(self.backoff_max);
        mean.mul_f64(rng.random_range(0.75..=1.25))
    }

    /// The longest wait that anything asks for.
    pub(crate) fn longest_wait(&self) -> Duration {
        (self.backoff_max * 2).max(MAX_RETRY_AFTER)
    }

    /// Failures before a name is given up, however long ago the first was: half of what the time
    /// until then has room for.
    pub(crate) fn give_up_failures(&self) -> u32 {
        let longest = self.backoff_max.max(Duration::from_millis(1));
        let room = self.give_up.as_millis() / longest.as_millis() / 2;
        u32::try_from(room).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_six_hours_with_jitter() {
        let schedule = Schedule::default();
        let mut rng = rand::rng();
        for (failures, mean) in [(1, 60), (2, 120), (5, 960), (10, 21_600), (u32::MAX, 21_600)] {
            let wait = schedule.backoff(failures, &mut rng).as_secs_f64();
            let mean = f64::from(mean);
            assert!((mean * 0.75..=mean * 1.25).contains(&wait), "{failures}: {wait}");
        }
    }
}
