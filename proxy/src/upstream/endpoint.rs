//! One endpoint and what is known of it. The state outlives snapshots: a reload finds the
//! endpoint of the same (upstream, address) and keeps its health, pools and counts.

use super::pool::Pool;
use parking_lot::Mutex;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
    },
};
use tidegate_release::EndpointAdmin;

/// What active checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Health {
    /// There is no check: taken as healthy.
    Unchecked,
    /// Not checked yet: used only when nothing is healthy.
    Unknown,
    Healthy,
    Unhealthy,
}

impl Health {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// Requests between the choice of this endpoint and the end of their response.
    pub(crate) in_flight: AtomicU32,
    /// One per worker.
    pub(crate) pools: Box<[Pool]>,
    health: AtomicU8,
    admin: AtomicU8,
    /// No longer in the document: pools keep nothing for it.
    retired: AtomicBool,
    last_failure: Mutex<Option<Arc<str>>>,
    /// Which checker's word counts: one that was stopped may still be speaking.
    checker: AtomicU32,
}

impl Endpoint {
    pub(crate) fn new(address: SocketAddr, workers: usize, checked: bool) -> Self {
        let health = if checked { Health::Unknown } else { Health::Unchecked };
        Self {
            address,
            in_flight: AtomicU32::new(0),
            pools: (0..workers).map(|_| Pool::default()).collect(),
            health: AtomicU8::new(health as u8),
            admin: AtomicU8::new(0),
            retired: AtomicBool::new(false),
            last_failure: Mutex::new(None),
            checker: AtomicU32::new(0),
        }
    }

    pub(crate) fn health(&self) -> Health {
        match self.health.load(Relaxed) {
            0 => Health::Unchecked,
            1 => Health::Unknown,
            2 => Health::Healthy,
            _ => Health::Unhealthy,
        }
    }

    pub(crate) fn set_health(&self, health: Health) {
        self.health.store(health as u8, Relaxed);
        if health == Health::Unhealthy {
            self.clear_pools(); // what a dead endpoint left open is of no use
        }
    }

    /// Makes way for a new checker, whose number this is.
    pub(crate) fn begin_checks(&self) -> u32 {
        self.checker.fetch_add(1, Relaxed) + 1
    }

    /// No checker's word counts any more.
    pub(crate) fn end_checks(&self) {
        self.checker.fetch_add(1, Relaxed);
    }

    pub(crate) fn is_checked_by(&self, checker: u32) -> bool {
        self.checker.load(Relaxed) == checker
    }

    pub(crate) fn last_failure(&self) -> Option<Arc<str>> {
        self.last_failure.lock().clone()
    }

    pub(crate) fn set_last_failure(&self, failure: Option<String>) {
        *self.last_failure.lock() = failure.map(Into::into);
    }

    pub(crate) fn admin(&self) -> Option<EndpointAdmin> {
        match self.admin.load(Relaxed) {
            0 => None,
            1 => Some(EndpointAdmin::Drain),
            _ => Some(EndpointAdmin::Disable),
        }
    }

    pub(crate) fn set_admin(&self, admin: Option<EndpointAdmin>) {
        let code = match admin {
            None => 0,
            Some(EndpointAdmin::Drain) => 1,
            Some(EndpointAdmin::Disable) => 2,
        };
        self.admin.store(code, Relaxed);
        if admin.is_some() {
            self.clear_pools();
        }
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, Relaxed);
        self.clear_pools();
    }

    /// Whether an idle connection to it is worth keeping.
    pub(crate) fn keeps_connections(&self) -> bool {
        !self.retired.load(Relaxed)
            && self.admin.load(Relaxed) == 0
            && self.health() != Health::Unhealthy
    }

    fn clear_pools(&self) {
        for pool in &self.pools {
            pool.clear();
        }
    }
}

/// Counts a request in flight for as long as it lives.
pub(crate) struct InFlight(Arc<Endpoint>);

impl InFlight {
    pub(crate) fn enter(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Relaxed);
        Self(Arc::clone(endpoint))
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
