//! One call on its way through the store's thread.

use super::watchers::Watchers;
use crate::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    /// Does nothing itself; answered when the log is in the database.
    Checkpoint,
    /// The last one: answered when everything is on disk and copied.
    Close,
}

/// A call: first run, then answered, when its transaction has been committed.
pub(super) trait Job: Send {
    fn kind(&self) -> Kind;
    fn run(&mut self, conn: &Connection, watchers: &mut Watchers) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// A [`Job`] out of a closure, and where its answer arrives.
pub(super) fn job<T, F>(
    kind: Kind,
    run: F,
) -> (Box<dyn Job>, oneshot::Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: FnOnce(&Connection, &mut Watchers) -> rusqlite::Result<T> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Pending { kind, run: Some(run), result: None, reply }), answer)
}

struct Pending<T, F> {
    kind: Kind,
    run: Option<F>,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Pending<T, F>
where
    T: Send,
    F: FnOnce(&Connection, &mut Watchers) -> rusqlite::Result<T> + Send,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn run(&mut self, conn: &Connection, watchers: &mut Watchers) -> rusqlite::Result<()> {
        if let Some(run) = self.run.take() {
            self.result = Some(run(conn, watchers)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { result, reply, .. } = *self;
        // A caller that no longer waits has dropped its end.
        let _ = reply.send(outcome.and_then(|()| result.ok_or(StoreError::Closed)));
    }
}
