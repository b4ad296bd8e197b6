//! Opening: look at what is there, mend it, and say what was done.

use super::{
    copy,
    fault::{is_damage, store_error},
    files::{Files, Identity, Locked, beside, io_error},
    schema,
    view::{self, View},
};
use crate::{Notice, StoreError};
use rusqlite::{Connection, config::DbConfig};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Revisions and tokens skipped when an older copy is put in force, so that none is ever given
/// twice with another meaning.
const SKIP: u64 = 1_000_000;

/// An open database.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) conn: Connection,
    /// The file behind the connection, as long as nobody moves it.
    pub(super) identity: Option<Identity>,
    /// Whether `state.db.good` says the same.
    pub(super) copied: bool,
    /// Why nothing can be written: the connection is then a copy in memory.
    pub(super) read_only: Option<StoreError>,
    pub(super) notices: Vec<Notice>,
}

/// What lies at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A file in which nothing was ever stored.
    Blank,
    Sound {
        id: String,
        revision: u64,
    },
    Newer(u64),
    Damaged(String),
}

/// Opens the database of `files`, creating or restoring it where needed; to read only, if it is
/// there and the system around it lets nothing be written.
pub(super) fn open(files: &Files) -> Result<Opened, StoreError> {
    let opened = files.prepare().and_then(|notices| mend(files, files.lock()?, notices));
    let why = match opened {
        Err(why @ (StoreError::Directory { .. } | StoreError::Io { .. })) => why,
        opened => return opened,
    };
    // An empty directory that cannot be written is refused: what was there may be elsewhere, such
    // as on a volume that is not mounted yet.
    let Some(View { conn, from, revision }) = view::read(files) else { return Err(why) };
    let notices = vec![Notice::ReadOnly { cause: why.to_string(), from, revision }];
    Ok(Opened { conn, identity: None, copied: true, read_only: Some(why), notices })
}

/// Opens for work what was open to read only; `None` while another process is at the files.
pub(super) fn open_again(files: &Files, view: &Connection) -> Result<Option<Opened>, StoreError> {
    let notices = files.prepare()?;
    let Some(locked) = files.try_lock()? else { return Ok(None) };
    let is_missing = |path| matches!(fs::exists(path), Ok(false));
    if is_missing(&files.main) && is_missing(&files.good) {
        // Another volume is in the place of the one that failed.
        copy::save(view, files)?;
    }
    mend(files, locked, notices).map(Some)
}

/// Puts right what is there, and opens it for work.
fn mend(files: &Files, locked: Locked, mut notices: Vec<Notice>) -> Result<Opened, StoreError> {
    // The copy first: a sound database is never older than a copy read before it.
    let copy = inspect(&files.good)?;
    let main = inspect(&files.main)?;
    let mut copied = false;
    match (main, copy) {
        (Found::Newer(found), _) => {
            return Err(StoreError::Newer {
                path: files.main.clone(),
                found,
                known: schema::VERSION,
            });
        }
        (Found::Sound { id, revision }, Found::Sound { id: copy_id, revision: copy })
            if id == copy_id && copy > revision =>
        {
            let cause = format!(
                "it ends at revision {revision}, the copy at {copy}: its write-ahead log was lost \
                 or an older file put in its place"
            );
            notices.push(restore(files, cause, true)?);
        }
        (Found::Sound { id, revision }, copy) => {
            if let Found::Damaged(cause) = copy {
                notices.push(Notice::CopyDamaged { cause, kept: files.set_aside(&files.good)? });
            } else {
                copied = copy == Found::Sound { id, revision };
            }
        }
        (Found::Damaged(cause), Found::Sound { .. }) => notices.push(restore(files, cause, true)?),
        (Found::Nothing, Found::Sound { .. }) => {
            notices.push(restore(files, "the file is missing".to_owned(), false)?);
        }
        (Found::Blank, Found::Sound { .. }) => {
            notices.push(restore(files, "the file is empty".to_owned(), true)?);
        }
        (Found::Damaged(cause), copy) => {
            let kept = files.set_aside(&files.main)?;
            let copy = unusable(files, copy)?;
            create(files, unix_seconds())?;
            notices.push(Notice::Emptied { cause, kept, copy });
        }
        (Found::Nothing | Found::Blank, Found::Damaged(cause)) => {
            let kept = files.set_aside(&files.good)?;
            create(files, unix_seconds())?;
            let copy = format!("its copy is damaged ({cause})");
            notices.push(Notice::Emptied { cause: "the file is missing".to_owned(), kept, copy });
        }
        (Found::Nothing | Found::Blank, Found::Newer(found)) => {
            return Err(StoreError::Newer {
                path: files.good.clone(),
                found,
                known: schema::VERSION,
            });
        }
        (Found::Nothing | Found::Blank, Found::Nothing | Found::Blank) => create(files, 0)?,
    }
    let sql = |error| store_error(&files.main, "opened", &error);
    let conn = schema::connect(&files.main).map_err(sql)?;
    schema::set_up(&conn).map_err(sql)?;
    let identity = files.identity();
    drop(locked);
    Ok(Opened { conn, identity, copied, read_only: None, notices })
}

