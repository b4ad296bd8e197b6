//! What list files say, collected over several files.

use super::{
    address::Listed,
    line::{Lines, Said},
    merge::Span,
};
use crate::seclang::{Fault, Position};
use std::{fmt, path::Path, sync::Arc};

/// Entries of one list, read from any number of files.
#[derive(Debug)]
pub struct Entries {
    v4: Vec<Span<u32>>,
    v6: Vec<Span<u128>>,
    most: usize,
}

/// Faults told of one file; more are counted.
const TOLD: usize = 20;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ListFaults {
    /// The first ones, each with its line.
    pub faults: Vec<Fault>,
    /// How many lines are wrong in all.
    pub count: usize,
}

impl fmt::Display for ListFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.faults.iter().enumerate() {
            let break_ = if at > 0 { "\n" } else { "" };
            write!(f, "{break_}{fault}")?;
        }
        match self.count - self.faults.len() {
            0 => Ok(()),
            more => write!(f, "\nand {more} more such lines"),
        }
    }
}

impl Entries {
    /// None yet, and never more than `most` (at most 2 thousand million, which keeps positions
    /// within 32 bits).
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { v4: Vec::new(), v6: Vec::new(), most: most.min(2_000_000_000) }
    }

    /// Reads a file whose content is `text`. `modified`, in seconds since 1970, is when it was
    /// written: time-outs count from then.
    ///
    /// # Errors
    /// Every line that is no entry of any format. What was read before stays; a list with a
    /// fault should not be used.
    pub fn read(&mut self, file: &Path, text: &[u8], modified: u64) -> Result<(), ListFaults> {
        let file: Arc<Path> = file.into();
        let mut found = ListFaults { faults: Vec::new(), count: 0 };
        let mut fault = |line: usize, what: String| {
            found.count += 1;
            if found.faults.len() < TOLD {
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                found.faults.push(Fault::new(&Position { file: Arc::clone(&file), line }, what));
            }
        };
        let mut lines = Lines::new(modified);
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut at = 0;
        for (index, end) in memchr::memchr_iter(b'\n', text).chain([text.len()]).enumerate() {
            let line = &text[at..end];
            at = (end + 1).min(text.len());
            match lines.read(line.trim_ascii()) {
                Said::Nothing => {}
                Said::Fault(what) => fault(index + 1, what),
                Said::Entry(_) if self.len() >= self.most => {
                    let most = self.most;
                    fault(index + 1, format!("more than {most} entries: raise `max_entries`"));
                    break;
                }
                Said::Entry(Listed::V4(span)) => self.v4.push(span),
                Said::Entry(Listed::V6(span)) => self.v6.push(span),
            }
        }
        if found.count == 0 { Ok(()) } else { Err(found) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn into_spans(self) -> (Vec<Span<u32>>, Vec<Span<u128>>) {
        (self.v4, self.v6)
    }

    #[cfg(test)]
    pub(super) fn push_v4(&mut self, span: Span<u32>) {
        self.v4.push(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_entries_name_the_key_to_raise() {
        let mut entries = Entries::new(2);
        let text = b"192.0.2.1\n192.0.2.2\n# a comment\n192.0.2.3\n192.0.2.4\n";
        let faults = entries.read(Path::new("l"), text, 0).unwrap_err();
        assert_eq!(faults.to_string(), "l:4: more than 2 entries: raise `max_entries`");
    }
}
