//! Whatever happened to the files, the store opens, nothing found is thrown away, and the
//! notices say what was done.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tidegate_store::{Notice, Op, Revision, Sqlite, Store, StoreError};

fn put(key: &str, value: impl Into<Vec<u8>>) -> Op {
    Op::Put { key: key.into(), value: value.into() }
}

/// A closed store with some content and its good copy.
async fn filled(dir: &Path) {
    let (store, _) = Sqlite::open(dir).unwrap();
    for n in 0..20u8 {
        store.txn(vec![], vec![put(&format!("weights/{n}"), vec![n; 3000])]).await.unwrap();
    }
    store.close().await;
}

async fn assert_filled(store: &Sqlite) -> Revision {
    let (entries, revision) = store.range("weights/").await.unwrap();
    assert_eq!(entries.len(), 20);
    revision
}

fn main_of(dir: &Path) -> PathBuf {
    dir.join("state.db")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_database_truncated_anywhere_is_kept_and_its_copy_restored() {
    let whole = tempfile::tempdir().unwrap();
    filled(whole.path()).await;
    let len = fs::metadata(main_of(whole.path())).unwrap().len();
    for cut in [0, 1, 15, 16, 99, 100, 511, 512, 4095, 4096, 4097, len / 2, len - 4096, len - 1] {
        let dir = tempfile::tempdir().unwrap();
        for file in ["state.db", "state.db.good"] {
            fs::copy(whole.path().join(file), dir.path().join(file)).unwrap();
        }
        fs::OpenOptions::new().write(true).open(main_of(dir.path())).unwrap().set_len(cut).unwrap();
        let (store, notices) = Sqlite::open(dir.path()).unwrap();
        let restored = notices.iter().find_map(|notice| match notice {
            Notice::Restored { kept: Some(kept), revision: 20, .. } => Some(kept),
            _ => None,
        });
        let kept = restored.unwrap_or_else(|| panic!("cut at {cut}: {notices:?}"));
        assert_eq!(fs::metadata(kept).unwrap().len(), cut);
        let revision = assert_filled(&store).await;
        assert!(revision > Revision(1000), "a revision must not come twice");
        store.close().await;
    }
}

#[tokio::test]
async fn garbage_without_a_copy_is_kept_and_the_store_starts_empty() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(main_of(dir.path()), b"this is not a database".repeat(500)).unwrap();
    let (store, notices) = Sqlite::open(dir.path()).unwrap();
    let kept = notices
        .iter()
        .find_map(|notice| match notice {
            Notice::Emptied { kept, .. } => Some(kept),
            _ => None,
        })
        .unwrap();
    assert!(fs::read(kept).unwrap().starts_with(b"this is not"));
    assert_eq!(store.range("").await.unwrap().0, []);
    store.txn(vec![], vec![put("a", "1")]).await.unwrap();
    store.close().await;
    let (store, notices) = Sqlite::open(dir.path()).unwrap();
    assert_eq!(notices, []);
    assert!(store.get("a").await.unwrap().is_some());
}

#[tokio::test]
async fn another_programs_database_is_not_taken_for_ours() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    fs::remove_file(main_of(dir.path())).unwrap();
    let foreign = rusqlite::Connection::open(main_of(dir.path())).unwrap();
    foreign.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    drop(foreign);
    fs::set_permissions(main_of(dir.path()), fs::Permissions::from_mode(0o600)).unwrap();
    let (store, notices) = Sqlite::open(dir.path()).unwrap();
    assert!(matches!(&notices[..], [Notice::Restored { kept: Some(_), .. }]), "{notices:?}");
    assert_filled(&store).await;
}

#[tokio::test]
async fn a_damaged_database_with_a_damaged_copy_keeps_both() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    fs::write(main_of(dir.path()), vec![7; 9000]).unwrap();
    fs::write(dir.path().join("state.db.good"), vec![8; 9000]).unwrap();
    let (store, notices) = Sqlite::open(dir.path()).unwrap();
    assert!(matches!(&notices[..], [Notice::Emptied { .. }]), "{notices:?}");
    let kept = fs::read_dir(dir.path())
        .unwrap()
        .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains(".damaged-"))
        .count();
    assert_eq!(kept, 2);
    assert_eq!(store.range("").await.unwrap().0, []);
}

#[tokio::test]
async fn a_damaged_copy_alone_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    fs::write(dir.path().join("state.db.good"), vec![8; 9000]).unwrap();
    let (store, notices) = Sqlite::open(dir.path()).unwrap();
    assert!(matches!(&notices[..], [Notice::CopyDamaged { .. }]), "{notices:?}");
    assert_filled(&store).await;
    store.close().await;
    fs::remove_file(main_of(dir.path())).unwrap();
    let (store, _) = Sqlite::open(dir.path()).unwrap();
    assert_filled(&store).await;
}

