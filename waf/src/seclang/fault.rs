//! What is wrong with a rule file, and where.

use std::{collections::HashMap, fmt, path::Path, sync::Arc};

/// A line of a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file as it was named or found by a glob.
    pub file: Arc<Path>,
    /// The first physical line of the directive, from 1.
    pub line: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One thing that keeps a rule set from loading, or a notice about one that loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct Fault {
    /// Where it stands.
    pub at: Position,
    /// What is wrong: a lowercase fragment with the offending value in backticks.
    pub what: String,
}

impl Fault {
    pub(crate) fn new(at: &Position, what: impl Into<String>) -> Self {
        Self { at: at.clone(), what: what.into() }
    }
}

/// Every fault of one load: file by file as they were read, line by line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// Sorts by file, in the order of `files`, and by line.
pub(crate) fn sort(faults: &mut [Fault], files: &[Arc<Path>]) {
    let order: HashMap<&Path, usize> =
        files.iter().enumerate().rev().map(|(at, file)| (&**file, at)).collect();
    faults.sort_by_key(|fault| (order.get(&*fault.at.file).copied(), fault.at.line));
}

/// Text of a rule file for a message: lossy UTF-8, cut to a length that fits a line.
pub(crate) fn show(text: &[u8]) -> String {
    const MOST: usize = 80;
    let cut = &text[..text.len().min(MOST)];
    let mut shown: String = String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c.is_control() { '.' } else { c })
        .collect();
    if text.len() > MOST {
        shown.push_str("...");
    }
    shown
}
