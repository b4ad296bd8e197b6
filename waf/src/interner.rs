//! Compiled patterns and phrase sets, shared by every rule set that uses them.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::operator::{Pattern, Phrases};

/// Where compiled patterns and phrase sets are kept while anything uses them.
///
/// One for a process: loading the same rules again, or rules that share patterns, then costs
/// neither the time nor the memory of compiling them twice. It holds weak references only, so
/// what no rule set uses any more is freed.
#[derive(Debug, Default)]
pub struct Interner {
    patterns: Table<(Vec<u8>, bool), Pattern>,
    phrases: Table<Vec<Vec<u8>>, Phrases>,
}

type Table<K, V> = Mutex<HashMap<K, Weak<V>>>;

impl Interner {
    pub(crate) fn pattern(&self, source: &[u8], ignore_case: bool) -> Result<Arc<Pattern>, String> {
        intern(&self.patterns, (source.to_vec(), ignore_case), |(source, ignore_case)| {
            Pattern::new(source, *ignore_case)
        })
    }

    pub(crate) fn phrases(&self, phrases: Vec<Vec<u8>>) -> Result<Arc<Phrases>, String> {
        intern(&self.phrases, phrases, |phrases| Phrases::new(phrases.clone()))
    }
}

fn intern<K: Hash + Eq, V>(
    table: &Table<K, V>,
    key: K,
    make: impl FnOnce(&K) -> Result<V, String>,
) -> Result<Arc<V>, String> {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = table.get(&key).and_then(Weak::upgrade) {
        return Ok(known);
    }
    let made = Arc::new(make(&key)?);
    table.retain(|_, value| value.strong_count() > 0);
    table.insert(key, Arc::downgrade(&made));
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_pattern_is_compiled_once_and_freed_with_its_last_user() {
        let interner = Interner::default();
        let a = interner.pattern(b"a+", false).unwrap();
        let b = interner.pattern(b"a+", false).unwrap();
        assert!(Arc::ptr_eq(&a, &b));
        drop((a, b));
        interner.pattern(b"b", false).unwrap();
        assert_eq!(interner.patterns.lock().unwrap().len(), 1);
    }
}
