//! Templates with the names of `TX` variables resolved to slots.

use std::collections::HashMap;

use crate::seclang::{Collection, Part, Template};

/// `TX:0` to `TX:9`, the places of captures, are the first slots.
pub(crate) const CAPTURE_SLOTS: u32 = 10;

/// The `TX` names that rules mention, each with a slot.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    slots: HashMap<Vec<u8>, u32>,
    /// As first written.
    shown: Vec<Vec<u8>>,
    /// Whether something asks for the time of day.
    clock: bool,
}

impl Names {
    pub(crate) fn new() -> Self {
        let mut names = Self { slots: HashMap::new(), shown: Vec::new(), clock: false };
        for digit in 0..CAPTURE_SLOTS {
            names.add(digit.to_string().as_bytes());
        }
        names
    }

    /// The slot of a name, without regard to case.
    pub(crate) fn add(&mut self, name: &[u8]) -> u32 {
        let key = name.to_ascii_lowercase();
        if let Some(&slot) = self.slots.get(&key) {
            return slot;
        }
        let slot = self.shown.len() as u32;
        self.slots.insert(key, slot);
        self.shown.push(name.to_vec());
        slot
    }

    /// The slot of a lower-case name, if a rule mentions it.
    pub(crate) fn find(&self, lower: &[u8]) -> Option<u32> {
        self.slots.get(lower).copied()
    }

    pub(crate) fn shown(&self, slot: u32) -> &[u8] {
        self.shown.get(slot as usize).map_or(b"", Vec::as_slice)
    }

    /// A rule looks at this collection, or a macro does.
    pub(crate) fn ask(&mut self, collection: Collection) {
        self.clock |= collection.is_clock();
    }

    pub(crate) const fn ask_clock(&self) -> bool {
        self.clock
    }

    pub(crate) fn len(&self) -> usize {
        self.shown.len()
    }
}

/// Text with macros, ready to expand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Macro {
    pub(crate) pieces: Box<[Piece]>,
}

/// A piece of a [`Macro`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Piece {
    Text(Box<[u8]>),
    Tx(u32),
    /// A field of the rule at hand, lower case.
    Rule(Box<[u8]>),
    /// The first value of a collection, or of the member with this lower-case name.
    Value(Collection, Option<Box<[u8]>>),
}

impl Macro {
    pub(crate) fn new(template: &Template, names: &mut Names) -> Self {
        let pieces = template
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Piece::Text(text.as_slice().into()),
                Part::Tx(name) => Piece::Tx(names.add(name)),
                Part::Rule(field) => Piece::Rule(field.as_slice().into()),
                Part::Value(collection, key) => {
                    names.ask(*collection);
                    let key = key.as_ref().map(|key| key.to_ascii_lowercase().into());
                    Piece::Value(*collection, key)
                }
            })
            .collect();
        Self { pieces }
    }

    pub(crate) fn text(text: &[u8]) -> Self {
        Self { pieces: Box::new([Piece::Text(text.into())]) }
    }

    /// The text when there is no macro in it.
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        match &*self.pieces {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}
