//! Whether who says to be a crawler is it: the name of its address (PTR) lies in a domain of the
//! crawler's operator and leads back to the address.
//!
//! No request waits for the DNS. The first one of an address is let through while a task of the
//! background runtime asks; the answer is kept and holds for those that follow.

mod known;
mod table;
mod verify;

pub(crate) use known::known;
pub(crate) use table::{Identity, LOOKUPS, Lookup};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};
use table::Table;
use tidegate_config::WafCrawler;
use tidegate_dns::Resolver;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

/// Addresses waiting to be looked up; more are not, until their next request.
const QUEUE: usize = 1_024;
/// Lookups under way at a time.
const AT_ONCE: usize = 32;

/// A crawler as its operator documents it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Crawler {
    /// As written, for logs.
    pub(crate) name: String,
    /// What its User-Agent contains, in lower case.
    needle: String,
    pub(crate) domains: Vec<String>,
}

impl Crawler {
    pub(crate) fn new(document: &WafCrawler) -> Self {
        Self {
            name: document.user_agent.clone(),
            needle: document.user_agent.to_ascii_lowercase(),
            domains: document.domains.clone(),
        }
    }

    /// Whether a User-Agent, in lower case, says to be this one.
    pub(crate) fn is_claimed_by(&self, user_agent: &[u8]) -> bool {
        memchr::memmem::find(user_agent, self.needle.as_bytes()).is_some()
    }
}

/// An address that says to be a crawler.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Claim {
    address: IpAddr,
    crawler: Arc<Crawler>,
}

/// What is known of addresses that say to be crawlers.
pub(crate) struct Crawlers {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Claim>,
}

struct Shared {
    resolver: ArcSwap<Resolver>,
    table: Mutex<Table>,
    lookups: [AtomicU64; LOOKUPS.len()],
}

impl Crawlers {
    /// Nothing is known. Lookups run on `background` until this is dropped.
    pub(crate) fn new(background: &Handle, servers: &[SocketAddr]) -> Self {
        let (queue, claims) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            resolver: ArcSwap::from_pointee(Resolver::new(servers)),
            table: Mutex::new(Table::new()),
            lookups: Default::default(),
        });
        background.spawn(look_up(Arc::clone(&shared), claims));
        Self { shared, queue }
    }

    /// Asks these servers from now on; those of the system if there is none.
    pub(crate) fn ask(&self, servers: &[SocketAddr]) {
        self.shared.resolver.store(Arc::new(Resolver::new(servers)));
    }

    /// What is known; what is not is looked up for the next request.
    pub(crate) fn identity(&self, address: IpAddr, crawler: &Arc<Crawler>) -> Identity {
        let claim = Claim { address, crawler: Arc::clone(crawler) };
        let mut table = self.shared.table.lock();
        let (identity, is_due) = table.look(&claim, Instant::now());
        if is_due {
            match self.queue.try_send(claim.clone()) {
                Ok(()) => table.asked(claim),
                Err(_) => self.shared.count(Lookup::Dropped),
            }
        }
        identity
    }

    /// How many addresses something is known of.
    pub(crate) fn len(&self) -> usize {
        self.shared.table.lock().len()
    }

    pub(crate) fn lookups(&self, lookup: Lookup) -> u64 {
        self.shared.lookups[lookup as usize].load(Relaxed)
    }
}

impl Shared {
    fn count(&self, lookup: Lookup) {
        self.lookups[lookup as usize].fetch_add(1, Relaxed);
    }
}

/// Looks up claims until there is nobody to make any.
async fn look_up(shared: Arc<Shared>, mut claims: mpsc::Receiver<Claim>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    // Dropped, and with it what is under way, when this ends.
    let mut under_way = JoinSet::new();
    while let Some(claim) = claims.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while under_way.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        under_way.spawn(async move {
            let resolver = shared.resolver.load_full();
            let lookup = verify::verify(&resolver, claim.address, &claim.crawler).await;
            tracing::debug!(
                client = %claim.address, crawler = claim.crawler.name, result = lookup.word(),
                "crawler looked up"
            );
            shared.count(lookup);
            shared.table.lock().settle(claim, lookup, Instant::now());
            drop(place);
        });
    }
}
