//! Reading where nothing can be written.
//!
//! SQLite wants files beside a database in WAL mode, even to read it, and has none on a full disk
//! or a read-only file system. So the database is read into memory, with what its log holds;
//! nothing is made, changed or locked where it lies. That is done only where it could not be
//! opened for work, and no connection to the file is left behind.

use super::{
    files::{Files, beside},
    open::{Found, check},
};
use rusqlite::{Connection, OpenFlags, backup::Backup, config::DbConfig};
use std::{
    fmt::Write,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// What could be read.
#[derive(Debug)]
pub(super) struct View {
    /// In memory; it knows of no file.
    pub(super) conn: Connection,
    /// The file it was read from.
    pub(super) from: PathBuf,
    pub(super) revision: u64,
}

/// The newest sound state among the database and its copy; `None` if there is none.
pub(super) fn read(files: &Files) -> Option<View> {
    let (main, copy) = (sound(&files.main), sound(&files.good));
    let is_newer = |(_, id, copy): &(Connection, String, u64)| {
        // As when it is opened for work: the copy is newer if the log of the database was lost.
        main.as_ref().is_none_or(|(_, main_id, main)| id == main_id && copy > main)
    };
    let view = |path: &Path| {
        let from = path.to_owned();
        move |(conn, _, revision)| View { conn, from, revision }
    };
    match copy.filter(is_newer) {
        Some(copy) => Some(copy).map(view(&files.good)),
        None => main.map(view(&files.main)),
    }
}

/// A database in memory, its id and revision, if it is whole and one of ours.
fn sound(path: &Path) -> Option<(Connection, String, u64)> {
    let len = fs::metadata(path).ok().filter(|found| found.is_file() && found.len() > 0)?.len();
    let conn = copy(path).ok()?;
    match check(&conn, len).ok()? {
        Found::Sound { id, revision } => Some((conn, id, revision)),
        _ => None,
    }
}

fn copy(path: &Path) -> rusqlite::Result<Connection> {
    let log = fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0);
    let from = if log { open_with_log(path) } else { open_alone(path) }?;
    let mut to = Connection::open_in_memory()?;
    // All pages in one step: one consistent state.
    Backup::new(&from, &mut to)?.step(-1)?;
    Ok(to)
}

/// Opens a file that has no log, or an empty one, as if it could never change: SQLite then wants
/// nothing beside it.
fn open_alone(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        // Writing to a string cannot fail.
        let _ = match byte {
            b'/' | b'.' | b'-' | b'_' => write!(uri, "{}", char::from(*byte)),
            letter if letter.is_ascii_alphanumeric() => write!(uri, "{}", char::from(*byte)),
            other => write!(uri, "%{other:02x}"),
        };
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri + "?immutable=1", flags)
}

/// Opens a file with its log. A connection that needs to share nothing has the index of the log
/// in its own memory; to be that alone SQLite would lock the file, which takes the right to write.
fn open_with_log(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?;
    // Without locks nothing may be moved out of the log.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.pragma_update(None, "locking_mode", "exclusive")?;
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::schema;
    use std::collections::BTreeSet;

    fn names(dir: &Path) -> BTreeSet<String> {
        let files = fs::read_dir(dir).unwrap().flatten();
        files.map(|file| file.file_name().into_string().unwrap()).collect()
    }

    fn value(conn: &Connection, key: &str) -> Option<String> {
        let sql = "SELECT CAST(value AS TEXT) FROM entries WHERE key = ?1";
        conn.query_row(sql, [key], |row| row.get(0)).ok()
    }

    fn put(conn: &mut Connection, key: &str) {
        let txn = schema::begin(conn).unwrap();
        txn.execute("INSERT INTO entries VALUES (?1, 1, CAST(?1 AS BLOB))", [key]).unwrap();
        schema::add(&txn, "revision", 1).unwrap();
        txn.commit().unwrap();
    }

    /// A database with `first` in the file and `second` in its log, as a crash leaves it.
    fn crashed(dir: &Path) -> Files {
        let (files, origin) = (Files::new(dir), tempfile::tempdir().unwrap());
        let from = Files::new(origin.path());
        files.create(&from.main).unwrap();
        let mut conn = schema::connect(&from.main).unwrap();
        schema::set_up(&conn).unwrap();
        schema::create(&mut conn, 0).unwrap();
        put(&mut conn, "first");
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        put(&mut conn, "second");
        for suffix in ["", "-wal"] {
            fs::copy(beside(&from.main, suffix), beside(&files.main, suffix)).unwrap();
        }
        files
    }

    #[test]
    fn the_log_is_read_and_nothing_is_touched() {
        let dir = tempfile::Builder::new().prefix("50% of #1?").tempdir().unwrap();
        let files = crashed(dir.path());
        let log = fs::read(beside(&files.main, "-wal")).unwrap();
        let view = read(&files).unwrap();
        assert_eq!((view.revision, &view.from), (2, &files.main));
        assert_eq!(value(&view.conn, "second").as_deref(), Some("second"));
        assert_eq!(fs::read(beside(&files.main, "-wal")).unwrap(), log);
        assert_eq!(names(dir.path()).len(), 2, "{:?}", names(dir.path()));

        // Without the log the file is as it was before.
        fs::write(beside(&files.main, "-wal"), "").unwrap();
        let view = read(&files).unwrap();
        assert_eq!(value(&view.conn, "first").as_deref(), Some("first"));
        assert_eq!((view.revision, value(&view.conn, "second")), (1, None));
        assert_eq!(names(dir.path()).len(), 2, "{:?}", names(dir.path()));
    }

    #[test]
    fn the_copy_is_read_where_the_database_is_older_damaged_or_gone() {
        let dir = tempfile::tempdir().unwrap();
        let files = crashed(dir.path());
        let whole = read(&files).unwrap();
        Backup::new(&whole.conn, &mut Connection::open(&files.good).unwrap())
            .unwrap()
            .step(-1)
            .unwrap();
        assert_eq!(read(&files).unwrap().from, files.main, "as new as its copy");
        fs::remove_file(beside(&files.main, "-wal")).unwrap();
        let older = fs::read(&files.main).unwrap();
        for main in [&older[..], &older[..older.len() - 1], b"", b"no database"] {
            fs::write(&files.main, main).unwrap();
            let view = read(&files).unwrap();
            assert_eq!((view.revision, &view.from), (2, &files.good));
        }
        fs::remove_file(&files.main).unwrap();
        assert_eq!(read(&files).unwrap().revision, 2);
        fs::remove_file(&files.good).unwrap();
        assert!(read(&files).is_none());
    }
}
