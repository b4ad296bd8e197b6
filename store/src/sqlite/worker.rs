//! The thread that owns the connection: runs the calls in order, commits those that wait
//! together in one go, and feeds the watchers.

use super::{
    copy::Copier,
    fault::store_error,
    files::{Files, Identity},
    job::{Job, Kind},
    open::{self, Opened},
    schema,
    watchers::Watchers,
};
use crate::StoreError;
use rusqlite::Connection;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc::Receiver, watch};

/// Calls that share one commit (and one fsync) at most.
const GROUP: usize = 64;
/// How often the commits of other processes are looked for.
const POLL: Duration = Duration::from_millis(200);
/// The same while a watcher has not taken all there is.
const POLL_LAGGING: Duration = Duration::from_millis(10);
/// How soon a database that could not be opened for writing is tried again.
const RETRY: Duration = Duration::from_secs(3);

/// The thread's state.
#[derive(Debug)]
pub(super) struct Worker {
    files: Files,
    conn: Connection,
    identity: Option<Identity>,
    /// Set while the connection is a copy in memory.
    read_only: Option<ReadOnly>,
    /// Why the last write failed.
    refused: watch::Sender<Option<Arc<str>>>,
    watchers: Watchers,
    copier: Copier,
    /// `PRAGMA data_version` when last looked at: moved by other connections' commits only.
    version: i64,
    /// The revision the copier knows of.
    copied: u64,
    /// Whether the last look at the database failed; logged once.
    failing: bool,
}

/// Nothing can be written.
#[derive(Debug)]
struct ReadOnly {
    why: StoreError,
    next_try: Instant,
}

impl ReadOnly {
    fn new(why: StoreError) -> Self {
        Self { why, next_try: Instant::now() + RETRY }
    }
}

impl Worker {
    /// A worker that tells `refused` why nothing can be written.
    pub(super) fn new(
        files: Files,
        opened: Opened,
        refused: watch::Sender<Option<Arc<str>>>,
    ) -> Result<Self, StoreError> {
        let copier = Copier::start(files.clone()).map_err(|error| StoreError::Io {
            path: files.main.clone(),
            doing: "opened",
            cause: error.to_string(),
        })?;
        let sql = |error| store_error(&files.main, "opened", &error);
        let version = data_version(&opened.conn).map_err(sql)?;
        let copied = schema::counter(&opened.conn, "revision").map_err(sql)?;
        if !opened.copied {
            copier.changed();
        }
        let read_only = opened.read_only.map(ReadOnly::new);
        let worker = Self {
            conn: opened.conn,
            identity: opened.identity,
            read_only,
            refused,
            watchers: Watchers::default(),
            copier,
            version,
            copied,
            failing: false,
            files,
        };
        worker.tell(worker.writable().err());
        Ok(worker)
    }

    /// Works until the last handle is gone or the store is closed.
    pub(super) async fn run(mut self, mut jobs: Receiver<Box<dyn Job>>) {
        let mut group = Vec::with_capacity(GROUP);
        let mut closing = None;
        while closing.is_none() {
            let pause = if self.watchers.lagging() { POLL_LAGGING } else { POLL };
            let mut worked = false;
            match tokio::time::timeout(pause, jobs.recv_many(&mut group, GROUP)).await {
                Ok(0) => break,
                Ok(_) => {
                    closing = self.work(std::mem::take(&mut group));
                    worked = true;
                }
                Err(_) => {}
            }
            self.try_to_write();
            self.follow(worked);
        }
        jobs.close();
        drop(self.watchers);
        drop(self.conn);
        self.copier.finish();
        if let Some(job) = closing {
            job.answer(Ok(()));
        }
    }

    /// Runs and answers a group of calls; what closes the store is returned unanswered.
    fn work(&mut self, group: Vec<Box<dyn Job>>) -> Option<Box<dyn Job>> {
        let writes = group.iter().any(|job| job.kind() == Kind::Write);
        let begun = self.reopen_if_moved().and_then(|()| {
            let begin = if writes { "BEGIN IMMEDIATE" } else { "BEGIN" };
            self.conn.execute_batch(begin).map_err(|error| self.fault(writes, &error))
        });
        let mut failed = begun.err();
        let mut refused = None;
        let mut done: Vec<(Box<dyn Job>, Result<(), StoreError>)> = Vec::with_capacity(group.len());
        for mut job in group {
            let outcome = match &failed {
                Some(error) => Err(again(error)),
                None => self.step(job.as_mut()),
            };
            if job.kind() == Kind::Write && refused.is_none() {
                refused = outcome.as_ref().err().map(again);
            }
            // A full disk makes SQLite end the whole transaction; what came before is undone.
            if failed.is_none() && self.conn.is_autocommit() {
                failed = outcome.as_ref().err().map(again);
            }
            done.push((job, outcome));
        }
        if failed.is_none() {
            let committed = self.conn.execute_batch("COMMIT");
            failed = committed.err().map(|error| self.fault(writes, &error));
        }
        if failed.is_some() && !self.conn.is_autocommit() {
            // If even that fails the next `BEGIN` says so.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        if writes {
            self.tell(failed.as_ref().map(again).or(refused));
        }
        let mut closing = None;
        for (job, outcome) in done {
            match (job.kind(), &failed) {
                (Kind::Close, _) => closing = Some(job),
                (_, Some(error)) => job.answer(Err(again(error))),
                (Kind::Checkpoint, None) => job.answer(self.checkpoint()),
                (_, None) => job.answer(outcome),
            }
        }
        closing
    }

