//! Which paths an exclusion is about.

use regex::Regex;

/// A test of a request's path, as a route has one.
///
/// It is about the path by which the host chose what to do, normalised: one that tests what a
/// client wrote is opened by `/excluded/../elsewhere`.
#[derive(Clone, Debug)]
pub enum PathTest {
    /// The path is this.
    Exact(String),
    /// The path is this, or one below it by segment; without the slash at its end, so that
    /// nothing means everything.
    Below(String),
    /// The pattern is found in the path.
    Matching(Regex),
}

impl PathTest {
    /// Whether a path is one of those meant.
    #[must_use]
    pub fn fits(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Below(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/')),
            Self::Matching(pattern) => pattern.is_match(path),
        }
    }
}
