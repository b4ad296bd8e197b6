//! Lines for a file or standard output, written by a thread of their own: a request never waits
//! for a disk. When the writer cannot keep up, what it cannot take is dropped and counted.

use std::{
    io::Write,
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
};

/// Hands whole lines to a writer's thread.
pub(crate) struct Lines {
    queue: SyncSender<Vec<u8>>,
    dropped: AtomicU64,
}

impl Lines {
    /// Starts the thread `name`, which ends when this is dropped. Up to `waiting` pieces wait
    /// for it.
    pub(crate) fn new(
        name: &'static str,
        waiting: usize,
        mut sink: impl Write + Send + 'static,
    ) -> Self {
        let (queue, pieces) = sync_channel::<Vec<u8>>(waiting);
        let write = move || {
            for piece in pieces {
                if let Err(error) = sink.write_all(&piece).and_then(|()| sink.flush()) {
                    tracing::warn!(%error, "the {name} cannot be written");
                }
            }
        };
        // Without the thread the queue's other end is gone and everything counts as dropped.
        let thread = std::thread::Builder::new().name(name.replace(' ', "-"));
        if let Err(error) = thread.spawn(write) {
            tracing::error!(%error, "the {name} has no thread; its lines are dropped");
        }
        Self { queue, dropped: AtomicU64::new(0) }
    }

    /// Gives lines, each with its end, to the writer.
    pub(crate) fn write(&self, lines: Vec<u8>) {
        if self.queue.try_send(lines).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Pieces lost because the writer was behind.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}
