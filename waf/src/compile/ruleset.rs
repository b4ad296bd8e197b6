//! The compiled rules of some files, shared by every policy that uses them.

use std::{path::Path, sync::Arc};

use super::{build, macros::Names, prefilter::Prefilter, rule::Rule, watch::Pick};
use crate::{
    interner::Interner,
    seclang::{self, Collection, Fault, Faults, Files},
    transform::Transformation,
};

/// Rules that were read and compiled; immutable and shared through an `Arc`.
///
/// What differs between routes (mode, paranoia, thresholds, exclusions, limits) is a
/// [`Policy`](crate::Policy) on top of it.
#[derive(Debug)]
pub struct Ruleset {
    pub(crate) rules: Vec<Rule>,
    /// For each phase the rules and markers in the order of the files.
    pub(crate) phases: [Vec<Step>; 5],
    pub(crate) chains: Vec<Box<[Transformation]>>,
    pub(crate) atoms: Vec<Atom>,
    pub(crate) groups: Vec<Box<[u32]>>,
    pub(crate) prefilter: Prefilter,
    pub(crate) names: Names,
    pub(crate) separator: u8,
    pub(crate) response_types: Vec<Vec<u8>>,
    pub(crate) web_app_id: Vec<u8>,
    pub(crate) components: Vec<String>,
    pub(crate) notices: Vec<Fault>,
    pub(crate) asks_country: bool,
}

/// An element of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Rule(u32),
    Marker(Vec<u8>),
}

/// Values whose prefilter bits are joined: part of a collection behind a chain.
#[derive(Clone, Debug)]
pub(crate) struct Atom {
    pub(crate) collection: Collection,
    pub(crate) pick: Pick,
    pub(crate) chain: u32,
    /// Whether the values between the chain's transformations count as well.
    pub(crate) stages: bool,
}

impl Ruleset {
    /// Reads and compiles rule files and all they include, in the order given.
    ///
    /// # Errors
    /// Every fault of every file, each with file and line.
    pub fn load(
        files: &dyn Files,
        roots: &[&Path],
        interner: &Interner,
    ) -> Result<Arc<Self>, Faults> {
        build::build(files, seclang::read(files, roots), interner).map(Arc::new)
    }

    /// What was read and has no effect, because the policy decides it or nothing answers it.
    #[must_use]
    pub fn notices(&self) -> &[Fault] {
        &self.notices
    }

    /// How many rules there are; a chain is one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a rule asks for the client's country (`@geoLookup`).
    #[must_use]
    pub fn asks_country(&self) -> bool {
        self.asks_country
    }

    /// The `SecComponentSignature`s: which rule sets, in which version, were loaded.
    #[must_use]
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// The ids of all rules, in the order of the files.
    pub fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.rules.iter().map(|rule| rule.id)
    }

    /// Bytes held by the prefilter, for a figure of memory.
    #[must_use]
    pub fn prefilter_bytes(&self) -> usize {
        self.prefilter.memory()
    }
}
