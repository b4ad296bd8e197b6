//! One scan of a value that tells which patterns may match it.
//!
//! Every pattern of the rule set that needs a literal puts its literals into one automaton;
//! patterns without a literal are judged by length and by the bytes that occur. The answer is
//! a bit for each pattern and only over-approximates: no bit, no match.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};

use crate::operator::{ByteSet, Need};

/// The prefilter of a rule set.
#[derive(Debug)]
pub(crate) struct Prefilter {
    automaton: Option<AhoCorasick>,
    /// For each literal of the automaton the bits it speaks for.
    owners: Vec<Box<[u32]>>,
    needs: Vec<Need>,
    /// Bits without a literal.
    unliteral: Vec<u32>,
}

impl Prefilter {
    /// `needs[bit]` is what the pattern of that bit needs.
    pub(crate) fn new(needs: Vec<Need>) -> Result<Self, String> {
        let mut literals: BTreeMap<&[u8], Vec<u32>> = BTreeMap::new();
        let mut unliteral = Vec::new();
        for (bit, need) in needs.iter().enumerate() {
            if need.literals.is_empty() {
                unliteral.push(bit as u32);
            }
            for literal in &need.literals {
                let owners = literals.entry(literal).or_default();
                if owners.last() != Some(&(bit as u32)) {
                    owners.push(bit as u32);
                }
            }
        }
        let automaton = if literals.is_empty() {
            None
        } else {
            Some(
                AhoCorasickBuilder::new()
                    .ascii_case_insensitive(true)
                    .match_kind(MatchKind::Standard)
                    .build(literals.keys())
                    .map_err(|error| error.to_string())?,
            )
        };
        let owners = literals.into_values().map(Vec::into_boxed_slice).collect();
        let needs = needs.into_iter().map(|need| Need { literals: Vec::new(), ..need }).collect();
        Ok(Self { automaton, owners, needs, unliteral })
    }

    /// How many words the bits of one value take.
    pub(crate) fn words(&self) -> usize {
        self.needs.len().div_ceil(64)
    }

    /// Writes the bits of `text` to `bits`, which are zero.
    pub(crate) fn scan(&self, text: &[u8], bits: &mut [u64]) {
        let bytes = ByteSet::in_text(text);
        let allows = |bit: u32| self.needs[bit as usize].allows(text.len(), &bytes);
        if let Some(automaton) = &self.automaton {
            for found in automaton.find_overlapping_iter(text) {
                for &bit in &*self.owners[found.pattern().as_usize()] {
                    let (word, mask) = ((bit / 64) as usize, 1 << (bit % 64));
                    if bits[word] & mask == 0 && allows(bit) {
                        bits[word] |= mask;
                    }
                }
            }
        }
        for &bit in &self.unliteral {
            if allows(bit) {
                bits[(bit / 64) as usize] |= 1 << (bit % 64);
            }
        }
    }

    /// Bytes held by the automaton.
    pub(crate) fn memory(&self) -> usize {
        self.automaton.as_ref().map_or(0, AhoCorasick::memory_usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_literals_lengths_and_bytes() {
        let needs = vec![
            Need { literals: vec![b"select".to_vec(), b"union".to_vec()], ..Need::default() },
            Need { length: 8, ..Need::default() },
            Need { sets: vec![ByteSet::in_text(b"<>")], ..Need::default() },
        ];
        let filter = Prefilter::new(needs).unwrap();
        let bits = |text: &[u8]| {
            let mut bits = [0];
            filter.scan(text, &mut bits);
            bits[0]
        };
        assert_eq!(bits(b"a UNION"), 0b001);
        assert_eq!(bits(b"a long text"), 0b010);
        assert_eq!(bits(b"<"), 0b100);
        assert_eq!(bits(b""), 0);
    }
}
