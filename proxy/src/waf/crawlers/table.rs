//! What was found out about addresses, for how long it holds, and no more of it than fits.

use super::Claim;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// Whether an address is who it says to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// It is.
    Verified,
    /// It is not.
    Refuted,
    /// Not asked yet, or nobody answered.
    Unknown,
}

/// How a lookup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// It is the crawler.
    Verified,
    /// It is not.
    Refuted,
    /// The DNS did not answer.
    Failed,
    /// It never began: too many were waiting.
    Dropped,
}

/// Every one, for metrics.
pub(crate) const LOOKUPS: [Lookup; 4] =
    [Lookup::Verified, Lookup::Refuted, Lookup::Failed, Lookup::Dropped];

impl Lookup {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Refuted => "refuted",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// How long an answer holds.
const VERIFIED: Duration = Duration::from_secs(24 * 60 * 60);
const REFUTED: Duration = Duration::from_secs(60 * 60);
const FAILED: Duration = Duration::from_secs(60);

/// Addresses kept. Those verified have places of their own: a flood of impostors, who may have
/// any number of IPv6 addresses, pushes no crawler out.
const KEPT_VERIFIED: usize = 16_384;
const KEPT_OTHERS: usize = 49_152;

pub(super) struct Table {
    verified: Kept,
    others: Kept,
    /// Being looked up; bounded by the queue and the lookups under way.
    asked: HashSet<Claim>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            verified: Kept::new(KEPT_VERIFIED),
            others: Kept::new(KEPT_OTHERS),
            asked: HashSet::new(),
        }
    }

    /// What is known of a claim, and whether it is time to ask. Until there is another answer
    /// the old one holds: an impostor gets no free request every hour.
    pub(super) fn look(&self, claim: &Claim, now: Instant) -> (Identity, bool) {
        let known = self.verified.found.get(claim).or_else(|| self.others.found.get(claim));
        let is_due = known.is_none_or(|&(_, until)| now >= until) && !self.asked.contains(claim);
        (known.map_or(Identity::Unknown, |&(identity, _)| identity), is_due)
    }

    /// A claim is being looked up.
    pub(super) fn asked(&mut self, claim: Claim) {
        self.asked.insert(claim);
    }

    /// A lookup has ended.
    pub(super) fn settle(&mut self, claim: Claim, lookup: Lookup, now: Instant) {
        self.asked.remove(&claim);
        let known = self.others.found.get(&claim).map(|&(identity, _)| identity);
        let (identity, time) = match lookup {
            // Who was refuted does not become unknown by keeping its servers silent.
            Lookup::Failed | Lookup::Dropped if known == Some(Identity::Refuted) => {
                (Identity::Refuted, FAILED)
            }
            Lookup::Verified => (Identity::Verified, VERIFIED),
            Lookup::Refuted => (Identity::Refuted, REFUTED),
            Lookup::Failed | Lookup::Dropped => (Identity::Unknown, FAILED),
        };
        let (to, from) = match identity {
            Identity::Verified => (&mut self.verified, &mut self.others),
            Identity::Refuted | Identity::Unknown => (&mut self.others, &mut self.verified),
        };
        from.found.remove(&claim);
        to.keep(claim, (identity, now + time));
    }

    pub(super) fn len(&self) -> usize {
        self.verified.found.len() + self.others.found.len()
    }
}

/// So many answers, the oldest given up first.
struct Kept {
    found: HashMap<Claim, (Identity, Instant)>,
    /// In the order they came; may name some that have moved on.
    order: VecDeque<Claim>,
    most: usize,
}

impl Kept {
    fn new(most: usize) -> Self {
        Self { found: HashMap::new(), order: VecDeque::new(), most }
    }

    fn keep(&mut self, claim: Claim, answer: (Identity, Instant)) {
        if self.found.insert(claim.clone(), answer).is_none() {
            self.order.push_back(claim);
        }
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.found.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Crawler, *};
    use std::{net::Ipv4Addr, sync::Arc};

    fn claim(number: u32) -> Claim {
        let document = tidegate_config::WafCrawler {
            user_agent: "Bot".into(),
            domains: vec!["bot.test".into()],
        };
        let crawler = Arc::new(Crawler::new(&document));
        Claim { address: Ipv4Addr::from_bits(number).into(), crawler }
    }

    #[test]
    fn answers_hold_for_their_time_and_until_there_is_another() {
        let (mut table, start) = (Table::new(), Instant::now());
        assert_eq!(table.look(&claim(1), start), (Identity::Unknown, true));
        table.asked(claim(1));
        assert_eq!(table.look(&claim(1), start), (Identity::Unknown, false), "asked once");
        for (lookup, identity, seconds) in [
            (Lookup::Refuted, Identity::Refuted, 3_600),
            (Lookup::Verified, Identity::Verified, 86_400),
            (Lookup::Failed, Identity::Unknown, 60),
        ] {
            table.settle(claim(1), lookup, start);
            let after = |seconds| start + Duration::from_secs(seconds);
            assert_eq!(table.look(&claim(1), after(seconds - 1)), (identity, false));
            assert_eq!(table.look(&claim(1), after(seconds)), (identity, true));
            assert_eq!(table.len(), 1);
        }
    }

    #[test]
    fn impostors_push_no_crawler_out() {
        let (mut table, now) = (Table::new(), Instant::now());
        table.settle(claim(0), Lookup::Verified, now);
        for number in 1..=KEPT_OTHERS as u32 + 10 {
            table.settle(claim(number), Lookup::Refuted, now);
        }
        assert_eq!(table.look(&claim(0), now).0, Identity::Verified);
        assert_eq!(table.look(&claim(1), now).0, Identity::Unknown);
        assert_eq!(table.len(), KEPT_OTHERS + 1);
    }

    #[test]
    fn memory_stays_bounded_when_answers_change() {
        let (mut table, now) = (Table::new(), Instant::now());
        for number in 0..200_000 {
            let lookup = if number % 2 == 0 { Lookup::Verified } else { Lookup::Refuted };
            table.settle(claim(number / 2 % 20_000), lookup, now);
        }
        assert!(table.verified.order.len() <= KEPT_VERIFIED);
        assert!(table.others.order.len() <= KEPT_OTHERS);
    }
}
