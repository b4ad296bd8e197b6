//! A ruleset as a route uses it: mode, paranoia, thresholds, exclusions, limits.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    PathTest,
    compile::{Exclusion, Pick, RuleBits, Ruleset, Step},
    operator::Pattern,
    seclang::Collection,
};

mod limits;
mod target;
pub use limits::{Limits, OnLimit};
pub use target::UnknownVariable;

/// Whether verdicts are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Matches are told, nothing is stopped.
    Detect,
    /// Disruptive actions and limits stop requests.
    #[default]
    Block,
}

/// Whether patterns are only tried where the prefilter says they may match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefiltering {
    /// As fast as can be.
    #[default]
    On,
    /// Every pattern on every value.
    Off,
    /// Every pattern on every value, and each match the prefilter would have missed is told by
    /// [`Transaction::missed`](crate::Transaction::missed).
    Check,
}

/// Which rules an exclusion is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleChoice {
    /// All.
    All,
    /// Ids from the first to the last, both included.
    Ids(u64, u64),
    /// Those with this tag.
    Tag(String),
}

impl fmt::Display for RuleChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all rules"),
            Self::Ids(first, last) if first == last => write!(f, "rule {first}"),
            Self::Ids(first, last) => write!(f, "rules {first} to {last}"),
            Self::Tag(tag) => write!(f, "rules with the tag `{tag}`"),
        }
    }
}

/// Which values an exclusion is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExcludeTarget {
    /// The whole collection.
    All(Collection),
    /// The member of this name, without regard to case.
    Named(Collection, String),
    /// Members whose name this pattern finds, without regard to case.
    Matching(Collection, String),
}

/// An exclusion: rules that do not apply, or not to some values, or not on some paths.
#[derive(Clone, Debug)]
pub struct Exclude {
    /// The rules.
    pub rules: RuleChoice,
    /// The values; `None` switches the rules off altogether. `ARGS` stands for `ARGS_GET` and
    /// `ARGS_POST` too.
    pub target: Option<ExcludeTarget>,
    /// The paths; `None` is all. A transaction that is not told its path has none of them.
    pub path: Option<PathTest>,
}

/// What a [`Policy`] is made of, besides rules.
#[derive(Clone, Debug, Default)]
pub struct PolicyOptions {
    /// Whether verdicts are carried out.
    pub mode: Mode,
    /// The paranoia level, 1 to 4; rules above it are left out. `None`: what the rules say.
    pub paranoia: Option<u8>,
    /// The inbound anomaly score from which a request is blocked. `None`: what the rules say.
    pub inbound_threshold: Option<u32>,
    /// The outbound anomaly score from which a response is blocked. `None`: what the rules say.
    pub outbound_threshold: Option<u32>,
    /// What does not apply.
    pub exclusions: Vec<Exclude>,
    /// Budgets.
    pub limits: Limits,
    /// Whether response bodies are looked at (default: no).
    pub response_bodies: bool,
    /// How patterns are tried.
    pub prefiltering: Prefiltering,
}

/// Why there is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The paranoia level is not 1 to 4.
    #[error("paranoia is 1 to 4, found `{0}`")]
    Paranoia(u8),
    /// An exclusion's pattern cannot be compiled.
    #[error("the pattern `{0}` of an exclusion cannot be compiled: {1}")]
    Pattern(String, String),
}

/// A ruleset with options, ready for transactions.
#[derive(Debug)]
pub struct Policy {
    pub(crate) rules: Arc<Ruleset>,
    pub(crate) phases: [Box<[Planned]>; 5],
    pub(crate) options: PolicyOptions,
    /// `TX` variables the policy sets; rules cannot change them.
    pub(crate) presets: Vec<(u32, Vec<u8>)>,
    pub(crate) exclusions: Vec<Excluded>,
    idle: Vec<RuleChoice>,
    /// Patterns whose text came from macros.
    expanded: Mutex<HashMap<Vec<u8>, Option<Arc<Pattern>>>>,
}

