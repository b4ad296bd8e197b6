//! The prefilter's answer for whole groups of values.
//!
//! Most rules share what they look at (`ARGS|ARGS_NAMES|REQUEST_COOKIES|...` behind one of a
//! few chains). The bits of all values of such a group are joined once in a phase; a rule whose
//! bit is not among them is done with one test.

use super::{Transaction, store::Entry, texts::Texts};
use crate::compile::{Atom, Prefilter, Ruleset};

/// Joined bits, valid for the generation they were made in.
#[derive(Debug)]
pub(super) struct Filters {
    words: usize,
    /// Changes whenever collections may have changed.
    generation: u32,
    atoms: Bits,
    groups: Bits,
}

#[derive(Debug)]
struct Bits {
    bits: Vec<u64>,
    made: Vec<u32>,
}

impl Bits {
    fn new(count: usize, words: usize) -> Self {
        Self { bits: vec![0; count * words], made: vec![0; count] }
    }
}

impl Filters {
    pub(super) fn new(rules: &Ruleset) -> Self {
        let words = rules.prefilter.words();
        Self {
            words,
            generation: 1,
            atoms: Bits::new(rules.atoms.len(), words),
            groups: Bits::new(rules.groups.len(), words),
        }
    }

    /// Collections may have changed.
    pub(super) const fn renew(&mut self) {
        self.generation += 1;
    }
}

impl Transaction<'_> {
    /// Whether some value of the group may match the pattern of this bit.
    pub(super) fn group_allows(&mut self, group: u32, bit: u32) -> bool {
        let index = group as usize;
        if self.filters.groups.made[index] != self.filters.generation {
            self.join_group(index);
        }
        let word = self.filters.groups.bits[index * self.filters.words + (bit / 64) as usize];
        word & (1 << (bit % 64)) != 0
    }

    fn join_group(&mut self, group: usize) {
        let rules = &self.policy.rules;
        let words = self.filters.words;
        let generation = self.filters.generation;
        let place = group * words..(group + 1) * words;
        self.filters.groups.bits[place.clone()].fill(0);
        for &atom in &*rules.groups[group] {
            let atom = atom as usize;
            if self.filters.atoms.made[atom] != generation {
                self.join_atom(atom, &rules.atoms[atom]);
            }
            let from = &self.filters.atoms.bits[atom * words..(atom + 1) * words];
            for (to, from) in self.filters.groups.bits[place.clone()].iter_mut().zip(from) {
                *to |= from;
            }
        }
        self.filters.groups.made[group] = generation;
    }

    fn join_atom(&mut self, index: usize, atom: &Atom) {
        let rules = &self.policy.rules;
        let words = self.filters.words;
        let bits = &mut self.filters.atoms.bits[index * words..(index + 1) * words];
        bits.fill(0);
        let chain = &*rules.chains[atom.chain as usize];
        let texts = &mut self.texts;
        self.store.each(atom.collection, |Entry { name, value }| {
            if !atom.pick.takes(name.map_or(b"", |name| texts.get(name))) {
                return;
            }
            let mut text = value;
            if atom.stages {
                join(bits, texts, text, &rules.prefilter);
            }
            for &transformation in chain {
                let next = texts.step(text, transformation);
                if atom.stages && next != text {
                    join(bits, texts, next, &rules.prefilter);
                }
                text = next;
            }
            if !atom.stages {
                join(bits, texts, text, &rules.prefilter);
            }
        });
        self.filters.atoms.made[index] = self.filters.generation;
    }
}

fn join(bits: &mut [u64], texts: &mut Texts, text: super::texts::Text, prefilter: &Prefilter) {
    for (to, from) in bits.iter_mut().zip(texts.hits(text, prefilter)) {
        *to |= from;
    }
}
