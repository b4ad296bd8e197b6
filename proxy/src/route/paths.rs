//! The routes of one host, by path.

use super::{Matchers, RequestKey};
use regex::{Regex, RegexSet};
use std::{cmp::Reverse, collections::HashMap, sync::Arc};
use tidegate_config::PathPattern;

type Candidates<R> = Vec<Arc<R>>;

pub(super) struct Paths<R> {
    exact: HashMap<Box<str>, Candidates<R>>,
    prefix: HashMap<Box<str>, Candidates<R>>,
    patterns: Vec<(String, Candidates<R>)>,
    /// All patterns at once, so that a host's regexes cost one scan, not one each.
    set: RegexSet,
}

impl<R> Default for Paths<R> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            prefix: HashMap::new(),
            patterns: Vec::new(),
            set: RegexSet::empty(),
        }
    }
}

impl<R: Matchers> Paths<R> {
    pub(super) fn insert(&mut self, path: &PathPattern, route: Arc<R>) -> Result<(), regex::Error> {
        let candidates = match path {
            PathPattern::Exact(path) => self.exact.entry(path.as_str().into()).or_default(),
            PathPattern::Prefix(path) => self.prefix.entry(path.as_str().into()).or_default(),
            PathPattern::Regex(pattern) => {
                Regex::new(pattern)?;
                let at = match self.patterns.iter().position(|(p, _)| p == pattern) {
                    Some(at) => at,
                    None => {
                        self.patterns.push((pattern.clone(), Vec::new()));
                        self.patterns.len() - 1
                    }
                };
                &mut self.patterns[at].1
            }
        };
        candidates.push(route);
        Ok(())
    }

    /// Puts the most specific first, once all are in. The sort is stable: name order remains
    /// among equals.
    pub(super) fn order(&mut self) {
        let lists = self.exact.values_mut().chain(self.prefix.values_mut());
        for list in lists.chain(self.patterns.iter_mut().map(|(_, list)| list)) {
            list.sort_by_key(|route| Reverse(route.specificity()));
        }
        self.set = RegexSet::new(self.patterns.iter().map(|(pattern, _)| pattern))
            .unwrap_or_else(|_| RegexSet::empty());
    }

    pub(super) fn each(&self, visit: &mut impl FnMut(&Arc<R>)) {
        let lists = self.exact.values().chain(self.prefix.values());
        lists.chain(self.patterns.iter().map(|(_, list)| list)).flatten().for_each(visit);
    }

    pub(super) fn find<'t>(&'t self, request: &RequestKey<'_>) -> Option<&'t Arc<R>> {
        if !self.exact.is_empty()
            && let Some(route) = pick(self.exact.get(request.path), request)
        {
            return Some(route);
        }
        if !self.prefix.is_empty()
            && let Some(route) =
                prefixes(request.path).find_map(|key| pick(self.prefix.get(key), request))
        {
            return Some(route);
        }
        if self.patterns.is_empty() {
            return None;
        }
        let matches = self.set.matches(request.path);
        matches
            .into_iter()
            .find_map(|at| pick(self.patterns.get(at).map(|(_, list)| list), request))
    }
}

/// The first candidate whose other matchers fit.
fn pick<'t, R: Matchers>(
    candidates: Option<&'t Candidates<R>>,
    request: &RequestKey<'_>,
) -> Option<&'t Arc<R>> {
    candidates?.iter().find(|route| route.fits(request))
}

/// The prefixes of a path by segment, longest first: `/a/b` gives `/a/b`, `/a/`, `/a`, `/`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let cuts = memchr::memrchr_iter(b'/', path.as_bytes()).flat_map(move |at| {
        let with_slash = (at + 1 < path.len()).then(|| &path[..=at]);
        let without = (at > 0).then(|| &path[..at]);
        with_slash.into_iter().chain(without)
    });
    std::iter::once(path).chain(cuts)
}

#[cfg(test)]
mod tests {
    #[test]
    fn prefixes_go_from_long_to_short() {
        let all = |path| super::prefixes(path).collect::<Vec<_>>();
        assert_eq!(all("/"), ["/"]);
        assert_eq!(all("/a"), ["/a", "/"]);
        assert_eq!(all("/a/"), ["/a/", "/a", "/"]);
        assert_eq!(all("/a/b"), ["/a/b", "/a/", "/a", "/"]);
    }
}
