//! A compiled rule: a chain of links with what a match does.

use std::sync::Arc;

use super::{
    macros::Macro,
    watch::{Exclusion, Watch},
};
use crate::{
    operator::Operator,
    seclang::{Access, Allow, Bodies, Collection, Position, Sanitise, Switch},
};

/// A rule; a rule without `chain` has one link.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: u64,
    pub(crate) at: Position,
    /// From 0 to 4.
    pub(crate) phase: usize,
    pub(crate) message: Option<Macro>,
    pub(crate) log_data: Option<Macro>,
    pub(crate) severity: Option<u8>,
    pub(crate) tags: Vec<Macro>,
    pub(crate) version: Option<Vec<u8>>,
    pub(crate) revision: Option<Vec<u8>>,
    pub(crate) log: bool,
    pub(crate) audit: bool,
    pub(crate) disposition: Disposition,
    pub(crate) status: Option<u16>,
    pub(crate) skip: u32,
    pub(crate) skip_after: Option<Vec<u8>>,
    pub(crate) sanitise: Vec<Sanitise>,
    /// From the tag `paranoia-level/N`.
    pub(crate) paranoia: Option<u8>,
    pub(crate) links: Vec<Link>,
}

impl Rule {
    /// A rule that says nothing but who it is.
    pub(crate) fn new(id: u64, at: &Position, phase: usize) -> Self {
        Self {
            id,
            at: at.clone(),
            phase,
            message: None,
            log_data: None,
            severity: None,
            tags: Vec::new(),
            version: None,
            revision: None,
            log: true,
            audit: true,
            disposition: Disposition::Pass,
            status: None,
            skip: 0,
            skip_after: None,
            sanitise: Vec::new(),
            paranoia: None,
            links: Vec::new(),
        }
    }

    pub(crate) fn has_tag(&self, tag: &[u8]) -> bool {
        self.tags.iter().any(|t| t.literal() == Some(tag))
    }

    pub(crate) fn has_message(&self, message: &[u8]) -> bool {
        self.message.as_ref().and_then(Macro::literal) == Some(message)
    }
}

/// What a match does to the request, `block` resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    Pass,
    Deny,
    Drop,
    Allow(Allow),
    Redirect(Macro),
}

/// One condition of a rule and what happens when it holds.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) watches: Box<[Watch]>,
    pub(crate) exclusions: Box<[Exclusion]>,
    /// `None`: always, without looking at anything (`SecAction`).
    pub(crate) operator: Option<Arc<Operator>>,
    pub(crate) negated: bool,
    pub(crate) capture: bool,
    pub(crate) multi_match: bool,
    /// Index of the chain of transformations.
    pub(crate) chain: u32,
    /// The operator's bit in the prefilter; without one it is always tested.
    pub(crate) filter: Option<u32>,
    /// The group of (collection, chain) whose values are prefiltered together.
    pub(crate) group: Option<u32>,
    pub(crate) changes: Box<[Change]>,
    pub(crate) effects: Box<[Effect]>,
}

/// `setvar`.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) collection: Collection,
    /// The slot of a `TX` variable whose name has no macro.
    pub(crate) slot: Option<u32>,
    pub(crate) name: Macro,
    pub(crate) op: ChangeOp,
    /// Whether the name says it is an anomaly score, which matches report.
    pub(crate) scores: bool,
}

/// The change of a [`Change`].
#[derive(Debug)]
pub(crate) enum ChangeOp {
    Unset,
    Set(Macro),
    Add(Macro),
    Subtract(Macro),
}

/// `ctl`, with rules resolved to bits.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    RemoveRules(RuleBits),
    RemoveTargets(RuleBits, Arc<[Exclusion]>),
    Engine(Switch),
    Access(Access),
    Processor(Bodies),
    ForceRequestBody(bool),
    Audit(Switch),
}

/// A set of rules by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleBits(Arc<[u64]>);

impl RuleBits {
    pub(crate) fn of(rules: &[Rule], test: impl Fn(&Rule) -> bool) -> Self {
        let mut words = vec![0_u64; rules.len().div_ceil(64)];
        for (index, rule) in rules.iter().enumerate() {
            if test(rule) {
                words[index / 64] |= 1 << (index % 64);
            }
        }
        Self(words.into())
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }
}
