//! What a key, a value and a transaction may be. The limits are etcd's defaults, so that what
//! works on one engine works on the other.

use crate::{Compare, Op, StoreError};
use std::collections::BTreeSet;

/// The largest value, and the largest sum of values in one transaction, in bytes: etcd's
/// request limit with room for keys.
pub const MAX_VALUE: usize = 1_400_000;
/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// Comparisons, and writes, in one transaction.
pub const MAX_OPS: usize = 128;
/// Watches open at once.
pub const MAX_WATCHES: usize = 1024;

/// Checks a key.
pub(crate) fn key(key: &str) -> Result<(), StoreError> {
    if (1..=MAX_KEY).contains(&key.len()) && !key.chars().any(char::is_control) {
        return Ok(());
    }
    let shown = key.chars().filter(|c| !c.is_control()).take(64).collect();
    Err(StoreError::Key { key: shown })
}

/// Checks a prefix: like a key, but it may be empty.
pub(crate) fn prefix(prefix: &str) -> Result<(), StoreError> {
    if prefix.is_empty() { Ok(()) } else { key(prefix) }
}

/// Checks a transaction.
pub(crate) fn txn(compares: &[Compare], ops: &[Op]) -> Result<(), StoreError> {
    let count = compares.len().max(ops.len());
    if count > MAX_OPS {
        return Err(StoreError::TooMany { count });
    }
    for compare in compares {
        match compare {
            Compare::Revision { key: name, .. } => key(name)?,
            Compare::Held(lease) => key(&lease.name)?,
        }
    }
    let mut len = 0;
    let mut seen = BTreeSet::new();
    for op in ops {
        let (Op::Put { key: name, .. } | Op::Delete { key: name }) = op;
        key(name)?;
        if !seen.insert(name) {
            return Err(StoreError::Twice { key: name.clone() });
        }
        if let Op::Put { value, .. } = op {
            len += value.len();
        }
        if len > MAX_VALUE {
            return Err(StoreError::TooLarge { key: name.clone(), len });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, len: usize) -> Op {
        Op::Put { key: key.into(), value: vec![0; len] }
    }

    #[test]
    fn keys_are_short_text() {
        assert!(key("certs/*.example.com").is_ok());
        assert!(key("ünïcode").is_ok());
        for bad in ["", "a\nb", "a\0", &"x".repeat(MAX_KEY + 1)] {
            assert!(matches!(key(bad), Err(StoreError::Key { .. })), "{bad:?}");
        }
    }

    #[test]
    fn transactions_are_bounded() {
        assert!(txn(&[], &[put("a", MAX_VALUE)]).is_ok());
        let sum = txn(&[], &[put("a", MAX_VALUE), put("b", 1)]);
        assert!(matches!(sum, Err(StoreError::TooLarge { .. })));
        let twice = txn(&[], &[put("a", 1), Op::Delete { key: "a".into() }]);
        assert!(matches!(twice, Err(StoreError::Twice { .. })));
        let many: Vec<Op> = (0..=MAX_OPS).map(|n| put(&n.to_string(), 1)).collect();
        assert!(matches!(txn(&[], &many), Err(StoreError::TooMany { .. })));
    }
}
