//! How long a secret serves.

use time::OffsetDateTime;

/// Tickets are good for this and the next period.
pub(super) const LIFETIME: u32 = 2 * 6 * 3600;
const SECONDS: i64 = 6 * 3600;

/// Six hours, the same ones for all nodes. Its secret seals while it lasts, and opens until the
/// end of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Period(i64);

impl Period {
    pub(super) fn at(now: OffsetDateTime) -> Self {
        Self(now.unix_timestamp().div_euclid(SECONDS))
    }

    /// The one that starts at this moment, in unix seconds.
    pub(super) fn starting(at: i64) -> Option<Self> {
        (at.rem_euclid(SECONDS) == 0).then_some(Self(at.div_euclid(SECONDS)))
    }

    /// In unix seconds.
    pub(super) fn start(self) -> i64 {
        self.0.saturating_mul(SECONDS)
    }

    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Whether its secret is of use now. Later ones than the next are taken, too, as from a node
    /// whose clock is a little ahead; no more of them, so that this bounds how many there are.
    pub(super) fn is_of_use(self, now: Self) -> bool {
        (now.0 - 1..=now.0 + 2).contains(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_agree_on_where_a_period_starts() {
        let at = |seconds| Period::at(OffsetDateTime::from_unix_timestamp(seconds).unwrap());
        assert_eq!(at(21_600), at(43_199));
        assert_eq!(at(21_600).next(), at(43_200));
        assert_eq!(Period::starting(at(43_199).start()), Some(at(21_600)));
        assert_eq!(Period::starting(21_601), None);
        assert_eq!(at(-1).next(), at(0));
    }
}
