//! Any sequence of transactions on any of two handles does what it does to a map in memory.

use proptest::prelude::*;
use std::collections::BTreeMap;
use tidegate_store::{Committed, Compare, Op, Revision, Sqlite, Store};

#[derive(Clone, Debug)]
struct Step {
    second_handle: bool,
    /// Key, and whether the comparison is meant to hold.
    compare: Option<(u8, bool)>,
    /// Key and value; `None` deletes.
    ops: BTreeMap<u8, Option<u8>>,
}

fn step() -> impl Strategy<Value = Step> {
    (
        any::<bool>(),
        proptest::option::of((0..6u8, any::<bool>())),
        proptest::collection::btree_map(0..6u8, proptest::option::of(any::<u8>()), 0..4),
    )
        .prop_map(|(second_handle, compare, ops)| Step { second_handle, compare, ops })
}

fn key(n: u8) -> String {
    format!("k/{n}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_a_map(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let handles = [Sqlite::open(dir.path()).unwrap().0, Sqlite::open(dir.path()).unwrap().0];
            let mut model: BTreeMap<String, (Vec<u8>, u64)> = BTreeMap::new();
            let mut revision = 0;
            for step in steps {
                let store = &handles[usize::from(step.second_handle)];
                let mut holds = true;
                let compares = step.compare.iter().map(|(n, right)| {
                    let at = model.get(&key(*n)).map_or(0, |(_, revision)| *revision);
                    holds = *right;
                    Compare::Revision { key: key(*n), is: Revision(if *right { at } else { at + 1 }) }
                }).collect();
                let ops: Vec<Op> = step.ops.iter().map(|(n, value)| match value {
                    Some(value) => Op::Put { key: key(*n), value: vec![*value] },
                    None => Op::Delete { key: key(*n) },
                }).collect();
                let writes = ops.iter().any(|op| match op {
                    Op::Put { .. } => true,
                    Op::Delete { key } => model.contains_key(key),
                });
                let expected = if !holds {
                    Committed::No
                } else {
                    revision += u64::from(writes);
                    for op in &ops {
                        match op {
                            Op::Put { key, value } => { model.insert(key.clone(), (value.clone(), revision)); }
                            Op::Delete { key } => { model.remove(key); }
                        }
                    }
                    Committed::Yes(Revision(revision))
                };
                prop_assert_eq!(store.txn(compares, ops).await.unwrap(), expected);
            }
            for store in &handles {
                let (entries, at) = store.range("k/").await.unwrap();
                prop_assert_eq!(at, Revision(revision));
                let found: BTreeMap<_, _> = entries.into_iter()
                    .map(|entry| (entry.key, (entry.value, entry.revision.0))).collect();
                prop_assert_eq!(&found, &model);
            }
            Ok(())
        })?;
    }
}
