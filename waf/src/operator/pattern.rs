//! A compiled `@rx` pattern.
//!
//! Almost every pattern runs on `regex::bytes`, in time linear in the text whatever the text
//! is. Look-around and back references (a few rules of CRS 3) run on a backtracking engine
//! with a limit, and what that took is counted; nobody knows whether a pattern that reaches the
//! limit would have matched, and the transaction is told.

use smallvec::SmallVec;

use super::{
    literals::Need,
    translate::{Dialect, Refusal, translate},
};

/// The size of one compiled pattern; what does not fit is refused at load.
const PROGRAM_BYTES: usize = 8 << 20;

/// The size of one pattern's lazily built automaton in each thread.
///
/// Measured with CRS 4 at paranoia 4: all of them together grow to 30 MiB with 100,000 varied
/// requests. With half as much a body written against the cache (990 arguments of what rules
/// look for) takes 50 ms instead of 20, with three times as much still 20.
const CACHE_BYTES: usize = 1 << 20;

/// Steps of the backtracking engine. It does not tell how many it took, so it is given few
/// first, and more where those do not do. Every byte before a match is a step.
const BACKTRACKS: [usize; 5] = [1 << 8, 1 << 11, 1 << 14, 1 << 17, 1 << 20];

/// What a step counts as work: as long as this many bytes of a search take.
const STEP_WORK: u64 = 4;

/// How many groups are captured, the whole match included.
pub(crate) const CAPTURES: usize = 10;

/// Where groups matched.
pub(crate) type Groups = SmallVec<[Option<(u32, u32)>; CAPTURES]>;

/// A pattern, ready to search.
#[derive(Debug)]
pub(crate) struct Pattern {
    engine: Engine,
    need: Need,
}

#[derive(Debug)]
enum Engine {
    Linear(regex::bytes::Regex),
    /// The pattern with each limit of [`BACKTRACKS`].
    Backtracking(Box<[fancy_regex::Regex]>),
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    No,
    Yes,
    /// The backtracking engine gave up.
    GaveUp,
}

impl Pattern {
    /// Compiles a pattern in PCRE's syntax.
    pub(crate) fn new(source: &[u8], ignore_case: bool) -> Result<Self, String> {
        match translate(source, Dialect::Linear) {
            Ok(text) => Self::linear(&text, ignore_case),
            Err(Refusal::NeedsBacktracking) => match translate(source, Dialect::Backtracking) {
                Ok(text) => Self::backtracking(&text, ignore_case),
                Err(Refusal::Unsupported(what)) => Err(what),
                Err(Refusal::NeedsBacktracking) => Err("neither engine can run it".to_owned()),
            },
            Err(Refusal::Unsupported(what)) => Err(what),
        }
    }

    fn linear(text: &str, ignore_case: bool) -> Result<Self, String> {
        let regex = regex::bytes::RegexBuilder::new(text)
            .unicode(false)
            .dot_matches_new_line(true)
            .multi_line(true)
            .case_insensitive(ignore_case)
            .size_limit(PROGRAM_BYTES)
            .dfa_size_limit(CACHE_BYTES)
            .build()
            .map_err(|error| last_line(&error.to_string()))?;
        let need = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .dot_matches_new_line(true)
            .multi_line(true)
            .case_insensitive(ignore_case)
            .build()
            .parse(text)
            .map(|hir| Need::of(&hir))
            .map_err(|error| last_line(&error.to_string()))?;
        Ok(Self { engine: Engine::Linear(regex), need })
    }

    fn backtracking(text: &str, ignore_case: bool) -> Result<Self, String> {
        let flags = if ignore_case { "(?ism)" } else { "(?sm)" };
        let with_limit = |limit| {
            fancy_regex::RegexBuilder::new(&format!("{flags}{text}"))
                .backtrack_limit(limit)
                .delegate_size_limit(PROGRAM_BYTES)
                .delegate_dfa_size_limit(CACHE_BYTES)
                .build()
        };
        let regexes = BACKTRACKS.into_iter().map(with_limit).collect::<Result<_, _>>();
        let regexes = regexes.map_err(|error| last_line(&error.to_string()))?;
        Ok(Self { engine: Engine::Backtracking(regexes), need: Need::default() })
    }

    /// What every text in which this pattern is found has.
    pub(crate) const fn need(&self) -> &Need {
        &self.need
    }

    /// Whether it needs the engine that may give up.
    pub(crate) const fn backtracks(&self) -> bool {
        matches!(self.engine, Engine::Backtracking(_))
    }

    /// Whether the pattern is found in `text`. Work beyond reading the text once is added.
    pub(crate) fn find(&self, text: &[u8], work: &mut u64) -> Found {
        match &self.engine {
            Engine::Linear(regex) => yes_or_no(regex.is_match(text)),
            Engine::Backtracking(regexes) => {
                let chars = as_chars(text);
                match patiently(regexes, work, |regex| regex.is_match(&chars)) {
                    Some(found) => yes_or_no(found),
                    None => Found::GaveUp,
                }
            }
        }
    }