/// How many patterns with expanded macros a policy keeps.
const EXPANDED: usize = 64;

/// A rule of a phase, and where to go on if it skips.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) rule: u32,
    /// The position behind the skipped rules.
    pub(crate) jump: u32,
}

/// A compiled [`Exclude`] that is applied to each transaction it is about.
#[derive(Debug)]
pub(crate) struct Excluded {
    pub(crate) rules: RuleBits,
    pub(crate) targets: Option<Arc<[Exclusion]>>,
    pub(crate) path: Option<PathTest>,
}

impl Policy {
    /// Compiles a policy: rules it leaves out are gone from its plan.
    ///
    /// # Errors
    /// A paranoia level or a pattern that cannot be.
    pub fn new(rules: Arc<Ruleset>, options: PolicyOptions) -> Result<Self, PolicyError> {
        if let Some(level) = options.paranoia
            && !(1..=4).contains(&level)
        {
            return Err(PolicyError::Paranoia(level));
        }
        let (mut exclusions, mut idle) = (Vec::new(), Vec::new());
        let mut gone = vec![0_u64; rules.rules.len().div_ceil(64)];
        for exclude in &options.exclusions {
            let excluded = compile_exclude(exclude, &rules)?;
            if excluded.rules.is_empty() {
                idle.push(exclude.rules.clone());
            }
            if excluded.path.is_none() && excluded.targets.is_none() {
                for (gone, words) in gone.iter_mut().zip(excluded.rules.words()) {
                    *gone |= words;
                }
            } else if !excluded.rules.is_empty() {
                exclusions.push(excluded);
            }
        }
        let stays = |index: u32| {
            let rule = &rules.rules[index as usize];
            let above = match (rule.paranoia, options.paranoia) {
                (Some(needs), Some(level)) => needs > level,
                _ => false,
            };
            !above && gone[index as usize / 64] & (1 << (index % 64)) == 0
        };
        let phases = std::array::from_fn(|phase| plan(&rules, phase, &stays));
        let presets = presets(&rules, &options);
        let expanded = Mutex::default();
        Ok(Self { rules, phases, options, presets, exclusions, idle, expanded })
    }

    /// What exclusions are about that no rule is: mostly a misspelling, or rules of another
    /// version.
    #[must_use]
    pub fn idle_exclusions(&self) -> &[RuleChoice] {
        &self.idle
    }

    /// The rules it is made of.
    #[must_use]
    pub const fn rules(&self) -> &Arc<Ruleset> {
        &self.rules
    }

    /// What it was made with.
    #[must_use]
    pub const fn options(&self) -> &PolicyOptions {
        &self.options
    }

    /// The pattern of an `@rx` whose macros are expanded; `None` if it is no pattern.
    pub(crate) fn pattern_of(&self, text: &[u8]) -> Option<Arc<Pattern>> {
        let mut known = self.expanded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = known.get(text) {
            return pattern.clone();
        }
        let pattern = Pattern::new(text, false).ok().map(Arc::new);
        // Text of clients would fill the table; then nothing more is kept.
        if known.len() < EXPANDED {
            known.insert(text.to_vec(), pattern.clone());
        }
        pattern
    }

    /// How many rules apply, after paranoia and exclusions.
    #[must_use]
    pub fn rules_in_force(&self) -> usize {
        self.phases.iter().map(|phase| phase.len()).sum()
    }
}

