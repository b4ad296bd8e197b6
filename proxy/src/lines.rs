//! Lines for a file or standard output, written by a thread of their own: a request never waits
//! for a disk. When the writer cannot keep up, what it cannot take is dropped and counted.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
};

/// Hands whole lines to a writer's thread.
pub(crate) struct Lines {
    queue: SyncSender<Vec<u8>>,
    /// Bytes waiting for the writer.
    waiting: Arc<AtomicUsize>,
    dropped: AtomicU64,
}

/// Bytes that may wait: pieces are short mostly, but a client has a say in it.
const WAITING: usize = 32 << 20;

impl Lines {
    /// Starts the thread `name`, which ends when this is dropped. Up to `waiting` pieces wait
    /// for it.
    pub(crate) fn new(
        name: &'static str,
        waiting: usize,
        mut sink: impl Write + Send + 'static,
    ) -> Self {
        let (queue, pieces) = sync_channel::<Vec<u8>>(waiting);
        let bytes = Arc::<AtomicUsize>::default();
        let written = Arc::clone(&bytes);
        let write = move || {
            for piece in pieces {
                written.fetch_sub(piece.len(), Relaxed);
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
        Self { queue, waiting: bytes, dropped: AtomicU64::new(0) }
    }

    /// Gives lines, each with its end, to the writer.
    pub(crate) fn write(&self, lines: Vec<u8>) {
        let length = lines.len();
        let waiting = self.waiting.fetch_add(length, Relaxed) + length;
        if waiting > WAITING || self.queue.try_send(lines).is_err() {
            self.waiting.fetch_sub(length, Relaxed);
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Pieces lost because the writer was behind.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}
