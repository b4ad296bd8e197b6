//! What every text that a pattern matches must have: the ground of the prefilter.
//!
//! The analysis may only over-approximate: a text without what is needed has no match, a
//! text with it may have one. Letters are lower case throughout, because literals are looked
//! for without regard to case.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::bytes::ByteSet;

/// A literal set larger than this is no filter any more.
const MOST_LITERALS: usize = 400;
/// A part of a pattern that means one of so many texts is still spelled out.
const MOST_EXACT: usize = 96;
const LONGEST: usize = 24;

/// Necessary conditions for a match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// One of these occurs, unless there are none.
    pub(crate) literals: Vec<Vec<u8>>,
    /// Of each of these sets at least one byte occurs.
    pub(crate) sets: Vec<ByteSet>,
    /// The shortest text with a match.
    pub(crate) length: usize,
}

impl Need {
    /// What a pattern needs.
    pub(crate) fn of(hir: &Hir) -> Self {
        let facts = facts(hir);
        let literals = facts.required().map(|set| set.0.clone()).unwrap_or_default();
        let mut sets = facts.sets;
        sets.retain(|set| set.len() < 200);
        sets.sort_by_key(ByteSet::len);
        sets.dedup();
        sets.truncate(3);
        Self { literals, sets, length: hir.properties().minimum_len().unwrap_or(0) }
    }

    /// Whether a text of this length with these bytes may match; literals are not looked at.
    pub(crate) fn allows(&self, length: usize, bytes: &ByteSet) -> bool {
        length >= self.length && self.sets.iter().all(|set| set.meets(bytes))
    }
}

/// Lower-case texts, one of which stands at some place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Texts(Vec<Vec<u8>>);

impl Texts {
    fn one(text: Vec<u8>) -> Self {
        Self(vec![text])
    }

    /// How good a filter this is; 0 is none.
    fn rank(&self) -> u32 {
        if self.0.is_empty() || self.0.len() > MOST_LITERALS {
            return 0;
        }
        let weakest = self.0.iter().map(|text| text_rank(text)).min().unwrap_or(0);
        if weakest < 5 { 0 } else { weakest }
    }

    fn union(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self.0.sort_unstable();
        self.0.dedup();
        self
    }

    fn product(&self, other: &Self) -> Option<Self> {
        if self.0.len() * other.0.len() > MOST_EXACT {
            return None;
        }
        let mut all = Vec::with_capacity(self.0.len() * other.0.len());
        for a in &self.0 {
            for b in &other.0 {
                if a.len() + b.len() > LONGEST {
                    return None;
                }
                all.push([a.as_slice(), b.as_slice()].concat());
            }
        }
        all.sort_unstable();
        all.dedup();
        Some(Self(all))
    }
}

/// Letters are common, punctuation less so; two ordinary letters are no filter.
fn text_rank(text: &[u8]) -> u32 {
    text.iter()
        .map(|&b| match b {
            b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 2,
            b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'=' | b'-' => 3,
            b' ' => 1,
            _ => 4,
        })
        .sum()
}

#[derive(Clone, Debug, Default)]
struct Facts {
    /// All the texts it matches, if they are few.
    exact: Option<Texts>,
    /// The best set of texts of which one must occur.
    best: Option<Texts>,
    sets: Vec<ByteSet>,
}

impl Facts {
    /// The better of `best` and `exact` as a condition.
    fn required(&self) -> Option<&Texts> {
        better(self.exact.as_ref(), self.best.as_ref())
    }

    /// Sets of bytes of which one must occur, those of the literals included.
    fn smallest_set(&self) -> Option<ByteSet> {
        let from_texts = self.exact.as_ref().and_then(set_of_texts);
        self.sets.iter().copied().chain(from_texts).min_by_key(ByteSet::len)
    }
}

fn better<'t>(a: Option<&'t Texts>, b: Option<&'t Texts>) -> Option<&'t Texts> {
    [a, b]
        .into_iter()
        .flatten()
        .filter(|texts| texts.rank() > 0)
        .max_by_key(|texts| (texts.rank().min(16), usize::MAX - texts.0.len()))
}

/// Bytes of which one must occur if one of the texts does: the rarest of each.
fn set_of_texts(texts: &Texts) -> Option<ByteSet> {
    let mut set = ByteSet::default();
    for text in &texts.0 {
        let rarest = text.iter().copied().max_by_key(|&b| text_rank(&[b]))?;
        set.add(rarest);
        set.add(rarest.to_ascii_uppercase());
    }
    Some(set)
}

fn facts(hir: &Hir) -> Facts {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {
            Facts { exact: Some(Texts::one(Vec::new())), ..Facts::default() }
        }
        HirKind::Literal(literal) => literal_facts(&literal.0),
        HirKind::Class(class) => class_facts(class),
        HirKind::Capture(capture) => facts(&capture.sub),
        HirKind::Repetition(repetition) => {
            repetition_facts(&facts(&repetition.sub), repetition.min, repetition.max)
        }
        HirKind::Concat(parts) => concat_facts(parts),
        HirKind::Alternation(branches) => alternation_facts(branches),
    }
}