    /// Whether the pattern is found in `text`, and its groups. Work is added as by
    /// [`Self::find`].
    pub(crate) fn capture(&self, text: &[u8], groups: &mut Groups, work: &mut u64) -> Found {
        groups.clear();
        match &self.engine {
            Engine::Linear(regex) => {
                // Most texts have no match, and only groups need memory.
                if !regex.is_match(text) {
                    return Found::No;
                }
                // Without a group of its own a pattern has only the whole match.
                if regex.captures_len() == 1 {
                    let found = regex.find(text);
                    groups.extend(found.map(|m| Some((m.start() as u32, m.end() as u32))));
                    return yes_or_no(found.is_some());
                }
                let Some(found) = regex.captures(text) else { return Found::No };
                groups.extend(
                    found
                        .iter()
                        .take(CAPTURES)
                        .map(|group| group.map(|m| (m.start() as u32, m.end() as u32))),
                );
                Found::Yes
            }
            Engine::Backtracking(regexes) => {
                let chars = as_chars(text);
                // A character above 0x7f takes two bytes of the text that was searched.
                let offset = |at: usize| chars[..at].chars().count() as u32;
                match patiently(regexes, work, |regex| regex.captures(&chars)) {
                    Some(Some(found)) => {
                        groups.extend(
                            found
                                .iter()
                                .take(CAPTURES)
                                .map(|g| g.map(|m| (offset(m.start()), offset(m.end())))),
                        );
                        Found::Yes
                    }
                    Some(None) => Found::No,
                    None => Found::GaveUp,
                }
            }
        }
    }
}

/// Searches with one limit after the other; `None` if the last one does not do either. What each
/// limit allows is counted, also where less was needed; the first one is not worth it.
fn patiently<T>(
    regexes: &[fancy_regex::Regex],
    work: &mut u64,
    search: impl Fn(&fancy_regex::Regex) -> Result<T, fancy_regex::Error>,
) -> Option<T> {
    regexes.iter().zip(BACKTRACKS).find_map(|(regex, limit)| {
        if limit != BACKTRACKS[0] {
            *work += limit as u64 * STEP_WORK;
        }
        search(regex).ok()
    })
}

/// Text in which each character stands for a byte.
fn as_chars(text: &[u8]) -> String {
    text.iter().map(|&byte| byte as char).collect()
}

const fn yes_or_no(found: bool) -> Found {
    if found { Found::Yes } else { Found::No }
}

fn last_line(message: &str) -> String {
    let line = message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(message);
    line.trim().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pattern: &str, text: &[u8]) -> Found {
        Pattern::new(pattern.as_bytes(), false).unwrap().find(text, &mut 0)
    }

    #[test]
    fn look_around_and_back_references_work_on_bytes() {
        assert_eq!(find(r"(?i)a(?!b)", b"ac"), Found::Yes);
        assert_eq!(find(r"a(?!b)", b"ab"), Found::No);
        assert_eq!(find(r"\b(\w+)=\1\b", b"\xff1=1\xff"), Found::Yes);
        assert_eq!(find(r"(?<=\xff)b", b"\xffb"), Found::Yes);
    }

    #[test]
    fn groups_are_byte_offsets_in_both_engines() {
        let mut groups = Groups::new();
        for pattern in [r"(\xfe)(x)?(y)", r"(\xfe)(x)?(y)(?!z)"] {
            let pattern = Pattern::new(pattern.as_bytes(), false).unwrap();
            let found = pattern.capture(b"\xff\xfey", &mut groups, &mut 0);
            assert_eq!(found, Found::Yes);
            assert_eq!(groups.as_slice(), [Some((1, 3)), Some((1, 2)), None, Some((2, 3))]);
        }
    }

    #[test]
    fn catastrophic_shapes_end() {
        let text = [b'a'; 5_000];
        assert_eq!(find(r"^(a+)+$", &text), Found::Yes);
        assert_eq!(find(r"^(?:(a+)+)+(?!a)\1b$", &text), Found::GaveUp);
    }

    #[test]
    fn what_backtracking_takes_is_counted() {
        let pattern = Pattern::new(br"a(?!b)", false).unwrap();
        let work = |text: &[u8]| {
            let mut work = 0;
            assert_eq!(pattern.find(text, &mut work), Found::Yes);
            work
        };
        assert_eq!(work(b"xxa"), 0);
        let filled = [vec![b'x'; 500_000], b"a".to_vec()].concat();
        assert!((2 << 20..8 << 20).contains(&work(&filled)), "{}", work(&filled));
    }
}
