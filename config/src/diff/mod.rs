//! What a new configuration would change, in sentences for whoever has to approve it.
//!
//! Every field that differs appears: the comparison comes from the same definitions the
//! document is read by, so "no change" is never an oversight.

mod compare;
mod sentences;

pub(crate) use compare::{Change, Compare, Differences};

use crate::Config;
use serde::Serialize;
use std::fmt;

/// One thing that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiffLine {
    /// The key, such as `services.shop.versions.blue.weight`.
    pub path: String,
    /// When and on what it takes effect.
    pub effect: Effect,
    /// What would change, as a fragment for people.
    pub text: String,
}

/// When a change takes effect, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// On the next request or connection.
    Traffic,
    /// At once, but not on requests: certificates to come.
    Operation,
    /// Not before the process is started again or upgraded.
    Restart,
}

/// Everything that would change; displays as one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diff {
    /// Traffic first, then by key.
    pub lines: Vec<DiffLine>,
}

impl Diff {
    /// Whether nothing at all would change.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether requests would notice.
    pub fn changes_traffic(&self) -> bool {
        self.lines.iter().any(|line| line.effect == Effect::Traffic)
    }
}

/// What would change if `new` took the place of `old`.
pub fn diff(old: &Config, new: &Config) -> Diff {
    let mut differences = Differences::default();
    old.compare(new, &mut differences);
    let mut lines = sentences::write(old, new, differences.changes);
    lines.sort_by(|a, b| (a.effect, &a.path).cmp(&(b.effect, &b.path)));
    Diff { lines }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.changes_traffic() {
            f.write_str("no change for traffic")?;
        }
        for (index, line) in self.lines.iter().enumerate() {
            if index > 0 || !self.changes_traffic() {
                f.write_str("\n")?;
            }
            write!(f, "{line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for DiffLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.effect {
            Effect::Traffic | Effect::Operation => Ok(()),
            Effect::Restart => f.write_str(" (after a restart)"),
        }
    }
}
