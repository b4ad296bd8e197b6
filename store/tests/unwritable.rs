//! Where nothing can be written the store opens all the same, says so, and goes back to work by
//! itself.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a test binary has no outside")]

#[path = "../../tests/support/disk.rs"]
mod disk;

use disk::Disk;
use std::{fs, path::Path, time::Duration};
use tidegate_store::{Committed, Compare, Notice, Op, Revision, Sqlite, Store, StoreError};

const TTL: Duration = Duration::from_secs(10);

fn put(key: &str) -> Vec<Op> {
    vec![Op::Put { key: key.into(), value: key.into() }]
}

async fn filled(dir: &Path) {
    let (store, _) = Sqlite::open(dir).unwrap();
    store.txn(vec![], put("a")).await.unwrap();
    store.close().await;
}

/// Opens what cannot be written.
fn open_read_only(dir: &Path) -> Sqlite {
    let (store, notices) = Sqlite::open(dir).unwrap();
    let [notice @ Notice::ReadOnly { from, revision: 1, .. }] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert!(from.starts_with(dir), "{notice}");
    store
}

/// Waits until it is opened for writing.
async fn opened_for_writing(store: &Sqlite) {
    // A watch ends when another database is put in force.
    let mut watch = store.watch("", Revision(1)).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), watch.0.recv()).await;
    assert_eq!(ended.expect("it is tried again"), None);
    assert_eq!(store.unwritable(), None);
}

#[tokio::test]
async fn what_was_stored_is_read_and_writing_is_taken_up_again() {
    type Act = fn(&Disk);
    let troubles: [(&str, Act, Act); 2] = [
        ("full", Disk::fill, Disk::free),
        ("read-only", Disk::make_read_only, Disk::make_writable),
    ];
    for (word, spoil, mend) in troubles {
        let dir = tempfile::tempdir().unwrap();
        let Some(disk) = Disk::mount(dir.path()) else { return };
        filled(dir.path()).await;
        spoil(&disk);
        let store = open_read_only(dir.path());
        assert_eq!(store.get("a").await.unwrap().unwrap().revision, Revision(1));
        assert_eq!(store.range("").await.unwrap().0.len(), 1);

        let refused = store.txn(vec![], put("b")).await.unwrap_err().to_string();
        assert!(refused.contains(dir.path().to_str().unwrap()), "{refused}");
        assert!(refused.contains(word), "{refused}");
        assert_eq!(store.unwritable().as_deref(), Some(&*refused));
        // Not even one that would change nothing.
        let absent = Compare::Revision { key: "a".into(), is: Revision(0) };
        assert!(store.txn(vec![absent], put("a")).await.is_err());
        assert!(store.acquire("leader", "me", TTL).await.is_err());
        assert!(store.checkpoint().await.is_err());

        mend(&disk);
        opened_for_writing(&store).await;
        assert_eq!(store.txn(vec![], put("b")).await.unwrap(), Committed::Yes(Revision(2)));
        assert!(store.acquire("leader", "me", TTL).await.unwrap().is_some());
        store.close().await;
        let (store, notices) = Sqlite::open(dir.path()).unwrap();
        assert_eq!(notices, []);
        assert_eq!(store.range("").await.unwrap().0.len(), 2);
        store.close().await;
    }
}

#[tokio::test]
async fn nothing_at_all_is_not_taken_for_an_empty_state() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path()) else { return };
    disk.make_read_only();
    let error = Sqlite::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Directory { .. }), "{error}");
    assert!(error.to_string().contains("read-only"), "{error}");
}

#[tokio::test]
async fn another_volume_in_its_place_gets_what_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let Some(first) = Disk::mount(dir.path()) else { return };
    filled(dir.path()).await;
    first.make_read_only();
    let store = open_read_only(dir.path());
    let second = Disk::mount(dir.path()).unwrap();
    opened_for_writing(&store).await;
    store.txn(vec![], put("b")).await.unwrap();
    store.close().await;
    assert!(fs::exists(dir.path().join("state.db")).unwrap());
    let (store, _) = Sqlite::open(dir.path()).unwrap();
    assert_eq!(store.range("").await.unwrap().0.len(), 2);
    store.close().await;
    drop(second);
}

#[tokio::test]
async fn a_disk_that_fills_up_while_in_use_is_told_until_a_write_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path()) else { return };
    let (store, _) = Sqlite::open(dir.path()).unwrap();
    store.txn(vec![], put("a")).await.unwrap();
    assert_eq!(store.unwritable(), None);
    disk.fill();
    let large = vec![Op::Put { key: "b".into(), value: vec![0; 100_000] }];
    let refused = store.txn(vec![], large).await.unwrap_err().to_string();
    assert!(refused.contains("free space"), "{refused}");
    assert_eq!(store.unwritable().as_deref(), Some(&*refused));
    assert!(store.get("a").await.unwrap().is_some());
    disk.free();
    store.txn(vec![], put("b")).await.unwrap();
    assert_eq!(store.unwritable(), None);
}