/// The rules of a phase that stay, with the targets of their jumps.
fn plan(rules: &Ruleset, phase: usize, stays: &dyn Fn(u32) -> bool) -> Box<[Planned]> {
    let steps = &rules.phases[phase];
    // The position in the plan of each step: how many rules that stay come before it.
    let mut positions = Vec::with_capacity(steps.len() + 1);
    let mut count = 0_u32;
    for step in steps {
        positions.push(count);
        if let Step::Rule(index) = step
            && stays(*index)
        {
            count += 1;
        }
    }
    positions.push(count);
    let mut plan = Vec::with_capacity(count as usize);
    for (at, step) in steps.iter().enumerate() {
        let Step::Rule(index) = step else { continue };
        if !stays(*index) {
            continue;
        }
        let rule = &rules.rules[*index as usize];
        let jump = if let Some(marker) = &rule.skip_after {
            let found = steps[at + 1..].iter().position(|step| match step {
                Step::Marker(name) => name == marker,
                Step::Rule(index) => {
                    rules.rules[*index as usize].id.to_string().as_bytes() == marker.as_slice()
                }
            });
            found.map_or(count, |after| positions[at + 1 + after + 1])
        } else if rule.skip > 0 {
            let mut left = rule.skip;
            let end = steps[at + 1..].iter().position(|step| {
                if left == 0 {
                    return true;
                }
                left -= u32::from(matches!(step, Step::Rule(_)));
                false
            });
            end.map_or(count, |after| positions[at + 1 + after])
        } else {
            positions[at + 1]
        };
        plan.push(Planned { rule: *index, jump });
    }
    plan.into()
}

fn presets(rules: &Ruleset, options: &PolicyOptions) -> Vec<(u32, Vec<u8>)> {
    const PARANOIA: [&str; 4] = [
        "blocking_paranoia_level",
        "detection_paranoia_level",
        "paranoia_level",
        "executing_paranoia_level",
    ];
    let mut presets = Vec::new();
    let mut preset = |name: &str, value: String| {
        if let Some(slot) = rules.names.find(name.as_bytes()) {
            presets.push((slot, value.into_bytes()));
        }
    };
    if let Some(level) = options.paranoia {
        for name in PARANOIA {
            preset(name, level.to_string());
        }
    }
    if let Some(threshold) = options.inbound_threshold {
        preset("inbound_anomaly_score_threshold", threshold.to_string());
    }
    if let Some(threshold) = options.outbound_threshold {
        preset("outbound_anomaly_score_threshold", threshold.to_string());
    }
    presets
}

fn compile_exclude(exclude: &Exclude, rules: &Ruleset) -> Result<Excluded, PolicyError> {
    let pattern = |text: &str, ignore_case| {
        Pattern::new(text.as_bytes(), ignore_case)
            .map_err(|what| PolicyError::Pattern(text.to_owned(), what))
    };
    let bits = RuleBits::of(&rules.rules, |rule| match &exclude.rules {
        RuleChoice::All => true,
        RuleChoice::Ids(first, last) => (*first..=*last).contains(&rule.id),
        RuleChoice::Tag(tag) => rule.has_tag(tag.as_bytes()),
    });
    let targets = match &exclude.target {
        None => None,
        Some(target) => {
            let (collection, pick) = match target {
                ExcludeTarget::All(collection) => (*collection, Pick::All),
                ExcludeTarget::Named(collection, name) => {
                    (*collection, Pick::Named(name.to_ascii_lowercase().into_bytes().into()))
                }
                ExcludeTarget::Matching(collection, text) => {
                    let found = Pick::matching(Arc::new(pattern(text, true)?));
                    let told = |what| PolicyError::Pattern(text.clone(), what);
                    (*collection, found.map_err(told)?)
                }
            };
            let all: &[Collection] = match collection {
                Collection::Args => &[Collection::Args, Collection::ArgsGet, Collection::ArgsPost],
                Collection::ArgsNames => {
                    &[Collection::ArgsNames, Collection::ArgsGetNames, Collection::ArgsPostNames]
                }
                ref one => std::slice::from_ref(one),
            };
            Some(
                all.iter()
                    .map(|&collection| Exclusion { collection, pick: pick.clone() })
                    .collect(),
            )
        }
    };
    Ok(Excluded { rules: bits, targets, path: exclude.path.clone() })
}