/// Looks at a file without changing it; only errors of the system around it are errors.
fn inspect(path: &Path) -> Result<Found, StoreError> {
    // SQLite would silently delete the log of a missing or empty file, or worse, replay it into
    // the next one.
    let log = fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0);
    let len = match fs::metadata(path) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => {
            let cause = "it is not a file; move it away".to_owned();
            return Err(StoreError::Io { path: path.to_owned(), doing: "opened", cause });
        }
        Err(error) if error.kind() == ErrorKind::NotFound && log => {
            let cause = "the file is missing, its write-ahead log is not".to_owned();
            return Ok(Found::Damaged(cause));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(io_error(path, "opened", &error)),
    };
    if len == 0 {
        let cause = "the file is empty, its write-ahead log is not".to_owned();
        return Ok(if log { Found::Damaged(cause) } else { Found::Blank });
    }
    let checked = schema::connect(path).and_then(|conn| {
        // A damaged file is kept exactly as it was found.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        check(&conn, len)
    });
    match checked {
        Ok(found) => Ok(found),
        Err(error) if is_damage(&error) => Ok(Found::Damaged(error.to_string())),
        Err(error) => Err(store_error(path, "opened", &error)),
    }
}

/// Looks at the content of a file of `len` bytes.
pub(super) fn check(conn: &Connection, len: u64) -> rusqlite::Result<Found> {
    // SQLite reads the missing end of a last page as zeros and finds no fault in that.
    let page: u64 = conn.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    if !len.is_multiple_of(page) {
        return Ok(Found::Damaged(format!("it ends within a page, at byte {len}")));
    }
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Ok(Found::Damaged(verdict));
    }
    match schema::version(conn)? {
        None => Ok(Found::Damaged("it is a database, but not one of ours".to_owned())),
        Some(version) if version > schema::VERSION => Ok(Found::Newer(version)),
        Some(_) => {
            let id = conn.query_row("SELECT id FROM identity", [], |row| row.get(0));
            // A table without its only row was emptied by something else.
            match (id, schema::counter(conn, "revision")) {
                (Ok(id), Ok(revision)) => Ok(Found::Sound { id, revision }),
                (Err(rusqlite::Error::QueryReturnedNoRows), _)
                | (_, Err(rusqlite::Error::QueryReturnedNoRows)) => {
                    Ok(Found::Damaged("its counters are missing".to_owned()))
                }
                (Err(error), _) | (_, Err(error)) => Err(error),
            }
        }
    }
}

/// Puts the copy in the database's place.
fn restore(files: &Files, cause: String, present: bool) -> Result<Notice, StoreError> {
    let kept = if present { Some(files.set_aside(&files.main)?) } else { None };
    let saved_at = fs::metadata(&files.good)
        .and_then(|found| found.modified())
        .ok()
        .and_then(|at| OffsetDateTime::from(at).format(&Rfc3339).ok())
        .unwrap_or_else(|| "at an unknown time".to_owned());
    files.create(&files.draft)?;
    fs::copy(&files.good, &files.draft)
        .map_err(|error| io_error(&files.draft, "written", &error))?;
    let sql = |error| store_error(&files.draft, "written", &error);
    let revision = (|| {
        let mut conn = schema::connect(&files.draft)?;
        let txn = schema::begin(&mut conn)?;
        let revision = schema::counter(&txn, "revision")?;
        schema::add(&txn, "revision", SKIP)?;
        schema::add(&txn, "token", SKIP)?;
        // Whoever held something held it under tokens that are void now.
        txn.execute("DELETE FROM leases", [])?;
        txn.commit()?;
        Ok(revision)
    })()
    .map_err(sql)?;
    files.publish(&files.draft, &files.main)?;
    Ok(Notice::Restored { cause, kept, revision, saved_at })
}

/// Makes an empty database whose revisions continue after `from`.
fn create(files: &Files, from: u64) -> Result<(), StoreError> {
    files.create(&files.main)?;
    let sql = |error| store_error(&files.main, "created", &error);
    let mut conn = schema::connect(&files.main).map_err(sql)?;
    schema::set_up(&conn).map_err(sql)?;
    schema::create(&mut conn, from).map_err(sql)
}

/// Why there is no copy to restore; a damaged one is kept aside.
fn unusable(files: &Files, copy: Found) -> Result<String, StoreError> {
    Ok(match copy {
        Found::Damaged(cause) => {
            let kept: PathBuf = files.set_aside(&files.good)?;
            format!("its copy is damaged too ({cause}; kept as `{}`)", kept.display())
        }
        Found::Newer(version) => {
            let kept = files.set_aside(&files.good)?;
            format!("its copy has the newer schema {version} (kept as `{}`)", kept.display())
        }
        Found::Nothing | Found::Blank | Found::Sound { .. } => "there is no copy of it".to_owned(),
    })
}

/// Above every revision an earlier database of this node can have reached.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(SKIP, |since| since.as_secs())
}
