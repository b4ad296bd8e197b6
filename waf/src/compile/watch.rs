//! Compiled targets: which values a rule looks at, and which it leaves out.

use std::sync::Arc;

use super::macros::Names;
use crate::{
    interner::Interner,
    operator::{Found, Pattern},
    seclang::{Collection, Selector, Target},
};

/// Values to look at.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) collection: Collection,
    pub(crate) pick: Pick,
    /// How many there are, instead of their values.
    pub(crate) count: bool,
}

/// Which members of a collection.
#[derive(Clone, Debug)]
pub(crate) enum Pick {
    All,
    /// Of this name, whatever the case.
    Named(Box<[u8]>),
    /// The `TX` variable of this slot.
    Slot(u32),
    Matching(Arc<Pattern>),
}

/// Values to leave out.
#[derive(Clone, Debug)]
pub(crate) struct Exclusion {
    pub(crate) collection: Collection,
    pub(crate) pick: Pick,
}

impl Watch {
    pub(crate) fn new(
        target: &Target,
        names: &mut Names,
        interner: &Interner,
    ) -> Result<Self, String> {
        names.ask(target.collection);
        let pick = match &target.selector {
            Selector::Named(name) if target.collection == Collection::Tx => {
                Pick::Slot(names.add(name))
            }
            other => Pick::new(other, interner)?,
        };
        Ok(Self { collection: target.collection, pick, count: target.count })
    }
}

impl Pick {
    pub(crate) fn new(selector: &Selector, interner: &Interner) -> Result<Self, String> {
        Ok(match selector {
            Selector::All => Self::All,
            Selector::Named(name) => Self::Named(name.as_slice().into()),
            Selector::Matching(pattern) => Self::matching(interner.pattern(pattern, true)?)?,
        })
    }

    /// A pattern of names. Nobody asks what the work of it was, or whether it gave up: it has to be
    /// one that takes its time by the length of a name alone.
    pub(crate) fn matching(pattern: Arc<Pattern>) -> Result<Self, String> {
        if pattern.backtracks() {
            return Err("look-around and back references are not for names".to_owned());
        }
        Ok(Self::Matching(pattern))
    }

    /// Whether a member of this name is meant.
    pub(crate) fn takes(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Named(wanted) => name.eq_ignore_ascii_case(wanted),
            // `TX` is looked up by slot, never searched by name.
            Self::Slot(_) => false,
            Self::Matching(pattern) => pattern.find(name, &mut 0) == Found::Yes,
        }
    }
}

impl Exclusion {
    pub(crate) fn new(target: &Target, interner: &Interner) -> Result<Self, String> {
        Ok(Self { collection: target.collection, pick: Pick::new(&target.selector, interner)? })
    }

    pub(crate) fn covers(&self, collection: Collection, name: &[u8]) -> bool {
        self.collection == collection && self.pick.takes(name)
    }
}
