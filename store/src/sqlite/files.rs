//! The files of one store and the directory they lie in.
//!
//! A process that has the database open must never open `state.db` by other means: closing any
//! descriptor of it drops SQLite's POSIX locks. Here it is only stat'ed, renamed and chmod'ed.

use crate::{Notice, StoreError};
use rustix::fs::FlockOperation;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use time::{OffsetDateTime, macros::format_description};

/// How long another process may take to open the store or copy it.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const BITS: u32 = 0o7777;
const FOR_OTHERS: u32 = 0o077;

/// Where everything lies.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
    /// The database.
    pub(super) main: PathBuf,
    /// The last good copy.
    pub(super) good: PathBuf,
    /// A copy in the making; means nothing until it has been renamed.
    pub(super) draft: PathBuf,
    lock: PathBuf,
}

/// Held while the files themselves are looked at, moved or copied, so that two processes do
/// not mend the same damage twice. The system releases it if the process dies.
#[derive(Debug)]
pub(super) struct Locked(#[expect(dead_code, reason = "closing it is what unlocks")] File);

/// Device and inode: whether a path still means the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Files {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            main: dir.join("state.db"),
            good: dir.join("state.db.good"),
            draft: dir.join("state.db.good.new"),
            lock: dir.join("state.db.lock"),
        }
    }

    /// Makes the directory if it is missing and looks at who can read it.
    pub(super) fn prepare(&self) -> Result<Vec<Notice>, StoreError> {
        let mut notices = Vec::new();
        match fs::metadata(&self.dir) {
            Ok(found) if !found.is_dir() => {
                return Err(self.refused(
                    "it is not a directory",
                    "move that file away or set `state` in `[control]` to a directory",
                ));
            }
            Ok(found) => self.tighten_directory(found.mode() & BITS, &mut notices),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&self.dir)
                    .map_err(|error| self.denied(&error))?;
            }
            Err(error) => return Err(self.denied(&error)),
        }
        for path in
            [&self.main, &beside(&self.main, "-wal"), &beside(&self.main, "-shm"), &self.good]
        {
            tighten_file(path, &mut notices);
        }
        Ok(notices)
    }

    /// Waits for the lock. Making its file also shows whether the directory can be written.
    pub(super) fn lock(&self) -> Result<Locked, StoreError> {
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            if let Some(locked) = self.try_lock()? {
                return Ok(locked);
            }
            if Instant::now() > deadline {
                return Err(StoreError::Io {
                    path: self.lock.clone(),
                    doing: "locked",
                    cause: format!(
                        "another process has held it for {} s; is a stopped or hung tidegate \
                         still there?",
                        LOCK_PATIENCE.as_secs()
                    ),
                });
            }
            #[expect(clippy::disallowed_methods, reason = "opening blocks by contract, no worker")]
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The lock, unless somebody has it.
    pub(super) fn try_lock(&self) -> Result<Option<Locked>, StoreError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.lock)
            .map_err(|error| self.denied(&error))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Locked(file))),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(self.denied(&error.into())),
        }
    }

    /// Which file the database's path means now; `None` if there is none.
    pub(super) fn identity(&self) -> Option<Identity> {
        fs::metadata(&self.main).ok().map(|found| Identity(found.dev(), found.ino()))
    }

    /// Creates an empty file only we can read, in place of whatever lay there. A journal left
    /// by a crash goes too: SQLite would replay it into the new file.
    pub(super) fn create(&self, path: &Path) -> Result<(), StoreError> {
        let remove = |path: &Path| match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        remove(&beside(path, "-journal"))
            .and_then(|()| remove(path))
            .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path))
            .map(drop)
            .map_err(|error| io_error(path, "created", &error))
    }

    /// Moves `path` and what SQLite keeps beside it out of the way; returns the new name.
    pub(super) fn set_aside(&self, path: &Path) -> Result<PathBuf, StoreError> {
        let stamp = OffsetDateTime::now_utc()
            .format(format_description!("[year][month][day]T[hour][minute][second]Z"))
            .unwrap_or_else(|_| "unknown-time".to_owned());
        let first = beside(path, &format!(".damaged-{stamp}"));
        let mut kept = first.clone();
        let mut number = 2;
        while kept.exists() {
            kept = beside(&first, &format!(".{number}"));
            number += 1;
        }
        for suffix in ["", "-wal", "-shm", "-journal"] {
            match fs::rename(beside(path, suffix), beside(&kept, suffix)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(io_error(path, "kept aside", &error));
                }
                _ => {}
            }
        }
        self.sync().map_err(|error| io_error(path, "kept aside", &error))?;
        Ok(kept)
    }

    /// Makes `draft` durable and gives it the name `target`.
    pub(super) fn publish(&self, draft: &Path, target: &Path) -> Result<(), StoreError> {
        File::open(draft)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(draft, target))
            .and_then(|()| self.sync())
            .map_err(|error| io_error(target, "written", &error))
    }

    /// Makes the directory's entries durable.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn tighten_directory(&self, mode: u32, notices: &mut Vec<Notice>) {
        if mode & FOR_OTHERS == 0 {
            return;
        }
        // A shared directory (`/tmp`, `/var/lib`) named by mistake must not lose its mode.
        let empty = fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.next().is_none());
        let ours = empty || self.main.exists() || self.good.exists();
        let now = 0o700;
        if !ours || fs::set_permissions(&self.dir, Permissions::from_mode(now)).is_err() {
            notices.push(Notice::Exposed { path: self.dir.clone(), mode });
        } else if !empty {
            notices.push(Notice::Tightened { path: self.dir.clone(), was: mode, now });
        }
    }

    fn denied(&self, error: &io::Error) -> StoreError {
        let user = rustix::process::geteuid().as_raw();
        let dir = self.dir.display();
        match error.kind() {
            ErrorKind::ReadOnlyFilesystem => self.refused(
                "its file system is read-only",
                "mount a writable volume there or set `state` in `[control]` to another directory",
            ),
            ErrorKind::PermissionDenied => {
                let owner = fs::metadata(&self.dir).map(|found| found.uid()).ok();
                let cause = match owner {
                    Some(owner) if owner != user => {
                        format!("it belongs to user {owner} and this process runs as user {user}")
                    }
                    _ => format!("user {user} may not write there"),
                };
                self.refused(&cause, &format!("run `chown {user} {dir} && chmod 700 {dir}`"))
            }
            ErrorKind::NotADirectory => self.refused(
                "a part of the path is not a directory",
                "set `state` in `[control]` to a directory",
            ),
            ErrorKind::StorageFull => self.refused("the disk is full", "free space on it"),
            _ => self.refused(
                &error.to_string(),
                "set `state` in `[control]` to a directory this process can write",
            ),
        }
    }

    fn refused(&self, cause: &str, remedy: &str) -> StoreError {
        StoreError::Directory {
            path: self.dir.clone(),
            cause: cause.to_owned(),
            remedy: remedy.to_owned(),
        }
    }
}

/// `path` with `suffix` appended to its last part.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// An error of the file system, with what was being done to `path`.
pub(super) fn io_error(path: &Path, doing: &'static str, error: &io::Error) -> StoreError {
    StoreError::Io { path: path.to_owned(), doing, cause: error.to_string() }
}

fn tighten_file(path: &Path, notices: &mut Vec<Notice>) {
    let Ok(found) = fs::metadata(path) else { return };
    let was = found.mode() & BITS;
    let now = 0o600;
    if was & FOR_OTHERS != 0 && fs::set_permissions(path, Permissions::from_mode(now)).is_ok() {
        notices.push(Notice::Tightened { path: path.to_owned(), was, now });
    }
}