fn literal_facts(text: &[u8]) -> Facts {
    let lower = text.to_ascii_lowercase();
    if lower.len() <= LONGEST {
        return Facts { exact: Some(Texts::one(lower)), ..Facts::default() };
    }
    Facts { best: Some(Texts::one(lower[..LONGEST].to_vec())), ..Facts::default() }
}

fn class_facts(class: &Class) -> Facts {
    let mut set = ByteSet::default();
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                set.add_range(range.start(), range.end());
            }
        }
        // Without Unicode there are none, but if: any byte is possible.
        Class::Unicode(_) => return Facts::default(),
    }
    let mut lower: Vec<Vec<u8>> =
        (0..=255).filter(|&b| set.contains(b)).map(|b: u8| vec![b.to_ascii_lowercase()]).collect();
    lower.sort_unstable();
    lower.dedup();
    let exact = (lower.len() <= 12).then_some(Texts(lower));
    Facts { exact, best: None, sets: vec![set] }
}

fn repetition_facts(sub: &Facts, min: u32, max: Option<u32>) -> Facts {
    if min == 0 {
        let exact = match (&sub.exact, max) {
            (Some(texts), Some(1)) => Some(texts.clone().union(Texts::one(Vec::new()))),
            _ => None,
        };
        return Facts { exact, ..Facts::default() };
    }
    let mut exact = None;
    if max == Some(min) && min <= 4 {
        exact = sub.exact.clone();
        for _ in 1..min {
            exact = match (&exact, &sub.exact) {
                (Some(so_far), Some(once)) => so_far.product(once),
                _ => None,
            };
        }
    }
    let best = sub.required().cloned();
    Facts { exact, best, sets: sub.sets.clone() }
}

fn concat_facts(parts: &[Hir]) -> Facts {
    let mut run = Texts::one(Vec::new());
    let mut whole = true;
    let mut best: Option<Texts> = None;
    let mut sets = Vec::new();
    let offer = |texts: &Texts, best: &mut Option<Texts>| {
        *best = better(Some(texts), best.as_ref()).cloned();
    };
    for part in parts {
        let part = facts(part);
        sets.extend(part.sets.iter().copied());
        if let Some(set) = part.exact.as_ref().and_then(set_of_texts) {
            sets.push(set);
        }
        match &part.exact {
            Some(exact) => match run.product(exact) {
                Some(longer) => run = longer,
                None => {
                    offer(&run, &mut best);
                    whole = false;
                    run = exact.clone();
                }
            },
            None => {
                offer(&run, &mut best);
                if let Some(theirs) = part.required() {
                    offer(theirs, &mut best);
                }
                whole = false;
                run = Texts::one(Vec::new());
            }
        }
    }
    if whole {
        return Facts { exact: Some(run), best: None, sets };
    }
    offer(&run, &mut best);
    Facts { exact: None, best, sets }
}

fn alternation_facts(branches: &[Hir]) -> Facts {
    let all: Vec<Facts> = branches.iter().map(facts).collect();
    let exact = all
        .iter()
        .map(|f| f.exact.clone())
        .collect::<Option<Vec<_>>>()
        .map(|sets| sets.into_iter().fold(Texts(Vec::new()), Texts::union))
        .filter(|texts| texts.0.len() <= MOST_EXACT);
    let best = all
        .iter()
        .map(|f| f.required().cloned())
        .collect::<Option<Vec<_>>>()
        .map(|sets| sets.into_iter().fold(Texts(Vec::new()), Texts::union));
    let set = all.iter().map(Facts::smallest_set).collect::<Option<Vec<_>>>().map(|sets| {
        let mut union = ByteSet::default();
        for set in &sets {
            union.extend(set);
        }
        union
    });
    Facts { exact, best, sets: set.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(pattern: &str) -> Need {
        let hir = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(pattern)
            .unwrap();
        Need::of(&hir)
    }

    fn literals(pattern: &str) -> Vec<String> {
        need(pattern).literals.into_iter().map(|l| String::from_utf8(l).unwrap()).collect()
    }

    #[test]
    fn finds_the_best_required_texts() {
        assert_eq!(literals(r"(?i)foobarbaz\s+(?:select|union)\b"), ["foobarbaz"]);
        assert_eq!(literals(r"(?i)(?:select|union)"), ["select", "union"]);
        assert_eq!(literals(r"[a-z]+<script[^>]*>"), ["<script"]);
        assert_eq!(literals(r"(?:abc)?x*"), [""; 0]);
        assert_eq!(literals(r"(?:abc|d*)"), [""; 0]);
    }

    #[test]
    fn needs_lengths_and_bytes() {
        let need = need(r"[<>][a-z]{3}");
        assert_eq!(need.length, 4);
        assert!(need.allows(4, &ByteSet::in_text(b"<abc")));
        assert!(!need.allows(4, &ByteSet::in_text(b"abcd")));
        assert!(!need.allows(3, &ByteSet::in_text(b"<ab")));
    }
}
