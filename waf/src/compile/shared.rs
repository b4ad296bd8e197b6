//! What links share: chains of transformations, groups of values and bits of the prefilter, each
//! kept once and named by its index.

use std::{collections::HashMap, sync::Arc};

use super::{
    ruleset::Atom,
    watch::{Pick, Watch},
};
use crate::{
    operator::{Need, Operator},
    transform::Transformation,
};

/// Filled while rules are compiled.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) chains: Vec<Box<[Transformation]>>,
    pub(super) atoms: Vec<Atom>,
    pub(super) groups: Vec<Box<[u32]>>,
    /// What the operator of each bit of the prefilter needs.
    pub(super) needs: Vec<Need>,
    atom_ids: HashMap<String, u32>,
    group_ids: HashMap<Vec<u32>, u32>,
    /// Bits by the address of the shared pattern or phrase set.
    filters: HashMap<usize, u32>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            chains: vec![Box::default()],
            atoms: Vec::new(),
            groups: Vec::new(),
            needs: Vec::new(),
            atom_ids: HashMap::new(),
            group_ids: HashMap::new(),
            filters: HashMap::new(),
        }
    }

    pub(super) fn chain(&mut self, chain: Vec<Transformation>) -> u32 {
        let known = self.chains.iter().position(|known| **known == *chain);
        known.unwrap_or_else(|| {
            self.chains.push(chain.into());
            self.chains.len() - 1
        }) as u32
    }

    /// The prefilter's bit for patterns and phrase sets that need something.
    pub(super) fn filter(&mut self, operator: &Operator) -> Option<u32> {
        let (address, need) = match operator {
            Operator::Pattern(pattern) => (Arc::as_ptr(pattern) as usize, pattern.need().clone()),
            Operator::Phrases(phrases) => (
                Arc::as_ptr(phrases) as usize,
                Need {
                    literals: phrases.phrases().iter().map(|p| p.to_ascii_lowercase()).collect(),
                    sets: Vec::new(),
                    length: phrases.phrases().iter().map(Vec::len).min().unwrap_or(0),
                },
            ),
            _ => return None,
        };
        if need == Need::default() {
            return None;
        }
        Some(*self.filters.entry(address).or_insert_with(|| {
            self.needs.push(need);
            self.needs.len() as u32 - 1
        }))
    }

    /// The group of values a link looks at; `None` if rules may change them meanwhile.
    pub(super) fn group(&mut self, watches: &[Watch], chain: u32, stages: bool) -> Option<u32> {
        if watches.iter().any(|watch| watch.count || watch.collection.is_volatile()) {
            return None;
        }
        let mut atoms: Vec<u32> = watches
            .iter()
            .map(|watch| {
                let key = match &watch.pick {
                    Pick::Matching(pattern) => {
                        format!(
                            "{:?}/{:p}/{chain}/{stages}",
                            watch.collection,
                            Arc::as_ptr(pattern)
                        )
                    }
                    pick => format!("{:?}/{pick:?}/{chain}/{stages}", watch.collection),
                };
                *self.atom_ids.entry(key).or_insert_with(|| {
                    self.atoms.push(Atom {
                        collection: watch.collection,
                        pick: watch.pick.clone(),
                        chain,
                        stages,
                    });
                    self.atoms.len() as u32 - 1
                })
            })
            .collect();
        atoms.sort_unstable();
        atoms.dedup();
        Some(*self.group_ids.entry(atoms.clone()).or_insert_with(|| {
            self.groups.push(atoms.into());
            self.groups.len() as u32 - 1
        }))
    }
}
