//! The data path: from an accepted connection to the last byte of a response.
//!
//! [`Proxy`] is what the rest of the process holds: it takes configurations ([`Proxy::apply`])
//! and gives figures. The way of a request is in `request`, stage by stage; each decision on it
//! is a pure function in a file of its own. A request reads one snapshot from start to end; no
//! request waits for the control plane, a disk, DNS or a logger.

mod access;
mod activity;
mod body;
mod cells;
mod client;
mod collect;
mod compile;
mod conn;
mod cookie;
mod core;
pub mod drain;
mod exchange;
mod explain;
mod figures;
mod forwarded;
pub mod h1;
mod hop;
mod identity;
mod limit;
mod lines;
mod listener;
mod normalise;
mod observe;
mod pause;
mod reason;
mod request;
mod respond;
mod route;
mod snapshot;
mod sticky;
mod stream;
mod tunnel;
mod upstream;
mod waf;
mod worker;

pub use access::{AccessFormat, AccessLog};
pub use body::{Broken, ResponseBody};
pub use core::{ApplyError, Options};
pub use explain::{Answer as Explanation, Question};
pub use figures::{EndpointFigures, ListenerFigures, VersionFigures};
pub use listener::Sockets;
pub use reason::Reason;
pub use waf::{
    AuditLog, Checked as WafChecked, Trial as WafTrial, route_path, status as waf_status,
    trials as waf_trials,
};

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};
use tidegate_config::Config;
use tidegate_release::RuntimeState;

/// The data path of a process. Clones are handles to the same one.
#[derive(Clone)]
pub struct Proxy(Arc<core::Core>);

/// The work of one worker thread, to be run on a single-threaded runtime of its own.
pub struct WorkerTask {
    core: Arc<core::Core>,
    index: usize,
    commands: tokio::sync::mpsc::UnboundedReceiver<worker::Command>,
}

impl WorkerTask {
    /// Serves until the process ends.
    pub async fn run(self) {
        worker::run(self.core, self.index, self.commands).await;
    }
}

impl Proxy {
    /// A data path that listens nowhere yet, and the tasks of its workers. Its metrics join
    /// `registry`; `config` is what [`Self::apply`] will be called with first.
    pub fn new(
        options: Options,
        config: &Config,
        registry: &prometheus::Registry,
    ) -> Result<(Self, Vec<WorkerTask>), prometheus::Error> {
        let (core, receivers) = core::Core::new(options, config);
        registry.register(Box::new(collect::EdgeCollector(Arc::downgrade(&core))))?;
        let tasks = receivers.into_iter().enumerate().map(|(index, commands)| WorkerTask {
            core: Arc::clone(&core),
            index,
            commands,
        });
        let tasks = tasks.collect();
        Ok((Self(core), tasks))
    }

    /// Brings a configuration into force, or changes nothing and says why. Reads certificate
    /// files: not for a worker's thread.
    pub fn apply(&self, config: Arc<Config>, state: Arc<RuntimeState>) -> Result<(), ApplyError> {
        self.0.apply(config, state)
    }

    /// Brings a runtime state into force; only services whose weights differ are rebuilt.
    pub fn apply_state(&self, state: Arc<RuntimeState>) {
        self.0.apply_state(state);
    }

    /// What was read to compile the WAF rules in force, files that others include among them:
    /// each path with a digest of what was compiled, or of what is there `now`. Reads files then.
    pub fn rules_read(&self, now: bool) -> BTreeMap<PathBuf, String> {
        let snapshot = self.0.snapshot();
        let reads = snapshot.wafs.values().map(|waf| &waf.reads);
        match now {
            true => reads.flat_map(|reads| reads.now()).collect(),
            false => reads.flat_map(|reads| reads.then()).collect(),
        }
    }

    /// The listeners in force.
    pub fn listeners(&self) -> Vec<ListenerFigures> {
        figures::listeners(&self.0)
    }

    /// Every version of every service.
    pub fn versions(&self) -> Vec<VersionFigures> {
        figures::versions(&self.0)
    }

    /// Every endpoint of every upstream.
    pub fn endpoints(&self) -> Vec<EndpointFigures> {
        figures::endpoints(&self.0)
    }

    /// Reasons not to be ready: a drain, or endpoints that are not checked yet.
    pub fn unready(&self) -> Vec<String> {
        figures::unready(&self.0)
    }

    /// What would become of a request.
    pub fn explain(&self, question: &Question) -> Explanation {
        explain::explain(&self.0, question)
    }

    /// Copies of every listening socket, for the process that takes over.
    pub fn sockets(&self) -> io::Result<Vec<Sockets>> {
        self.0.sockets()
    }

    /// Stops accepting and ends every connection between requests: `Connection: close` with
    /// the next response, GOAWAY; at the deadline whatever is left. `handed_over` says that
    /// another process accepts from the same sockets; otherwise connections still queued are
    /// served first.
    pub async fn drain(&self, handed_over: bool, deadline: Duration) {
        let how = match handed_over {
            true => listener::Accepting::HandedOver,
            false => listener::Accepting::Removed,
        };
        self.0.drain(how, deadline).await;
    }
}
