//! What the trait promises, on SQLite, with one and with two handles on the same directory.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;
use tidegate_store::{
    Change, Committed, Compare, Entry, MAX_VALUE, Op, Revision, Sqlite, Store, StoreError,
};
use tokio::time::timeout;

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.into(), value: value.into() }
}

fn delete(key: &str) -> Op {
    Op::Delete { key: key.into() }
}

fn is(key: &str, revision: u64) -> Compare {
    Compare::Revision { key: key.into(), is: Revision(revision) }
}

fn open(dir: &tempfile::TempDir) -> Sqlite {
    let (store, notices) = Sqlite::open(dir.path()).unwrap();
    assert_eq!(notices, []);
    store
}

async fn next(watch: &mut tidegate_store::Watch) -> Change {
    timeout(Duration::from_secs(5), watch.0.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_transaction_writes_all_or_nothing_and_only_if_its_comparisons_hold() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let first = store.txn(vec![is("a", 0)], vec![put("a", "1"), put("b", "1")]).await.unwrap();
    assert_eq!(first, Committed::Yes(Revision(1)));
    let stale = store.txn(vec![is("a", 0)], vec![put("a", "2"), delete("b")]).await.unwrap();
    assert_eq!(stale, Committed::No);
    let (entries, revision) = store.range("").await.unwrap();
    assert_eq!(revision, Revision(1));
    assert_eq!(entries.iter().map(|e| e.value.as_slice()).collect::<Vec<_>>(), [b"1", b"1"]);
    let second = store.txn(vec![is("a", 1)], vec![put("a", "2")]).await.unwrap();
    assert_eq!(second, Committed::Yes(Revision(2)));
    assert_eq!(store.get("a").await.unwrap().unwrap().revision, Revision(2));
    assert_eq!(store.get("b").await.unwrap().unwrap().revision, Revision(1));
    assert_eq!(store.get("c").await.unwrap(), None);
}

#[tokio::test]
async fn a_transaction_that_changes_nothing_raises_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.txn(vec![], vec![put("a", "1")]).await.unwrap();
    let nothing = store.txn(vec![is("a", 1)], vec![delete("missing")]).await.unwrap();
    assert_eq!(nothing, Committed::Yes(Revision(1)));
}

#[tokio::test]
async fn a_range_is_what_starts_with_the_prefix_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let keys = ["a", "certs/a", "certs/ü", "certs", "certs0", "certt"];
    store.txn(vec![], keys.iter().map(|key| put(key, key)).collect()).await.unwrap();
    let (entries, _) = store.range("certs/").await.unwrap();
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["certs/a", "certs/ü"]);
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let big = Op::Put { key: "big".into(), value: vec![0; MAX_VALUE + 1] };
    assert!(matches!(store.txn(vec![], vec![big]).await, Err(StoreError::TooLarge { .. })));
    let most = Op::Put { key: "big".into(), value: vec![0; MAX_VALUE] };
    assert!(matches!(store.txn(vec![], vec![most]).await, Ok(Committed::Yes(_))));
}

#[tokio::test]
async fn a_watch_sees_this_handles_changes_and_the_other_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (open(&dir), open(&dir));
    here.txn(vec![], vec![put("w/old", "0"), put("other", "0")]).await.unwrap();
    let (_, from) = here.range("w/").await.unwrap();
    let mut watch = here.watch("w/", from).await.unwrap();
    here.txn(vec![], vec![put("w/a", "1"), put("other", "1")]).await.unwrap();
    let expected = Entry { key: "w/a".into(), value: b"1".into(), revision: Revision(2) };
    assert_eq!(next(&mut watch).await, Change::Put(expected));
    there.txn(vec![], vec![delete("w/old")]).await.unwrap();
    let gone = Change::Delete { key: "w/old".into(), revision: Revision(3) };
    assert_eq!(next(&mut watch).await, gone);
    // One that starts from the beginning is told what is there, and what is not.
    let mut watch = there.watch("w/", Revision(0)).await.unwrap();
    assert!(matches!(next(&mut watch).await, Change::Put(entry) if entry.key == "w/a"));
    assert_eq!(next(&mut watch).await, gone);
}

#[tokio::test]
async fn a_slow_watcher_holds_nobody_up_and_still_gets_the_last_of_every_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut watch = store.watch("k", Revision(0)).await.unwrap();
    for n in 0..500 {
        store.txn(vec![], vec![put(&format!("k{:03}", n % 250), &n.to_string())]).await.unwrap();
    }
    let mut last = std::collections::BTreeMap::new();
    while last.len() < 250 || last.values().any(|n| *n < 250) {
        if let Change::Put(entry) = next(&mut watch).await {
            let n: u32 = String::from_utf8(entry.value).unwrap().parse().unwrap();
            assert!(last.insert(entry.key, n).is_none_or(|before| before < n));
        }
    }
}

#[tokio::test]
async fn a_lease_holds_across_handles_and_fences_its_old_holder() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (open(&dir), open(&dir));
    let ttl = Duration::from_millis(400);
    let old = here.acquire("leader", "old", ttl).await.unwrap().unwrap();
    assert_eq!(there.acquire("leader", "new", ttl).await.unwrap(), None);
    assert_eq!(here.acquire("leader", "old", ttl).await.unwrap(), Some(old.clone()));
    tokio::time::sleep(ttl).await;
    let new = there.acquire("leader", "new", ttl * 100).await.unwrap().unwrap();
    assert!(new.token > old.token);
    let late = here.txn(vec![Compare::Held(old.clone())], vec![put("a", "late")]).await.unwrap();
    assert_eq!(late, Committed::No);
    here.release(&old).await.unwrap();
    assert_eq!(here.acquire("leader", "old", ttl).await.unwrap(), None);
    let now = here.txn(vec![Compare::Held(new.clone())], vec![put("a", "now")]).await.unwrap();
    assert!(matches!(now, Committed::Yes(_)));
    there.release(&new).await.unwrap();
    assert!(here.acquire("leader", "old", ttl).await.unwrap().is_some());
}

#[tokio::test]
async fn two_handles_that_compare_never_lose_an_update() {
    let dir = tempfile::tempdir().unwrap();
    let count = |store: Sqlite| async move {
        for _ in 0..50 {
            loop {
                let entry = store.get("n").await.unwrap();
                let (n, revision) = entry.map_or((0, 0), |entry| {
                    (String::from_utf8(entry.value).unwrap().parse().unwrap(), entry.revision.0)
                });
                let next: u32 = n + 1;
                let op = put("n", &next.to_string());
                if store.txn(vec![is("n", revision)], vec![op]).await.unwrap() != Committed::No {
                    break;
                }
            }
        }
    };
    let (here, there) = (open(&dir), open(&dir));
    tokio::join!(count(here.clone()), count(here.clone()), count(there));
    assert_eq!(here.get("n").await.unwrap().unwrap().value, b"150");
}

#[tokio::test]
async fn a_closed_store_says_so_and_what_it_held_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.txn(vec![], vec![put("a", "1")]).await.unwrap();
    let mut watch = store.watch("", Revision(1)).await.unwrap();
    store.close().await;
    assert!(matches!(store.get("a").await, Err(StoreError::Closed)));
    assert_eq!(watch.0.recv().await, None);
    let store = open(&dir);
    assert_eq!(store.get("a").await.unwrap().unwrap().value, b"1");
}

#[test]
fn values_do_not_show_in_debug_output() {
    let entry = Entry { key: "k".into(), value: b"secret".into(), revision: Revision(1) };
    let shown = format!("{entry:?} {:?}", put("k", "secret"));
    assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
}
