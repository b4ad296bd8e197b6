//! The embedded engine: one SQLite file in the state directory.
//!
//! One thread owns the connection; calls reach it through a bounded channel and are answered
//! after the commit. Two processes may have the file open at once (an upgrade of the binary):
//! transactions and leases hold across both, and a watch sees the other's commits within
//! about 200 ms.

mod copy;
mod fault;
mod files;
mod job;
mod lease;
mod open;
mod schema;
mod tables;
mod view;
mod watchers;
mod worker;

use crate::{
    Committed, Compare, Entry, Lease, Notice, Op, Revision, Store, StoreError, Watch, limits,
};
use async_trait::async_trait;
use files::{Files, io_error};
use job::{Job, Kind, job};
use lease::Clock;
use rusqlite::Connection;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use watchers::Watchers;
use worker::Worker;

/// Calls that may wait for the thread; more wait in their callers.
const WAITING: usize = 256;

/// The store in a state directory: `state.db`, and `state.db.good`, its last good copy.
///
/// A handle; clones share one connection. When the last one is dropped the store finishes in
/// the background; [`Sqlite::close`] waits for that.
#[derive(Clone, Debug)]
pub struct Sqlite {
    jobs: mpsc::Sender<Box<dyn Job>>,
    clock: Clock,
    refused: watch::Receiver<Option<Arc<str>>>,
}

impl Sqlite {
    /// Opens the store in `dir`, creating what is missing. Blocks on the disk.
    ///
    /// A damaged database is kept aside as `state.db.damaged-<utc time>` and the last good copy
    /// takes its place, or an empty database if there is none; the notices say which, and what
    /// may be missing. One that cannot be opened for writing, on a full disk or a read-only file
    /// system, is read into memory and answers from there; writes fail until opening it, which is
    /// tried every few seconds, works.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Notice>), StoreError> {
        let files = Files::new(dir);
        let mut opened = open::open(&files)?;
        let notices = std::mem::take(&mut opened.notices);
        let threads = |error| io_error(&files.main, "opened", &error);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(threads)?;
        let (refused, is_refused) = watch::channel(None);
        let worker = Worker::new(files.clone(), opened, refused)?;
        let (jobs, queue) = mpsc::channel(WAITING);
        std::thread::Builder::new()
            .name("tidegate-store".to_owned())
            .spawn(move || runtime.block_on(worker.run(queue)))
            .map_err(threads)?;
        Ok((Self { jobs, clock: Clock::of_this_machine(), refused: is_refused }, notices))
    }

    /// Ends the store for every clone, when what was asked before is on disk and copied.
    pub async fn close(&self) {
        // An error means that it is closed already.
        let _ = self.call(Kind::Close, |_, _| Ok(())).await;
    }

    /// Writes the log of the database into it and empties the log, so that values that were
    /// replaced are on the disk no more.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        self.call(Kind::Checkpoint, |_, _| Ok(())).await
    }

    async fn call<T, F>(&self, kind: Kind, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut Watchers) -> rusqlite::Result<T> + Send + 'static,
    {
        let (job, answer) = job(kind, run);
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        limits::key(key)?;
        let key = key.to_owned();
        self.call(Kind::Read, move |conn, _| tables::get(conn, &key)).await
    }

    async fn range(&self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        limits::prefix(prefix)?;
        let prefix = prefix.to_owned();
        self.call(Kind::Read, move |conn, _| tables::range(conn, &prefix)).await
    }

    async fn txn(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Committed, StoreError> {
        limits::txn(&compares, &ops)?;
        let clock = self.clock.clone();
        self.call(Kind::Write, move |conn, _| tables::txn(conn, &compares, &ops, &clock.now()))
            .await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        limits::prefix(prefix)?;
        let prefix = prefix.to_owned();
        self.call(Kind::Read, move |conn, watchers| watchers.open(conn, prefix, from)).await?
    }

    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        limits::key(name)?;
        limits::key(holder)?;
        let (name, holder, clock) = (name.to_owned(), holder.to_owned(), self.clock.clone());
        self.call(Kind::Write, move |conn, _| {
            lease::acquire(conn, &name, &holder, ttl, &clock.now())
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.call(Kind::Write, move |conn, _| lease::release(conn, &lease)).await
    }

    fn unwritable(&self) -> Option<Arc<str>> {
        self.refused.borrow().clone()
    }
}