    fn checkpoint(&self) -> Result<(), StoreError> {
        self.writable()?;
        // That it could not be done is no error to SQLite, but the first column of its answer.
        let asked = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: rusqlite::Result<bool> = self.conn.query_row(asked, [], |row| row.get(0));
        match busy {
            Ok(false) => Ok(()),
            Ok(true) => Err(StoreError::Io {
                path: self.files.main.clone(),
                doing: "checkpointed",
                cause: "another process reads it".to_owned(),
            }),
            Err(error) => Err(self.fault(true, &error)),
        }
    }

    /// Runs one call, so that its failure undoes only what it did itself.
    fn step(&mut self, job: &mut dyn Job) -> Result<(), StoreError> {
        let write = job.kind() == Kind::Write;
        if write {
            self.writable()?;
        }
        let outcome = (|| {
            if !write {
                return job.run(&self.conn, &mut self.watchers);
            }
            self.conn.execute_batch("SAVEPOINT job")?;
            let outcome = job.run(&self.conn, &mut self.watchers);
            if outcome.is_err() && !self.conn.is_autocommit() {
                self.conn.execute_batch("ROLLBACK TO job")?;
            }
            if !self.conn.is_autocommit() {
                self.conn.execute_batch("RELEASE job")?;
            }
            outcome
        })();
        outcome.map_err(|error| self.fault(write, &error))
    }

    /// Looks for what is new and tells the watchers and the copier.
    fn follow(&mut self, worked: bool) {
        let outcome = (|| {
            let version = data_version(&self.conn)?;
            if !worked && version == self.version && !self.watchers.lagging() {
                return Ok(());
            }
            // One state of the tables: another process may commit at any time.
            let state = self.conn.unchecked_transaction()?;
            self.watchers.feed(&state)?;
            self.version = version;
            let revision = schema::counter(&state, "revision")?;
            if revision != self.copied {
                self.copier.changed();
                self.copied = revision;
            }
            Ok(())
        })();
        match outcome {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                let error = self.fault(false, &error);
                tracing::error!(%error, "changes of the state database cannot be followed");
                self.failing = true;
            }
            Err(_) => {}
        }
    }

    /// Another process (or an operator) may have put another file in this one's place: what is
    /// written here would then be seen by nobody and lost.
    fn reopen_if_moved(&mut self) -> Result<(), StoreError> {
        if self.read_only.is_some() || self.files.identity() == self.identity {
            return Ok(());
        }
        tracing::error!(path = %self.files.main.display(), "the state database was replaced or removed while in use; opening it anew");
        let opened = open::open(&self.files)?;
        self.put_in_force(opened);
        Ok(())
    }

    /// Opens the database for writing when it is time to try again.
    fn try_to_write(&mut self) {
        let Some(read_only) = &mut self.read_only else { return };
        if Instant::now() < read_only.next_try {
            return;
        }
        match open::open_again(&self.files, &self.conn) {
            Ok(Some(opened)) => {
                tracing::info!(path = %self.files.main.display(), "the state can be written again");
                self.put_in_force(opened);
            }
            Ok(None) => read_only.next_try = Instant::now() + RETRY,
            Err(why) => {
                *read_only = ReadOnly::new(why);
                self.tell(self.writable().err());
            }
        }
    }

    fn put_in_force(&mut self, opened: Opened) {
        for notice in &opened.notices {
            tracing::error!("{notice}");
        }
        self.conn = opened.conn;
        self.identity = opened.identity;
        self.read_only = opened.read_only.map(ReadOnly::new);
        self.tell(self.writable().err());
        // Their cursors belong to the other file; they read their range again.
        self.watchers = Watchers::default();
        self.copier.changed();
    }

    fn writable(&self) -> Result<(), StoreError> {
        self.read_only.as_ref().map_or(Ok(()), |read_only| Err(again(&read_only.why)))
    }

    fn tell(&self, refused: Option<StoreError>) {
        self.refused.send_replace(refused.map(|error| error.to_string().into()));
    }

    fn fault(&self, write: bool, error: &rusqlite::Error) -> StoreError {
        store_error(&self.files.main, if write { "written" } else { "read" }, error)
    }
}

/// Changes when another connection has committed.
fn data_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA data_version", [], |row| row.get(0))
}

/// The same error once more, for the next caller of a group.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Damaged { path, cause } => {
            StoreError::Damaged { path: path.clone(), cause: cause.clone() }
        }
        StoreError::Directory { path, cause, remedy } => StoreError::Directory {
            path: path.clone(),
            cause: cause.clone(),
            remedy: remedy.clone(),
        },
        StoreError::Newer { path, found, known } => {
            StoreError::Newer { path: path.clone(), found: *found, known: *known }
        }
        StoreError::Io { path, doing, cause } => {
            StoreError::Io { path: path.clone(), doing, cause: cause.clone() }
        }
        _ => StoreError::Closed,
    }
}
