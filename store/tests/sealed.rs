//! Values encrypted at rest, through the real engine.

use std::{path::Path, sync::Arc};
use tidegate_store::{
    Change, Committed, Compare, KeyRing, Op, Revision, Sealed, Sqlite, Store, StoreError,
};

const SECRET: &[u8] = b"-----BEGIN PRIVATE KEY-----";

fn ring(keys: &[u8]) -> KeyRing {
    KeyRing::new(keys.iter().map(|&key| [key; 32]))
}

async fn sealed(dir: &Path, keys: &[u8]) -> (Sqlite, Result<Sealed, StoreError>) {
    let (sqlite, _) = Sqlite::open(dir).expect("a folder of ours");
    let sealed = Sealed::open(Arc::new(sqlite.clone()), ring(keys)).await;
    (sqlite, sealed)
}

async fn put(store: &dyn Store, key: &str, value: &[u8]) {
    let op = Op::Put { key: key.into(), value: value.to_vec() };
    assert!(matches!(store.txn(vec![], vec![op]).await, Ok(Committed::Yes(_))));
}

/// Whether any file of the folder holds the secret in the clear.
fn is_readable(dir: &Path) -> bool {
    std::fs::read_dir(dir).expect("a folder of ours").flatten().any(|file| {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        bytes.windows(SECRET.len()).any(|window| window == SECRET)
    })
}

#[tokio::test]
async fn nothing_in_the_folder_tells_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let (sqlite, store) = sealed(dir.path(), &[]).await;
    let store = store.unwrap();
    put(&store, "certs/a", SECRET).await;
    put(&store, "certs/b", b"other").await;
    assert_eq!(store.seal_all().await.unwrap(), 0);
    sqlite.close().await;
    assert!(is_readable(dir.path()));

    let (sqlite, store) = sealed(dir.path(), &[1]).await;
    let store = store.unwrap();
    assert_eq!(store.get("certs/a").await.unwrap().unwrap().value, SECRET);
    assert_eq!(store.seal_all().await.unwrap(), 2);
    assert_eq!(store.seal_all().await.unwrap(), 0);
    put(&store, "certs/c", SECRET).await;
    assert_eq!(store.get("certs/c").await.unwrap().unwrap().value, SECRET);
    sqlite.checkpoint().await.unwrap();
    sqlite.close().await;
    assert!(!is_readable(dir.path()));
}

#[tokio::test]
async fn keys_are_rotated_and_a_missing_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (sqlite, store) = sealed(dir.path(), &[1]).await;
    put(&store.unwrap(), "certs/a", SECRET).await;
    sqlite.close().await;

    let (sqlite, refused) = sealed(dir.path(), &[2]).await;
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("certs/a") && told.contains("control.encryption_keys"), "{told}");
    sqlite.close().await;
    let (sqlite, refused) = sealed(dir.path(), &[]).await;
    assert!(matches!(refused, Err(StoreError::Sealed { .. })));
    sqlite.close().await;

    let (sqlite, store) = sealed(dir.path(), &[2, 1]).await;
    let store = store.unwrap();
    assert_eq!(store.get("certs/a").await.unwrap().unwrap().value, SECRET);
    assert_eq!(store.seal_all().await.unwrap(), 1);
    sqlite.close().await;
    let (sqlite, store) = sealed(dir.path(), &[2]).await;
    assert_eq!(store.unwrap().get("certs/a").await.unwrap().unwrap().value, SECRET);
    sqlite.close().await;
}

#[tokio::test]
async fn a_value_that_was_moved_or_changed_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let (sqlite, store) = sealed(dir.path(), &[1]).await;
    let store = store.unwrap();
    put(&store, "certs/a", SECRET).await;
    let raw = sqlite.get("certs/a").await.unwrap().unwrap().value;
    put(&sqlite, "certs/b", &raw).await;
    let mut changed = raw.clone();
    *changed.last_mut().unwrap() ^= 1;
    put(&sqlite, "certs/c", &changed).await;
    for key in ["certs/b", "certs/c"] {
        let found = store.get(key).await.unwrap().unwrap().value;
        assert!(found.starts_with(b"TGS1"), "{key}");
    }
    sqlite.close().await;
    // Another key does not make them good.
    let (sqlite, store) = sealed(dir.path(), &[2, 1]).await;
    assert_eq!(store.unwrap().seal_all().await.unwrap(), 1);
    assert_eq!(sqlite.get("certs/c").await.unwrap().unwrap().value, changed);
    sqlite.close().await;
}

#[tokio::test]
async fn a_log_that_is_still_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (sqlite, store) = sealed(dir.path(), &[1]).await;
    put(&store.unwrap(), "certs/a", SECRET).await;
    let reader = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").unwrap();
    put(&sqlite, "certs/b", SECRET).await;
    let told = sqlite.checkpoint().await.unwrap_err().to_string();
    assert!(told.contains("another process reads it"), "{told}");
    reader.execute_batch("COMMIT").unwrap();
    sqlite.checkpoint().await.unwrap();
    sqlite.close().await;
}

#[tokio::test]
async fn watchers_and_comparisons_see_what_was_put() {
    let dir = tempfile::tempdir().unwrap();
    let (sqlite, store) = sealed(dir.path(), &[1]).await;
    let store = store.unwrap();
    let mut watch = store.watch("a/", Revision(0)).await.unwrap();
    put(&store, "a/1", b"one").await;
    let Some(Change::Put(entry)) = watch.0.recv().await else { panic!("a change") };
    assert_eq!((entry.key.as_str(), entry.value.as_slice()), ("a/1", &b"one"[..]));
    let compare = Compare::Revision { key: "a/1".into(), is: entry.revision };
    let op = Op::Put { key: "a/1".into(), value: b"two".to_vec() };
    assert!(matches!(store.txn(vec![compare], vec![op]).await, Ok(Committed::Yes(_))));
    let (entries, _) = store.range("a/").await.unwrap();
    assert_eq!(entries[0].value, b"two");
    sqlite.close().await;
    while let Some(change) = watch.0.recv().await {
        assert!(matches!(change, Change::Put(_)));
    }
}
