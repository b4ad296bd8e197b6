//! Which version a unit gets: weighted rendezvous hashing in fixed point.
//!
//! Every version draws a pseudo-random number from (salt, service, version, unit); the lowest
//! of `-log2(u) / weight` wins. A version wins with probability weight / sum of weights, and
//! raising one weight moves units only towards it (Mosharaf, "weighted distributed hash
//! tables", section 3; the exponential clocks of Schindelhauer and Schomaker, 2005). Integers
//! only, so that every node agrees on every unit.

use siphasher::sip::SipHasher13;
use std::{cmp::Ordering, hash::Hasher};
use tidegate_config::Weight;

/// The store's secret that makes assignments of one installation its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub u64, pub u64);

/// What is assigned: a sticky client, or a single request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unit(pub u64);

impl Unit {
    /// A unit from what identifies a client.
    pub fn of(salt: Salt, identity: &[u8]) -> Self {
        let mut hash = SipHasher13::new_with_keys(salt.0, salt.1);
        hash.write(identity);
        Self(hash.finish())
    }
}

/// The index of the version `unit` belongs to. `versions` gives each version's name and weight;
/// `None` when no weight is above zero. Ties (never seen in 2^64) go to the earlier version.
pub fn assign<'a>(
    salt: Salt,
    service: &str,
    unit: Unit,
    versions: impl IntoIterator<Item = (&'a str, Weight)>,
) -> Option<usize> {
    let mut best: Option<(usize, Score)> = None;
    for (index, (name, weight)) in versions.into_iter().enumerate() {
        if weight == Weight::ZERO {
            continue;
        }
        let score = Score { clock: neg_log2(draw(salt, service, name, unit)), weight };
        if best.is_none_or(|(_, leader)| score.earlier(leader) == Ordering::Less) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

fn draw(salt: Salt, service: &str, version: &str, unit: Unit) -> u64 {
    let mut hash = SipHasher13::new_with_keys(salt.0, salt.1);
    hash.write(service.as_bytes());
    hash.write_u8(0xff); // a byte no name contains
    hash.write(version.as_bytes());
    hash.write_u8(0xff);
    hash.write_u64(unit.0);
    hash.finish()
}

#[derive(Clone, Copy)]
struct Score {
    clock: u64,
    weight: Weight,
}

impl Score {
    /// Compares `clock / weight` without dividing.
    fn earlier(self, other: Self) -> Ordering {
        let left = u128::from(self.clock) * u128::from(other.weight.hundredths());
        let right = u128::from(other.clock) * u128::from(self.weight.hundredths());
        left.cmp(&right)
    }
}

/// `-log2((x + 1) / 2^64)` with 56 bits of fraction, by the classical squaring method.
fn neg_log2(x: u64) -> u64 {
    const FRACTION: u32 = 56;
    let Some(x) = x.checked_add(1) else { return 0 };
    let exponent = 63 - x.leading_zeros();
    // Mantissa in [1, 2) as 1.63 fixed point.
    let mut mantissa = x << x.leading_zeros();
    let mut fraction = 0u64;
    for bit in (0..FRACTION).rev() {
        let square = u128::from(mantissa) * u128::from(mantissa); // 2.126 fixed point
        if square >> 127 == 1 {
            fraction |= 1 << bit;
            mantissa = (square >> 64) as u64;
        } else {
            mantissa = (square >> 63) as u64;
        }
    }
    let log2 = (u64::from(exponent) << FRACTION) | fraction;
    (64 << FRACTION) - log2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: Salt = Salt(1, 2);

    fn weight(hundredths: u32) -> Weight {
        Weight::try_from_hundredths(hundredths).expect("in range")
    }

    fn assigned(unit: u64, weights: &[(&'static str, u32)]) -> &'static str {
        let versions = weights.iter().map(|&(name, w)| (name, weight(w)));
        weights[assign(SALT, "shop", Unit(unit), versions).expect("some weight")].0
    }

    #[test]
    fn neg_log2_is_exact_at_powers_of_two() {
        for k in 0..64 {
            assert_eq!(neg_log2((1u64 << k) - 1), (64 - k as u64) << 56, "2^{k}");
        }
        assert_eq!(neg_log2(u64::MAX), 0);
    }

    #[test]
    fn shares_follow_the_weights() {
        // 40,000 units, share 10 %: sd 60; five sd either way.
        let n = (0..40_000).filter(|&u| assigned(u, &[("blue", 9000), ("green", 1000)]) == "green");
        let n = n.count();
        assert!((3_700..4_300).contains(&n), "{n}");
    }

    #[test]
    fn weight_zero_gets_nobody_and_all_zero_is_none() {
        assert!((0..1000).all(|u| assigned(u, &[("blue", 1), ("green", 0)]) == "blue"));
        assert_eq!(assign(SALT, "s", Unit(1), [("a", Weight::ZERO)]), None);
    }

    proptest! {
        #[test]
        fn raising_a_weight_moves_units_only_towards_it(
            unit: u64, b in 0u32..10_000, r in 0u32..10_000, low in 1u32..5_000, up in 1u32..5_000,
        ) {
            let before = assigned(unit, &[("blue", b), ("red", r), ("green", low)]);
            let after = assigned(unit, &[("blue", b), ("red", r), ("green", low + up)]);
            prop_assert!(before == after || after == "green");
        }

        #[test]
        fn scaling_all_weights_moves_nobody(unit: u64, b in 1u32..1_000, g in 1u32..1_000) {
            prop_assert_eq!(
                assigned(unit, &[("blue", b), ("green", g)]),
                assigned(unit, &[("blue", b * 10), ("green", g * 10)])
            );
        }
    }
}
