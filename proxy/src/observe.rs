//! What happened to a request, told exactly once: when its last byte is sent, or when it is
//! dropped on the way.

use crate::{
    access::AccessLog,
    cells::{PerWorker, RouteCells, VersionCells},
    conn::Connection,
    reason::Reason,
    snapshot::Route,
    stream::StreamClock,
    waf::{AuditLog, Inspected},
};
use http::{HeaderValue, Method, Uri, Version};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tidegate_config::Name;

/// Collects the facts of one request; dropping it counts and logs them.
pub(crate) struct Observation {
    pub(crate) facts: Facts,
    /// Leads to the counters without touching what other workers touch.
    connection: Arc<Connection>,
    /// Of an HTTP/2 stream.
    pub(crate) clock: Option<Arc<StreamClock>>,
}

/// One line of the access log.
pub(crate) struct Facts {
    pub(crate) started: Instant,
    pub(crate) client: IpAddr,
    pub(crate) listener: Name,
    pub(crate) https: bool,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) host: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) traceparent: Option<HeaderValue>,
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) target: Option<Target>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) attempts: u32,
    pub(crate) status: u16,
    pub(crate) reason: Option<Reason>,
    /// For the operator only: what exactly went wrong.
    pub(crate) detail: Option<String>,
    /// What a WAF policy found.
    pub(crate) inspected: Option<Box<Inspected>>,
    pub(crate) bytes: u64,
    pub(crate) head_after: Option<Duration>,
    end: End,
}

/// The service and version a request was assigned to.
pub(crate) struct Target {
    pub(crate) service: Name,
    pub(crate) version: Name,
    pub(crate) cells: Arc<PerWorker<VersionCells>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// No response head yet.
    Waiting,
    /// The head is out, the body is not.
    Streaming,
    Complete,
}

/// What observations report to.
pub(crate) struct Observer {
    pub(crate) no_route: PerWorker<RouteCells>,
    /// One counter per [`Reason::ALL`].
    pub(crate) refusals: Box<[AtomicU64]>,
    pub(crate) access: Option<AccessLog>,
    pub(crate) audit: Option<AuditLog>,
}

impl Observer {
    pub(crate) fn new(workers: usize, access: Option<AccessLog>, audit: Option<AuditLog>) -> Self {
        Self {
            no_route: PerWorker::new(workers),
            refusals: Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            access,
            audit,
        }
    }
}

impl Facts {
    /// What the head says. Fields that only logs show are looked up if one is on.
    pub(crate) fn new<B>(
        request: &http::Request<B>,
        client: IpAddr,
        connection: &Connection,
    ) -> Self {
        let observer = &connection.core.observer;
        let logged = observer.access.is_some() || observer.audit.is_some();
        let header = |name| request.headers().get(name).filter(|_| logged).cloned();
        Self {
            started: Instant::now(),
            client,
            listener: connection.listener.name.clone(),
            https: connection.tls.is_some(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            host: header("host"),
            user_agent: header("user-agent"),
            traceparent: header("traceparent"),
            request_id: None,
            route: None,
            target: None,
            endpoint: None,
            attempts: 0,
            status: 0,
            reason: None,
            detail: None,
            inspected: None,
            bytes: 0,
            head_after: None,
            end: End::Waiting,
        }
    }
}

impl Observation {
    pub(crate) fn begin(connection: &Arc<Connection>, facts: Facts) -> Box<Self> {
        if let Some(activity) = &connection.activity {
            activity.begin();
        }
        Box::new(Self { facts, connection: Arc::clone(connection), clock: None })
    }

    /// The request belongs to this version from now on, whatever becomes of it.
    pub(crate) fn assigned(&mut self, target: Target) {
        target.cells.of(self.connection.worker.index).in_flight.fetch_add(1, Relaxed);
        self.facts.target = Some(target);
    }

    /// The response head is known.
    pub(crate) fn head(&mut self, status: u16) {
        self.facts.status = status;
        self.facts.end = End::Streaming;
        self.facts.head_after = Some(self.facts.started.elapsed());
    }

    /// A frame goes to the client's connection.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.facts.bytes += bytes as u64;
        if let Some(clock) = &self.clock {
            clock.hand_out();
        }
    }

    /// The client's connection asks for the next frame.
    pub(crate) fn asked(&mut self) {
        if let Some(clock) = &self.clock {
            clock.take_back();
        }
    }

    pub(crate) fn complete(&mut self) {
        self.facts.end = End::Complete;
    }

    pub(crate) fn broke_off(&mut self, reason: Reason) {
        self.facts.reason = Some(reason);
        self.facts.end = End::Complete;
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.asked();
        let (facts, connection) = (&mut self.facts, &self.connection);
        if let Some(activity) = &connection.activity {
            activity.end();
        }
        let observer = &connection.core.observer;
        // Nobody asks for the body of an answer that has none.
        let bodiless = facts.method == Method::HEAD || matches!(facts.status, 100..200 | 204 | 304);
        let unread = facts.end == End::Streaming && bodiless;
        if facts.end != End::Complete && !unread {
            facts.reason.get_or_insert(Reason::ClientClosed);
        }
        if let Some(reason) = facts.reason {
            observer.refusals[reason as usize].fetch_add(1, Relaxed);
        }
        let worker = connection.worker.index;
        let route = facts.route.as_ref().map_or(&observer.no_route, |route| &route.cells);
        route.of(worker).count(facts.status);
        if let Some(target) = &facts.target {
            let cells = target.cells.of(worker);
            cells.in_flight.fetch_sub(1, Relaxed);
            // A client that left before the head says nothing about the version.
            if facts.head_after.is_some() {
                cells.requests.fetch_add(1, Relaxed);
                let broke = facts.reason == Some(Reason::UpstreamTruncated);
                cells.failures.fetch_add(u64::from(facts.status >= 500 || broke), Relaxed);
                cells.latency(facts.head_after.unwrap_or_default());
            }
        }
        if let Some(inspected) = &facts.inspected {
            inspected.count();
        }
        if let Some(audit) = &observer.audit {
            audit.write(facts);
        }
        if let Some(access) = &observer.access {
            access.write(&connection.worker, facts);
        }
    }
}
