//! What requests read: a compiled document and the runtime state, immutable and shared. A
//! request takes one snapshot and keeps it to its end.

use crate::{
    cells::{PerWorker, RouteCells, VersionCells},
    h1,
    limit::Limit,
    route::{Matchers, RequestKey, Table},
    upstream::Upstream,
    waf::{Geo, List, Waf},
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::{collections::BTreeMap, sync::Arc};
use tidegate_certs::ListenerTls;
use tidegate_config::{Config, HeaderOps, Name, Sticky, Weight};
use tidegate_release::RuntimeState;

pub(crate) struct Snapshot {
    pub(crate) config: Arc<Config>,
    pub(crate) state: Arc<RuntimeState>,
    pub(crate) routes: Arc<Table<Route>>,
    /// Routes refer to services by position, so that a weight change replaces one of these and
    /// no route.
    pub(crate) services: Vec<Arc<Service>>,
    pub(crate) upstreams: BTreeMap<Name, Arc<Upstream>>,
    pub(crate) limits: BTreeMap<Name, Arc<Limit>>,
    pub(crate) lists: BTreeMap<Name, Arc<List>>,
    pub(crate) geo: Arc<Geo>,
    pub(crate) wafs: BTreeMap<Name, Arc<Waf>>,
    pub(crate) listeners: BTreeMap<Name, Arc<Listening>>,
}

impl Snapshot {
    /// Nothing is served: before the first configuration. Only `like`'s process-wide settings
    /// are kept.
    pub(crate) fn empty(like: &Config) -> Self {
        let mut config = like.clone();
        config.routes.clear();
        config.services.clear();
        config.upstreams.clear();
        config.rate_limits.clear();
        config.address_lists.clear();
        config.waf.clear();
        config.listeners.clear();
        Self {
            config: Arc::new(config),
            state: Arc::default(),
            routes: Arc::default(),
            services: Vec::new(),
            upstreams: BTreeMap::new(),
            limits: BTreeMap::new(),
            lists: BTreeMap::new(),
            geo: Arc::default(),
            wafs: BTreeMap::new(),
            listeners: BTreeMap::new(),
        }
    }
}

/// How a listener treats its connections and requests.
pub(crate) struct Listening {
    pub(crate) name: Name,
    pub(crate) document: tidegate_config::Listener,
    pub(crate) tls: Option<Arc<ListenerTls>>,
    pub(crate) h1: Arc<h1::Limits>,
}

pub(crate) struct Route {
    pub(crate) name: Name,
    pub(crate) listeners: Vec<Name>,
    pub(crate) methods: Vec<Method>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) action: RouteAction,
    pub(crate) limits: Vec<Arc<Limit>>,
    pub(crate) waf: Option<Arc<Waf>>,
    pub(crate) request_headers: HeaderOps,
    pub(crate) response_headers: HeaderOps,
    pub(crate) body_limit: Option<u64>,
    pub(crate) retry_unsafe: bool,
    pub(crate) cells: Arc<PerWorker<RouteCells>>,
}

pub(crate) enum RouteAction {
    /// A position in [`Snapshot::services`].
    Service(usize),
    Redirect {
        to: String,
        status: StatusCode,
        keep_path: bool,
    },
    Respond {
        status: StatusCode,
        body: bytes::Bytes,
        content_type: HeaderValue,
    },
}

impl Matchers for Route {
    fn fits(&self, request: &RequestKey<'_>) -> bool {
        (self.listeners.is_empty() || self.listeners.contains(request.listener))
            && (self.methods.is_empty() || self.methods.contains(request.method))
            && self
                .headers
                .iter()
                .all(|(name, value)| request.headers.get_all(name).iter().any(|have| have == value))
    }

    fn specificity(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len()
    }
}

pub(crate) struct Service {
    pub(crate) name: Name,
    pub(crate) sticky: Option<Sticky>,
    pub(crate) versions: Vec<Version>,
    /// The sum of all weights, in hundredths.
    pub(crate) total: u32,
}

pub(crate) struct Version {
    pub(crate) name: Name,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) weight: Weight,
    pub(crate) cells: Arc<PerWorker<VersionCells>>,
}

impl Service {
    /// The version (its position) of a request that is its own unit: `random` falls into the
    /// versions' shares.
    pub(crate) fn of_random(&self, random: u32) -> Option<usize> {
        // The high half of the product is uniform over 0..total without a division.
        let mut point = ((u64::from(random) * u64::from(self.total)) >> 32) as u32;
        self.versions.iter().position(|version| {
            let weight = version.weight.hundredths();
            let here = point < weight;
            point = point.wrapping_sub(weight);
            here
        })
    }
}
