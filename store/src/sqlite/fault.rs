//! Turns SQLite's errors into ours.

use crate::StoreError;
use rusqlite::ErrorCode;
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::path::Path;

/// `SQLITE_IOERR_SHORT_READ`: the file ends before a page does.
const SHORT_READ: i32 = 522;
/// A disk with less room than this is called full, in bytes: what SQLite wants at least for the
/// index of a log.
const ROOM: u64 = 64 * 1024;

/// Whether `error` means that the file, not the system around it, is at fault.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                || failure.extended_code == SHORT_READ
        }
        // Our own tables with values of another type than we write.
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::FromSqlConversionFailure(..) => true,
        _ => false,
    }
}

/// The error for `path`, with what was being done to it.
pub(super) fn store_error(path: &Path, doing: &'static str, error: &rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    if is_damage(error) {
        return StoreError::Damaged { path, cause: error.to_string() };
    }
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "; free space on that disk",
        Some(ErrorCode::ReadOnly) => "; is its file system read-only or its owner another user?",
        // All that SQLite says of a file beside the database that it could not have.
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_full(&path) => {
            "; the disk is full: free space on it"
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_read_only(&path) => {
            "; its file system is read-only: mount a writable one"
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "; does it belong to the user this process runs as?"
        }
        Some(ErrorCode::DatabaseBusy) => "; another process keeps it locked",
        _ => "",
    };
    StoreError::Io { path, doing, cause: format!("{error}{remedy}") }
}

fn is_full(path: &Path) -> bool {
    statvfs(path).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM)
}

fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY))
}
