//! Certificates on demand: a name that nothing answers for is asked about, ordered, and served in
//! the handshake that brought it.
//!
//! Denied unless a listener says otherwise. What a stranger can cause is bounded before anybody is
//! asked: [`book`] counts names by network and remembers refusals, one [`flight`] goes out for a
//! name however many wait for it. What is allowed becomes a [`wishes`] entry in the store, which
//! the process that leads orders like any other name; it comes back as a certificate by the
//! store's watch. Left out: names in certificates of others, and anything that is no public name.

mod book;
mod flight;
mod lapsing;
mod permission;
mod wishes;

pub(crate) use flight::{Flight, MAX_FLIGHTS, serve};
pub(crate) use wishes::{StoredWish, Wish, Wishes, forgotten, learned, recheck, tend};

use crate::{
    metrics::Metrics,
    names::{is_local, is_public},
};
use book::{Admission, Book};
use parking_lot::Mutex;
use permission::Permission;
use std::{
    borrow::Cow,
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

/// Connections of a listener that wait for names at the same time.
const MAX_WAITING: usize = 1_024;

/// What came of a client's wish for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is a certificate.
    Served,
    /// It is not allowed.
    Denied,
    /// Its network, or all of them together, wish for too many names.
    Limited,
    /// Too many clients wait, or too many names are on their way.
    Busy,
    /// `max_names` are held.
    Full,
    /// It could not be asked about or ordered.
    Failed,
    /// It did not come in time; the order goes on.
    Late,
}

impl Outcome {
    pub(crate) const ALL: [Self; 7] = [
        Self::Served,
        Self::Denied,
        Self::Limited,
        Self::Busy,
        Self::Full,
        Self::Failed,
        Self::Late,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Failed => "failed",
            Self::Late => "late",
        }
    }
}

/// A listener's; goes on through reloads that leave its settings alone.
pub(crate) struct OnDemand {
    settings: tidegate_config::OnDemand,
    permission: Permission,
    book: Mutex<Book>,
    waiting: Semaphore,
    flights: mpsc::Sender<Flight>,
    metrics: Arc<Metrics>,
    /// What the book counts from.
    made: Instant,
}

impl OnDemand {
    /// Reads files of roots.
    pub(crate) fn new(
        settings: &tidegate_config::OnDemand,
        flights: &mpsc::Sender<Flight>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, String> {
        Ok(Self {
            permission: Permission::new(settings)?,
            settings: settings.clone(),
            book: Mutex::new(Book::new()),
            waiting: Semaphore::new(MAX_WAITING),
            flights: flights.clone(),
            metrics: Arc::clone(metrics),
            made: Instant::now(),
        })
    }

    /// Whether it was made for these.
    pub(crate) fn is_for(&self, settings: &tidegate_config::OnDemand) -> bool {
        self.settings == *settings
    }

    /// How long an unused certificate is renewed.
    pub(crate) fn keep(&self) -> Duration {
        self.settings.keep
    }

    /// A client asks for `name` (lower case), which nothing answers for.
    pub(crate) fn demand(self: &Arc<Self>, name: Cow<'_, str>) -> Option<Demand> {
        if !is_public(&name) || is_local(&name) || !self.permission.is_possible(&name) {
            self.metrics.on_demand(Outcome::Denied);
            return None;
        }
        Some(Demand { on_demand: Arc::clone(self), name: name.into_owned() })
    }

    fn now(&self) -> i64 {
        i64::try_from(self.made.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

impl fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A name that a client asked for and that a certificate may be had for.
#[derive(Debug)]
pub struct Demand {
    on_demand: Arc<OnDemand>,
    name: String,
}

impl Demand {
    /// Returns once there is a certificate or it is clear that none comes now: at once for what was
    /// refused lately or is over a bound, after `wait` of the listener's `on_demand` at the latest.
    /// [`crate::ListenerTls::select_held`] then tells what there is.
    ///
    /// May be dropped at any time: the question and the order go on.
    pub async fn settle(self, client: IpAddr) {
        let outcome = self.outcome(client).await;
        self.on_demand.metrics.on_demand(outcome);
        tracing::debug!(name = self.name, %client, outcome = outcome.word(), "a name on demand");
    }

    async fn outcome(&self, client: IpAddr) -> Outcome {
        let on_demand = &self.on_demand;
        let Ok(_place) = on_demand.waiting.try_acquire() else { return Outcome::Busy };
        if !on_demand.book.lock().enter(client) {
            return Outcome::Busy;
        }
        let _seat = Seat { on_demand, client };
        let settings = &on_demand.settings;
        let admission = on_demand.book.lock().admit(&self.name, client, settings, on_demand.now());
        let mut landing = match admission {
            Admission::Refuse(outcome) => return outcome,
            Admission::Join(landing) => landing,
            Admission::Start(landed, landing) => {
                let flight = Flight::new(Arc::clone(on_demand), self.name.clone(), landed);
                // One that is not taken lands by being dropped.
                let _ = on_demand.flights.try_send(flight);
                landing
            }
        };
        match timeout(settings.wait, landing.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.unwrap_or(Outcome::Busy),
            Ok(Err(_)) => Outcome::Busy,
            Err(_) => Outcome::Late,
        }
    }
}

/// A client that waits, until it does no longer for whatever reason.
struct Seat<'a> {
    on_demand: &'a OnDemand,
    client: IpAddr,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.on_demand.book.lock().leave(self.client);
    }
}
