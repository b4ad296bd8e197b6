//! One worker: a thread with its own runtime that serves the connections it accepted from
//! their first byte to their last. Nothing moves between workers.

use crate::{
    core::Core,
    listener::{self, Listener},
};
use parking_lot::Mutex;
use std::{net::TcpListener, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

pub(crate) struct Worker {
    pub(crate) index: usize,
    /// Access lines written since the last flush.
    pub(crate) lines: Mutex<Vec<u8>>,
}

impl Worker {
    pub(crate) fn new(index: usize) -> Self {
        Self { index, lines: Mutex::new(Vec::new()) }
    }
}

/// What a worker is told.
pub(crate) enum Command {
    /// Accept connections from this socket.
    Accept { listener: Arc<Listener>, socket: TcpListener },
}

/// Access lines wait no longer than this.
const FLUSH: Duration = Duration::from_millis(100);
/// Pools are looked through every so many flushes.
const SWEEP_EVERY: u32 = 10;

/// Serves on the calling thread's runtime until the process ends.
pub(crate) async fn run(
    core: Arc<Core>,
    index: usize,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let worker = Arc::clone(&core.workers[index]);
    let mut tick = interval(FLUSH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0u32;
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Accept { listener, socket }) => {
                    let (core, worker) = (Arc::clone(&core), Arc::clone(&worker));
                    tokio::spawn(listener::accept(core, worker, listener, socket));
                }
                None => return,
            },
            _ = tick.tick() => {
                if let Some(access) = &core.observer.access {
                    access.flush(&worker);
                }
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(SWEEP_EVERY) {
                    sweep(&core, index);
                }
            }
        }
    }
}

/// Closes this worker's idle upstream connections that are too old.
fn sweep(core: &Core, index: usize) {
    for upstream in core.snapshot().upstreams.values() {
        for endpoint in &upstream.endpoints {
            endpoint.pools[index].sweep(upstream.document.pool.idle_timeout);
        }
    }
}
