//! A map by host name: exact, then by one-label wildcard. Looking up allocates nothing.

use crate::names;
use std::collections::HashMap;

#[derive(Clone, Debug)]
pub(crate) struct NameMap<T> {
    exact: HashMap<Box<str>, T>,
    /// By what follows the `*`, with its dot.
    wildcard: HashMap<Box<str>, T>,
}

impl<T> NameMap<T> {
    /// What answers `host`, which is in lower case.
    pub(crate) fn find(&self, host: &str) -> Option<&T> {
        self.exact.get(host).or_else(|| self.wildcard.get(names::parent(host)?))
    }

    /// What is kept under `name` itself, `*.` included.
    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        match name.strip_prefix('*') {
            Some(suffix) => self.wildcard.get(suffix),
            None => self.exact.get(name),
        }
    }

    /// The place of `name`.
    pub(crate) fn entry(&mut self, name: &str) -> &mut T
    where
        T: Default,
    {
        match name.strip_prefix('*') {
            Some(suffix) => self.wildcard.entry(suffix.into()).or_default(),
            None => self.exact.entry(name.into()).or_default(),
        }
    }

    /// Puts `value` under `name`.
    pub(crate) fn insert(&mut self, name: &str, value: T) {
        match name.strip_prefix('*') {
            Some(suffix) => self.wildcard.insert(suffix.into(), value),
            None => self.exact.insert(name.into(), value),
        };
    }

    /// Removes `name`.
    pub(crate) fn remove(&mut self, name: &str) {
        match name.strip_prefix('*') {
            Some(suffix) => self.wildcard.remove(suffix),
            None => self.exact.remove(name),
        };
    }

    /// Everything, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.wildcard.values())
    }

    /// Everything, in no order, with the names as given.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (String, &T)> {
        let exact = self.exact.iter().map(|(name, value)| (name.to_string(), value));
        exact.chain(self.wildcard.iter().map(|(suffix, value)| (format!("*{suffix}"), value)))
    }
}

impl<T> Default for NameMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_wins_then_one_label() {
        let mut map = NameMap::default();
        map.insert("*.example.com", 1);
        map.insert("shop.example.com", 2);
        assert_eq!(map.find("shop.example.com"), Some(&2));
        assert_eq!(map.find("blog.example.com"), Some(&1));
        assert_eq!(map.find("a.blog.example.com"), None);
        assert_eq!(map.find("example.com"), None);
        assert_eq!(map.get("*.example.com"), Some(&1));
        map.remove("*.example.com");
        assert_eq!(map.find("blog.example.com"), None);
    }
}
