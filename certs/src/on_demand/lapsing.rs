//! A map of bounded size whose entries lapse, each at a moment of its own.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

pub(super) struct Lapsing<K, V> {
    /// With the moment they lapse at, in milliseconds of whatever clock `now` is told by.
    entries: HashMap<K, (i64, V)>,
    most: usize,
}

impl<K: Hash + Eq + Clone, V> Lapsing<K, V> {
    /// One that holds `most` entries; above that the soonest to lapse goes.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), most }
    }

    /// What is under `key` and when it lapses, unless it has.
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q, now: i64) -> Option<(i64, &V)>
    where
        K: Borrow<Q>,
    {
        let (until, value) = self.entries.get(key)?;
        (*until > now).then_some((*until, value))
    }

    /// Puts `value` under `key` until then.
    pub(super) fn put(&mut self, key: K, value: V, until: i64, now: i64) {
        if self.entries.len() >= self.most && !self.entries.contains_key(&key) {
            self.entries.retain(|_, (until, _)| *until > now);
            if self.entries.len() >= self.most
                && let Some((soonest, _)) = self.entries.iter().min_by_key(|(_, (until, _))| until)
            {
                let soonest = soonest.clone();
                self.entries.remove(&soonest);
            }
        }
        self.entries.insert(key, (until, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_lapse_and_make_room() {
        let mut map = Lapsing::new(2);
        map.put("a", 1, 10, 0);
        map.put("b", 2, 20, 0);
        assert_eq!(map.get("a", 9), Some((10, &1)));
        assert_eq!(map.get("a", 10), None);
        map.put("c", 3, 30, 15);
        assert_eq!((map.get("b", 15), map.get("c", 15)), (Some((20, &2)), Some((30, &3))));
        map.put("d", 4, 25, 15);
        assert_eq!(map.get("b", 15), None, "the soonest to lapse went");
        map.put("d", 5, 26, 15);
        assert_eq!((map.get("d", 15), map.entries.len()), (Some((26, &5)), 2));
    }
}
