//! Sorted ranges of one family, in arrays of their own so that a search touches starts only.

use super::{NEVER, Until, merge::Span};

#[derive(Debug)]
pub(super) struct Ranges<A> {
    pub(super) firsts: Box<[A]>,
    lasts: Box<[A]>,
    /// Empty if nothing expires.
    untils: Box<[Until]>,
}

impl<A: Copy + Ord> Ranges<A> {
    /// From ranges that are sorted and do not overlap.
    pub(super) fn new(spans: Vec<Span<A>>) -> Self {
        let expires = spans.iter().any(|&(.., until)| until != NEVER);
        Self {
            firsts: spans.iter().map(|&(first, ..)| first).collect(),
            lasts: spans.iter().map(|&(_, last, _)| last).collect(),
            untils: match expires {
                true => spans.iter().map(|&(.., until)| until).collect(),
                false => Box::default(),
            },
        }
    }

    /// Whether the range that begins last among the first `after` ones holds `address`.
    pub(super) fn holds(&self, after: usize, address: A, now: u64) -> bool {
        let Some(at) = after.checked_sub(1) else { return false };
        address <= self.lasts[at] && self.untils.get(at).is_none_or(|&until| is_there(until, now))
    }

    pub(super) fn len(&self) -> usize {
        self.firsts.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.len() * 2 * size_of::<A>() + self.untils.len() * size_of::<Until>()
    }
}

fn is_there(until: Until, now: u64) -> bool {
    until == NEVER || now < u64::from(until)
}
