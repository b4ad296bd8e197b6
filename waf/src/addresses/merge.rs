//! From ranges in any order to sorted ones that do not overlap. Where ranges overlap, the one
//! that lasts longest wins: an address is listed for as long as any file says so.

use super::Until;
use std::collections::BinaryHeap;

/// Addresses of one family as numbers.
pub(super) trait Bits: Copy + Ord {
    /// The next address; `None` behind the last.
    fn next(self) -> Option<Self>;

    /// The one before; the first has none, and nobody asks.
    fn before(self) -> Self;
}

macro_rules! bits {
    ($($type:ty),*) => {$(
        impl Bits for $type {
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn before(self) -> Self {
                self.saturating_sub(1)
            }
        }
    )*};
}

bits!(u32, u128);

/// The first and the last address, and until when they are listed.
pub(super) type Span<A> = (A, A, Until);

/// Sorts and merges. There are at most twice as many ranges as before, since one is cut only
/// where another begins or ends.
pub(super) fn merged<A: Bits>(mut spans: Vec<Span<A>>) -> Vec<Span<A>> {
    spans.sort_unstable();
    let mut out = Merged { spans: Vec::with_capacity(spans.len()) };
    // Those that begin at or before the position, the longest-lasting first.
    let mut open: BinaryHeap<(Until, A)> = BinaryHeap::new();
    let mut rest = spans.into_iter().peekable();
    let Some(mut at) = rest.peek().map(|&(first, ..)| first) else { return out.spans };
    loop {
        while let Some((_, last, until)) = rest.next_if(|&(first, ..)| first <= at) {
            open.push((until, last));
        }
        while open.peek().is_some_and(|&(_, last)| last < at) {
            open.pop();
        }
        let Some(&(until, last)) = open.peek() else {
            match rest.peek() {
                Some(&(first, ..)) => at = first,
                None => return out.spans,
            }
            continue;
        };
        // Up to its end, or to where something begins that lasts longer.
        let mut end = last;
        while let Some(&(first, other_last, other_until)) = rest.peek()
            && first <= last
        {
            if other_until > until {
                end = first.before();
                break;
            }
            rest.next();
            if other_last > last {
                open.push((other_until, other_last));
            }
        }
        out.push((at, end, until));
        match end.next() {
            Some(next) => at = next,
            None => return out.spans,
        }
    }
}

/// Ranges in their order; those that touch and last equally long become one.
struct Merged<A> {
    spans: Vec<Span<A>>,
}

impl<A: Bits> Merged<A> {
    fn push(&mut self, (first, last, until): Span<A>) {
        match self.spans.last_mut() {
            Some(before) if before.2 == until && before.1.next() == Some(first) => before.1 = last,
            _ => self.spans.push((first, last, until)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::NEVER;
    use proptest::prelude::*;

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        let spans: Vec<Span<u32>> = vec![(5, 9, NEVER), (1, 4, NEVER), (8, 12, NEVER), (14, 14, 7)];
        assert_eq!(merged(spans), [(1, 12, NEVER), (14, 14, 7)]);
    }

    #[test]
    fn what_lasts_longest_wins() {
        let spans: Vec<Span<u32>> = vec![(0, 100, 10), (40, 50, 20), (45, 60, NEVER), (90, 95, 5)];
        let wanted = [(0, 39, 10), (40, 44, 20), (45, 60, NEVER), (61, 100, 10)];
        assert_eq!(merged(spans), wanted);
        let ends: Vec<Span<u32>> = vec![(0, u32::MAX, 1), (u32::MAX, u32::MAX, 2), (0, 0, 3)];
        assert_eq!(merged(ends), [(0, 0, 3), (1, u32::MAX - 1, 1), (u32::MAX, u32::MAX, 2)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn every_address_has_its_latest_expiry(
            spans in prop::collection::vec((0_u32..64, 0_u32..20, 0_u32..5), 0..20)
        ) {
            let spans: Vec<Span<u32>> =
                spans.into_iter().map(|(first, more, until)| (first, first + more, until)).collect();
            let result = merged(spans.clone());
            for pair in result.windows(2) {
                prop_assert!(pair[0].1 < pair[1].0, "{result:?}");
                prop_assert!(pair[0].1 + 1 < pair[1].0 || pair[0].2 != pair[1].2, "{result:?}");
            }
            let of = |spans: &[Span<u32>], address: u32| {
                spans.iter().filter(|s| (s.0..=s.1).contains(&address)).map(|s| s.2).max()
            };
            for address in 0..100 {
                prop_assert_eq!(of(&spans, address), of(&result, address), "{}", address);
            }
        }
    }
}
