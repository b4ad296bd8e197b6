//! Who wants to hear of changes, and how far each has heard.
//!
//! A watcher is a cursor, not a queue: what it has not taken yet stays in the tables, so a slow
//! one costs nothing and never holds up a writer.

use super::{
    schema,
    tables::{self, Cursor},
};
use crate::{Change, MAX_WATCHES, Revision, StoreError, Watch};
use rusqlite::Connection;
use tokio::sync::mpsc;

/// Changes a watcher may have waiting.
const WAITING: usize = 64;

/// The open watches; at most [`MAX_WATCHES`].
#[derive(Debug, Default)]
pub(super) struct Watchers {
    open: Vec<Watcher>,
    lagging: bool,
}

#[derive(Debug)]
struct Watcher {
    prefix: String,
    cursor: Cursor,
    changes: mpsc::Sender<Change>,
}

impl Watchers {
    /// Opens a watch of changes under `prefix` after `from`.
    pub(super) fn open(
        &mut self,
        conn: &Connection,
        prefix: String,
        from: Revision,
    ) -> rusqlite::Result<Result<Watch, StoreError>> {
        self.open.retain(|watcher| !watcher.changes.is_closed());
        if self.open.len() >= MAX_WATCHES {
            return Ok(Err(StoreError::Watches));
        }
        if schema::counter(conn, "forgotten")? > from.0 {
            return Ok(Err(StoreError::Forgotten { from: from.0 }));
        }
        let (changes, stream) = mpsc::channel(WAITING);
        self.open.push(Watcher { prefix, cursor: Cursor { revision: from.0, key: None }, changes });
        Ok(Ok(Watch(stream)))
    }

    /// Whether somebody has not taken all there is.
    pub(super) fn lagging(&self) -> bool {
        self.lagging
    }

    /// Hands out what is new.
    pub(super) fn feed(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let forgotten = schema::counter(conn, "forgotten")?;
        let present = schema::counter(conn, "revision")?;
        self.lagging = false;
        let mut failed = None;
        self.open.retain_mut(|watcher| {
            if watcher.changes.is_closed() || forgotten > watcher.cursor.revision {
                return false;
            }
            match watcher.feed(conn, present) {
                Ok(all) => self.lagging |= !all,
                Err(error) => failed = Some(error),
            }
            true
        });
        failed.map_or(Ok(()), Err)
    }
}

impl Watcher {
    /// Sends what fits; whether that was all.
    fn feed(&mut self, conn: &Connection, present: u64) -> rusqlite::Result<bool> {
        loop {
            if self.cursor.revision >= present && self.cursor.key.is_none() {
                return Ok(true);
            }
            let room = self.changes.capacity();
            if room == 0 {
                return Ok(false);
            }
            let (found, cursor) = tables::changes(conn, &self.prefix, &self.cursor, room)?;
            self.cursor = cursor;
            for change in found {
                // There is room: nobody else sends here.
                let _ = self.changes.try_send(change);
            }
        }
    }
}
