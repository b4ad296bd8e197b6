//! The tables, and how a connection is set up.
//!
//! During an upgrade of the binary two versions share the file, so a new schema may only add.

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, config::DbConfig,
};
use std::{path::Path, time::Duration};

/// The schema this version writes and the newest it understands.
pub(super) const VERSION: u64 = 1;
/// How long a connection waits for another process' transaction.
const BUSY: Duration = Duration::from_secs(5);

/// `meta` holds counters: `revision`, the last `token` given to a lease, and `forgotten`, the
/// revision up to which deletions are no longer remembered.
const TABLES: &str = "
    CREATE TABLE schema (version INTEGER NOT NULL) STRICT;
    INSERT INTO schema VALUES (1);
    CREATE TABLE identity (id TEXT NOT NULL) STRICT;
    INSERT INTO identity VALUES (lower(hex(randomblob(16))));
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO meta VALUES ('revision', 0), ('token', 0), ('forgotten', 0);
    CREATE TABLE entries (
        key TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL
    ) STRICT;
    CREATE INDEX entries_by_revision ON entries (revision, key);
    CREATE TABLE deletions (
        key TEXT PRIMARY KEY, revision INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX deletions_by_revision ON deletions (revision, key);
    CREATE TABLE leases (
        name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL,
        era TEXT NOT NULL, expires_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// Opens an existing file for work.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(conn)
}

/// Makes every commit durable, and leaves nothing of a deleted key in free pages or temporary
/// files.
pub(super) fn set_up(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Creates the tables in an empty file, revisions continuing after `from`.
pub(super) fn create(conn: &mut Connection, from: u64) -> rusqlite::Result<()> {
    let txn = begin(conn)?;
    txn.execute_batch(TABLES)?;
    add(&txn, "revision", from)?;
    txn.commit()?;
    // From here on the file alone shows that it is ours.
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// A transaction that may write: the lock is taken at once, so that it cannot fail halfway.
pub(super) fn begin(conn: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    conn.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// The schema version; `None` if the file has no such table.
pub(super) fn version(conn: &Connection) -> rusqlite::Result<Option<u64>> {
    let known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema'";
    if conn.query_row(known, [], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    conn.query_row("SELECT max(version) FROM schema", [], |row| row.get(0)).map(Some)
}

/// A counter of `meta`.
pub(super) fn counter(conn: &Connection, name: &str) -> rusqlite::Result<u64> {
    conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
}

/// Raises a counter of `meta`.
pub(super) fn add(conn: &Connection, name: &str, by: u64) -> rusqlite::Result<u64> {
    conn.prepare_cached("UPDATE meta SET value = value + ?2 WHERE name = ?1 RETURNING value")?
        .query_row((name, by), |row| row.get(0))
}
