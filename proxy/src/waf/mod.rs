//! WAF policies on the data path: rules compiled when a configuration comes into force, requests
//! looked at before an upstream is contacted, responses before the client gets them.

mod audit;
mod budget;
mod check;
mod compile;
mod crawlers;
mod geo;
mod guard;
mod hold;
mod inspection;
mod lists;
mod pace;
mod patches;
mod paths;
mod reads;
mod report;
mod trial;

pub use audit::AuditLog;
pub(crate) use budget::Budget;
pub(crate) use check::{check, judge};
pub(crate) use compile::{Rulesets, compile};
pub(crate) use crawlers::{Crawlers, LOOKUPS};
pub(crate) use geo::Geo;
pub(crate) use guard::{Check, Decision, Guard, Shared};
pub(crate) use inspection::Inspection;
pub(crate) use lists::{List, compile as compile_lists};
pub(crate) use report::{Inspected, TOLD};
pub use trial::{Checked, Trial, route_path, status, trials};

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tidegate_config::Name;
use tidegate_waf::{Limit, Policy};

/// A policy in force.
pub(crate) struct Waf {
    pub(crate) name: Name,
    pub(crate) document: tidegate_config::Waf,
    pub(crate) policy: Policy,
    /// What it checks before its rules.
    pub(crate) guard: Guard,
    /// Where its rules come from, and what was read there.
    pub(crate) source: compile::Source,
    pub(crate) reads: Arc<reads::Reads>,
    pub(crate) counts: Arc<Counts>,
    /// Whether somebody reads the audit log.
    pub(crate) audits: bool,
}

/// What a policy did; outlives reloads.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    checks: [AtomicU64; Check::ALL.len()],
    limits: [AtomicU64; Limit::ALL.len()],
    /// By rule id; only ids of the policy's rules, so the rules bound it.
    rules: parking_lot::Mutex<BTreeMap<u64, u64>>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing would have stopped it.
    Passed,
    /// It would have been refused, had the policy been in block mode.
    Detected,
    /// A rule or a check refused it.
    Blocked,
    /// A limit refused it.
    Limited,
}

impl Outcome {
    pub(crate) const ALL: [Self; 4] = [Self::Passed, Self::Detected, Self::Blocked, Self::Limited];

    /// What it is once a check of the head would have refused the request.
    fn at_least_detected(self) -> Self {
        if self == Self::Passed { Self::Detected } else { self }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Detected => "detected",
            Self::Blocked => "blocked",
            Self::Limited => "limited",
        }
    }
}

impl Counts {
    fn count(&self, outcome: Outcome, rules: &[u64], limits: &[Limit]) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
        for &limit in limits {
            self.limits[limit as usize].fetch_add(1, Relaxed);
        }
        // Most requests match nothing and take no lock.
        if !rules.is_empty() {
            let mut counts = self.rules.lock();
            rules.iter().for_each(|&rule| *counts.entry(rule).or_default() += 1);
        }
    }

    /// A check of the head decided.
    fn check(&self, check: Check) {
        self.checks[check as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn checked(&self, check: Check) -> u64 {
        self.checks[check as usize].load(Relaxed)
    }

    /// Requests that went beyond a limit.
    pub(crate) fn beyond(&self, limit: Limit) -> u64 {
        self.limits[limit as usize].load(Relaxed)
    }

    pub(crate) fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// Matches by rule id.
    pub(crate) fn rules(&self) -> BTreeMap<u64, u64> {
        self.rules.lock().clone()
    }
}
