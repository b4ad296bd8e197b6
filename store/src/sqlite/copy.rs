//! The last good copy: what a damaged database is restored from.
//!
//! A thread of its own copies after a change, at most about once a second, by SQLite's backup
//! API into a draft that is checked, made durable and only then renamed: `state.db.good` is
//! whole at every instant, and damage of the database never reaches it.

use super::{fault::store_error, files::Files, schema};
use crate::StoreError;
use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};
use std::{
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// The least time between two copies; a database that takes long to copy is copied less often.
const PAUSE: Duration = Duration::from_secs(1);
/// The share of time spent on copying: one part in this many.
const SHARE: u32 = 10;
/// How soon a copy that was not possible is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The copying thread.
#[derive(Debug)]
pub(super) struct Copier {
    changed: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Copier {
    pub(super) fn start(files: Files) -> std::io::Result<Self> {
        // One waiting signal stands for any number of changes.
        let (changed, signal) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("tidegate-copy".to_owned())
            .spawn(move || run(&files, &signal))?;
        Ok(Self { changed, thread })
    }

    /// Says that the database has changed.
    pub(super) fn changed(&self) {
        match self.changed.try_send(()) {
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }

    /// Copies what is still to be copied and ends.
    pub(super) fn finish(self) {
        drop(self.changed);
        // A panic there has been reported by its own thread.
        let _ = self.thread.join();
    }
}

fn run(files: &Files, signal: &Receiver<()>) {
    let mut failing = false;
    while signal.recv().is_ok() {
        loop {
            let started = Instant::now();
            let outcome = copy(files, Patience::Skip);
            let done = matches!(outcome, Ok(true));
            report(&outcome, &mut failing);
            let pause = match outcome {
                Err(_) => RETRY,
                Ok(_) => PAUSE.max(started.elapsed() * SHARE),
            };
            match wait(signal, pause) {
                Next::Quiet if done => break,
                Next::Quiet | Next::Changed => {}
                Next::Closed { dirty } => {
                    if dirty || !done {
                        report(&copy(files, Patience::Wait), &mut failing);
                    }
                    return;
                }
            }
        }
    }
}

/// What to do while another process opens or copies the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Skip,
    Wait,
}

enum Next {
    Quiet,
    Changed,
    Closed { dirty: bool },
}

/// Waits `pause` out, unless the store is closed.
fn wait(signal: &Receiver<()>, pause: Duration) -> Next {
    let deadline = Instant::now() + pause;
    let mut dirty = false;
    loop {
        match signal.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(()) => dirty = true,
            Err(RecvTimeoutError::Timeout) if dirty => return Next::Changed,
            Err(RecvTimeoutError::Timeout) => return Next::Quiet,
            Err(RecvTimeoutError::Disconnected) => return Next::Closed { dirty },
        }
    }
}

/// Makes one copy; `false` if another process was at the files.
fn copy(files: &Files, patience: Patience) -> Result<bool, StoreError> {
    let locked = match patience {
        Patience::Wait => Some(files.lock()?),
        Patience::Skip => files.try_lock()?,
    };
    let Some(_locked) = locked else { return Ok(false) };
    let from = schema::connect(&files.main);
    save(&from.map_err(|error| store_error(&files.main, "copied", &error))?, files)?;
    Ok(true)
}

/// Makes `from` the last good copy, with the files locked.
pub(super) fn save(from: &Connection, files: &Files) -> Result<(), StoreError> {
    files.create(&files.draft)?;
    back_up(from, &files.draft).map_err(|error| store_error(&files.main, "copied", &error))?;
    files.publish(&files.draft, &files.good)
}

fn back_up(from: &Connection, draft: &Path) -> rusqlite::Result<()> {
    let mut to = Connection::open(draft)?;
    let deadline = Instant::now() + RETRY;
    {
        let backup = Backup::new(from, &mut to)?;
        // All pages in one step: one read transaction, hence one consistent state.
        while backup.step(-1)? != StepResult::Done {
            if Instant::now() > deadline {
                return Err(busy());
            }
            #[expect(clippy::disallowed_methods, reason = "a thread of its own")]
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    // The copy is one file, without a log beside it.
    let _: String = to.query_row("PRAGMA journal_mode = delete", [], |row| row.get(0))?;
    let verdict: String = to.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(damaged(verdict)) }
}

fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)
}

fn damaged(verdict: String) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(verdict))
}

/// Logs the first failure of a row and its end.
fn report(outcome: &Result<bool, StoreError>, failing: &mut bool) {
    match outcome {
        Err(error) if !*failing => {
            tracing::error!(%error, "the copy of the state database is not up to date");
            *failing = true;
        }
        Ok(true) if *failing => {
            tracing::info!("the copy of the state database is up to date again");
            *failing = false;
        }
        _ => {}
    }
}
