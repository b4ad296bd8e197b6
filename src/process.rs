//! The process: pingora's server hosts the workers, the control plane and the background work,
//! each on a runtime of its own.
//!
//! A worker is a pingora service with one thread; without work stealing that is a
//! single-threaded runtime, on which a connection stays from its first byte to its last. How
//! the process ends is ours: pingora's own graceful shutdown waits out a fixed time even when
//! nothing is left to wait for, so it is told to stop only when the drain is over.

use async_trait::async_trait;
use pingora_core::{
    server::{
        ListenFds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch,
        configuration::ServerConf,
    },
    services::Service,
};
use std::{num::NonZeroUsize, pin::Pin};
use tidegate_proxy::WorkerTask;
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

/// Work of one service; it starts when the process does.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where each worker's task arrives once the control plane has made the data path.
pub(crate) type WorkerSlots = Vec<oneshot::Sender<WorkerTask>>;

/// Runs until `done` turns true. `compose` gets the background runtime's handle and the slots
/// of `workers` workers, and is the control plane's work.
pub(crate) fn host<F>(
    workers: NonZeroUsize,
    done: watch::Receiver<bool>,
    compose: impl FnOnce(oneshot::Receiver<Handle>, WorkerSlots) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let conf = ServerConf { work_stealing: false, threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let (slots, tasks): (WorkerSlots, Vec<_>) =
        (0..workers.get()).map(|_| oneshot::channel()).unzip();
    for (index, task) in tasks.into_iter().enumerate() {
        let work = async move {
            // Without a task there is no data path: the start failed, and says so itself.
            if let Ok(task) = task.await {
                task.run().await;
            }
        };
        server.add_service(Hosted::new(format!("worker-{index}"), work));
    }
    let (handle, background) = oneshot::channel();
    server.add_service(Hosted::new("background".into(), async move {
        let _ = handle.send(Handle::current());
        std::future::pending::<()>().await;
    }));
    server.add_service(Hosted::new("control".into(), compose(background, slots)));
    server.run(RunArgs { shutdown_signal: Box::new(Done(done)) });
}

struct Hosted {
    name: String,
    work: parking_lot::Mutex<Option<Work>>,
}

impl Hosted {
    fn new(name: String, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { name, work: parking_lot::Mutex::new(Some(Box::pin(work))) }
    }
}

#[async_trait]
impl Service for Hosted {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        if let Some(work) = self.work.get_mut().take() {
            work.await;
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

/// The end of the process, as pingora waits for it.
struct Done(watch::Receiver<bool>);

#[async_trait]
impl ShutdownSignalWatch for Done {
    async fn recv(&self) -> ShutdownSignal {
        let mut done = self.0.clone();
        // A sender that is gone is an end, too.
        let _ = done.wait_for(|done| *done).await;
        ShutdownSignal::FastShutdown
    }
}