#[tokio::test]
async fn a_lost_write_ahead_log_is_noticed_by_the_newer_copy() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let older = fs::read(main_of(dir.path())).unwrap();
    let (store, _) = Sqlite::open(dir.path()).unwrap();
    store.txn(vec![], vec![put("late", "1")]).await.unwrap();
    store.close().await;
    fs::write(main_of(dir.path()), older).unwrap();
    let (store, notices) = Sqlite::open(dir.path()).unwrap();
    assert!(matches!(&notices[..], [Notice::Restored { revision: 21, .. }]), "{notices:?}");
    assert!(store.get("late").await.unwrap().is_some());
}

#[tokio::test]
async fn a_log_without_its_database_is_never_replayed_into_another() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let (store, _) = Sqlite::open(dir.path()).unwrap();
    store.txn(vec![], vec![put("late", "1")]).await.unwrap();
    let log = fs::read(dir.path().join("state.db-wal")).unwrap();
    store.close().await;
    fs::remove_file(main_of(dir.path())).unwrap();
    fs::write(dir.path().join("state.db-wal"), log).unwrap();
    let (store, notices) = Sqlite::open(dir.path()).unwrap();
    assert!(notices.iter().any(|n| matches!(n, Notice::Restored { .. })), "{notices:?}");
    assert!(store.get("late").await.unwrap().is_some());
    assert_filled(&store).await;
}

#[tokio::test]
async fn the_copy_follows_within_about_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Sqlite::open(dir.path()).unwrap();
    store.txn(vec![], vec![put("a", "1")]).await.unwrap();
    store.txn(vec![], vec![put("b", "1")]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    // As after a crash: another directory that has the copy and nothing else.
    let other = tempfile::tempdir().unwrap();
    let good = dir.path().join("state.db.good");
    assert_eq!(mode(&good), 0o600);
    fs::copy(good, other.path().join("state.db.good")).unwrap();
    let (restored, notices) = Sqlite::open(other.path()).unwrap();
    assert!(
        notices.iter().any(|n| matches!(n, Notice::Restored { kept: None, .. })),
        "{notices:?}"
    );
    assert_eq!(restored.range("").await.unwrap().0.len(), 2);
}

#[tokio::test]
async fn a_database_removed_while_in_use_is_restored_before_the_next_write() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Sqlite::open(dir.path()).unwrap();
    store.txn(vec![], vec![put("a", "1")]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        fs::remove_file(dir.path().join(file)).unwrap();
    }
    store.txn(vec![], vec![put("b", "1")]).await.unwrap();
    store.close().await;
    let (store, _) = Sqlite::open(dir.path()).unwrap();
    assert_eq!(store.range("").await.unwrap().0.len(), 2);
}

#[test]
fn a_newer_schema_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    drop(Sqlite::open(dir.path()).unwrap());
    let conn = rusqlite::Connection::open(main_of(dir.path())).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    conn.execute_batch("INSERT INTO schema VALUES (99)").unwrap();
    drop(conn);
    let error = Sqlite::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn a_file_in_the_directorys_place_is_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    fs::write(&path, "").unwrap();
    for bad in [path.clone(), path.join("below")] {
        let error = Sqlite::open(&bad).unwrap_err().to_string();
        assert!(error.contains(bad.to_str().unwrap()), "{error}");
        assert!(error.contains("directory"), "{error}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_with_a_remedy() {
    // Root writes everywhere but into the kernel's own file systems.
    let root = rustix::process::geteuid().is_root();
    let dir = tempfile::tempdir().unwrap();
    let path = if root { PathBuf::from("/proc/sys") } else { dir.path().to_owned() };
    if !root {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
    }
    let error = Sqlite::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Directory { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn files_are_private_and_open_ones_are_closed_to_others_with_a_notice() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("deep/state");
    drop(Sqlite::open(&state).unwrap());
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&main_of(&state)), 0o600);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(main_of(&state), fs::Permissions::from_mode(0o644)).unwrap();
    let (_store, notices) = Sqlite::open(&state).unwrap();
    let tightened: Vec<_> = notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Tightened { was, now, .. } => Some((*was, *now)),
            _ => None,
        })
        .collect();
    assert!(tightened.contains(&(0o755, 0o700)) && tightened.contains(&(0o644, 0o600)));
    assert_eq!(mode(&state), 0o700);
}

#[test]
fn a_shared_directory_keeps_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("foreign"), "").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (_store, notices) = Sqlite::open(dir.path()).unwrap();
    assert!(matches!(&notices[..], [Notice::Exposed { mode: 0o755, .. }]), "{notices:?}");
    assert_eq!(mode(dir.path()), 0o755);
}
