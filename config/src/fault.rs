//! What is wrong with a document, for people: every fault at once, each with its place.

use std::{fmt, path::PathBuf};

/// One thing wrong, or, among warnings, worth a look.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// The file it is in; empty if it is in none.
    pub file: PathBuf,
    /// The line, from 1; 0 if the file as a whole is meant.
    pub line: usize,
    /// The column in characters, from 1; 0 if the file as a whole is meant.
    pub col: usize,
    /// The key, such as `routes.shop.service`; empty for faults of syntax.
    pub path: String,
    /// What was expected and what was found: a lower-case fragment.
    pub message: String,
    /// What to do about it: a near name or a remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line it is on, with secrets masked.
    #[serde(skip)]
    pub(crate) snippet: Option<Snippet>,
}

impl Fault {
    /// What is wrong in no place of the document: in a file that it names, say.
    #[must_use]
    pub fn elsewhere(message: String) -> Self {
        Self {
            file: PathBuf::new(),
            line: 0,
            col: 0,
            path: String::new(),
            message,
            help: None,
            snippet: None,
        }
    }
}

impl fmt::Display for Fault {
    /// `tidegate.toml:12:9: routes.shop.service: no service named `shp`; did you mean `shop`?`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}:", self.file.display())?;
            if self.line > 0 {
                write!(f, "{}:{}:", self.line, self.col)?;
            }
            f.write_str(" ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// All faults of a document, in the order of their places; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// How many faults `Display` prints; the rest is counted.
    pub const SHOWN: usize = 100;

    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    /// Every fault, also those beyond [`Self::SHOWN`].
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }

    /// The number of faults.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().take(Self::SHOWN).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
            if let Some(snippet) = &fault.snippet {
                snippet.write(f, fault.line)?;
            }
        }
        match self.0.len().saturating_sub(Self::SHOWN) {
            0 => Ok(()),
            1 => f.write_str("\nand 1 more fault"),
            more => write!(f, "\nand {more} more faults"),
        }
    }
}

impl std::error::Error for Faults {}

/// A line of the document and the part of it that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snippet {
    line: String,
    before: usize,
    marked: usize,
}

impl Snippet {
    /// The longest line shown whole; of a longer one there is no snippet, only the position.
    const WIDTH: usize = 160;

    /// `line` with `marked` characters underlined after the first `before`.
    pub(crate) fn new(line: &str, before: usize, marked: usize) -> Option<Self> {
        let line: String = line
            .trim_end()
            .chars()
            // A tab as one column keeps the mark in place; nothing may steer the terminal.
            .map(|c| if c == '\t' { ' ' } else { c })
            .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
            .collect();
        let width = line.chars().count();
        (width > 0 && width <= Self::WIDTH).then_some(Self { line, before, marked: marked.max(1) })
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, number: usize) -> fmt::Result {
        let gutter = number.to_string().len();
        write!(f, "\n{number} | {}", self.line)?;
        write!(
            f,
            "\n{:gutter$} | {:before$}{:^<marked$}",
            "",
            "",
            "",
            before = self.before,
            marked = self.marked
        )
    }
}
