//! From a configuration and the runtime state to a snapshot. What did not change is taken over
//! from the old one, with everything that lives in it: health, pools, buckets, counters.

use crate::{
    cells::{PerWorker, RouteCells, VersionCells},
    h1,
    limit::{self, Limit},
    route::Table,
    snapshot::{Listening, Route, RouteAction, Service, Snapshot, Version},
    upstream::{Endpoint, Shared, TlsFiles, Upstream},
    waf::{self, Geo, Waf},
};
use http::{HeaderName, HeaderValue, StatusCode};
use rustls::client::ResolvesClientCert;
use std::{collections::BTreeMap, sync::Arc};
use tidegate_certs::ListenerTls;
use tidegate_config::{Action, Config, Name};
use tidegate_release::RuntimeState;
use tidegate_waf::Interner;

/// What compiling needs beside the configuration.
pub(crate) struct Context<'a> {
    pub(crate) old: &'a Snapshot,
    pub(crate) workers: usize,
    pub(crate) table: &'a Arc<limit::Table>,
    pub(crate) interner: &'a Interner,
    /// Whether there is a WAF audit log.
    pub(crate) audits: bool,
    pub(crate) tls: &'a BTreeMap<Name, Arc<ListenerTls>>,
    /// What upstreams may be shown.
    pub(crate) identity: &'a Arc<dyn ResolvesClientCert>,
}

/// Compiles everything, or says in fragments what is wrong.
pub(crate) fn compile(
    config: Arc<Config>,
    state: Arc<RuntimeState>,
    context: &Context<'_>,
) -> Result<Snapshot, Vec<String>> {
    let mut faults = Vec::new();
    let upstreams = upstreams(&config, context, &mut faults);
    let limits = limits(&config, context);
    let lists = waf::compile_lists(&config, &context.old.lists, &mut faults);
    let geo = Geo::load(&config.geo, &context.old.geo).unwrap_or_else(|more| {
        faults.extend(more);
        Arc::clone(&context.old.geo)
    });
    let wafs = wafs(&config, context, &waf::Shared { lists: &lists, geo: &geo }, &mut faults);
    let services: Vec<_> = if faults.is_empty() {
        let compiled = config.services.iter();
        compiled
            .map(|(name, service)| {
                let old = context.old.services.iter().find(|old| old.name == *name);
                Arc::new(self::service(name, service, &state, &upstreams, old, context.workers))
            })
            .collect()
    } else {
        Vec::new()
    };
    let policies = Policies { limits: &limits, wafs: &wafs };
    let routes =
        if faults.is_empty() { routes(&config, &policies, context, &mut faults) } else { None };
    let listeners = listeners(&config, context);
    let (Some(routes), true) = (routes, faults.is_empty()) else { return Err(faults) };
    Ok(Snapshot { config, state, routes, services, upstreams, limits, lists, geo, wafs, listeners })
}

/// The same snapshot under another runtime state: only services whose weights differ are built
/// anew.
pub(crate) fn with_state(old: &Snapshot, state: Arc<RuntimeState>, workers: usize) -> Snapshot {
    let services = old.services.iter().map(|service| {
        let document = &old.config.services[&service.name];
        if state.weights.get(&service.name) == old.state.weights.get(&service.name) {
            return Arc::clone(service);
        }
        let upstreams = &old.upstreams;
        Arc::new(self::service(&service.name, document, &state, upstreams, Some(service), workers))
    });
    Snapshot {
        services: services.collect(),
        state,
        config: Arc::clone(&old.config),
        routes: Arc::clone(&old.routes),
        upstreams: old.upstreams.clone(),
        limits: old.limits.clone(),
        lists: old.lists.clone(),
        geo: Arc::clone(&old.geo),
        wafs: old.wafs.clone(),
        listeners: old.listeners.clone(),
    }
}

fn upstreams(
    config: &Config,
    context: &Context<'_>,
    faults: &mut Vec<String>,
) -> BTreeMap<Name, Arc<Upstream>> {
    let mut compiled = BTreeMap::new();
    for (name, document) in &config.upstreams {
        let old = context.old.upstreams.get(name);
        let files = match TlsFiles::read(document) {
            Ok(files) => files,
            Err(error) => {
                faults.push(format!("upstream `{name}`: {error}"));
                continue;
            }
        };
        if let Some(old) = old
            && old.document == *document
            && old.files == files
        {
            compiled.insert(name.clone(), Arc::clone(old));
            continue;
        }
        let endpoints = document.endpoints.iter().map(|&address| {
            let known = old.and_then(|old| old.endpoint(address));
            let fresh = || {
                let checked = document.health.is_some();
                Arc::new(Endpoint::new(address, context.workers, checked))
            };
            match (known, old) {
                // Connections made under another policy must not serve under this one.
                (Some(known), Some(old))
                    if old.document.tls != document.tls
                        || old.files != files
                        || old.document.protocol != document.protocol =>
                {
                    let fresh = fresh();
                    fresh.set_health(known.health());
                    fresh
                }
                (Some(known), _) => Arc::clone(known),
                (None, _) => fresh(),
            }
        });
        let endpoints = endpoints.collect();
        let shared = match old {
            Some(old) => Arc::clone(&old.shared),
            None => Arc::new(Shared::new(context.workers)),
        };
        match Upstream::new(
            name.clone(),
            document.clone(),
            files,
            endpoints,
            shared,
            context.identity,
        ) {
            Ok(upstream) => drop(compiled.insert(name.clone(), Arc::new(upstream))),
            Err(error) => faults.push(format!("upstream `{name}`: {error}")),
        }
    }
    compiled
}

fn limits(config: &Config, context: &Context<'_>) -> BTreeMap<Name, Arc<Limit>> {
    let compiled = config.rate_limits.iter().map(|(name, document)| {
        let limit = match context.old.limits.get(name) {
            Some(old) if old.document == *document => Arc::clone(old),
            _ => Arc::new(Limit::new(name.clone(), document.clone(), context.table)),
        };
        (name.clone(), limit)
    });
    compiled.collect()
}

fn wafs(
    config: &Config,
    context: &Context<'_>,
    shared: &waf::Shared<'_>,
    faults: &mut Vec<String>,
) -> BTreeMap<Name, Arc<Waf>> {
    let mut rulesets =
        waf::Rulesets::new(context.interner, context.old.wafs.values(), context.audits);
    let mut compiled = BTreeMap::new();
    for (name, document) in &config.waf {
        match waf::compile(name, document, context.old.wafs.get(name), &mut rulesets, shared) {
            Ok(waf) => drop(compiled.insert(name.clone(), waf)),
            Err(more) => faults.extend(more),
        }
    }
    compiled
}

/// What routes refer to by name.
struct Policies<'a> {
    limits: &'a BTreeMap<Name, Arc<Limit>>,
    wafs: &'a BTreeMap<Name, Arc<Waf>>,
}

fn service(
    name: &Name,
    document: &tidegate_config::Service,
    state: &RuntimeState,
    upstreams: &BTreeMap<Name, Arc<Upstream>>,
    old: Option<&Arc<Service>>,
    workers: usize,
) -> Service {
    let set = state.weights.get(name);
    let versions: Vec<_> = document
        .versions
        .iter()
        .map(|(version, document)| {
            let known = old.and_then(|old| old.versions.iter().find(|v| v.name == *version));
            Version {
                name: version.clone(),
                upstream: Arc::clone(&upstreams[&document.upstream]),
                weight: match set {
                    Some(set) => set.get(version).copied().unwrap_or_default(),
                    None => document.weight,
                },
                cells: match known {
                    Some(known) => Arc::clone(&known.cells),
                    None => Arc::new(PerWorker::<VersionCells>::new(workers)),
                },
            }
        })
        .collect();
    let total = versions.iter().map(|v| v.weight.hundredths()).sum();
    if total == 0 && set.is_some() {
        // What the API set names no version of this document any more.
        let document_only = RuntimeState::default();
        return service(name, document, &document_only, upstreams, old, workers);
    }
    Service { name: name.clone(), sticky: document.sticky.clone(), versions, total }
}

fn routes(
    config: &Config,
    policies: &Policies<'_>,
    context: &Context<'_>,
    faults: &mut Vec<String>,
) -> Option<Arc<Table<Route>>> {
    let old = &context.old;
    let same_services = || config.services.keys().eq(old.config.services.keys());
    let same_policies = || same(policies.limits, &old.limits) && same(policies.wafs, &old.wafs);
    if config.routes == old.config.routes && same_services() && same_policies() {
        return Some(Arc::clone(&old.routes));
    }
    let positions: BTreeMap<_, _> = config.services.keys().zip(0..).collect();
    let mut cells: BTreeMap<Name, Arc<PerWorker<RouteCells>>> = BTreeMap::new();
    old.routes.each(|route| {
        cells.insert(route.name.clone(), Arc::clone(&route.cells));
    });
    let mut compiled = Vec::with_capacity(config.routes.len());
    for (name, document) in &config.routes {
        let cells = cells.remove(name).unwrap_or_else(|| Arc::new(PerWorker::new(context.workers)));
        match route(name, document, &positions, policies, cells) {
            Ok(route) => compiled.push((document, Arc::new(route))),
            Err(fault) => faults.push(format!("route `{name}`: {fault}")),
        }
    }
    match Table::build(compiled) {
        Ok(table) => Some(Arc::new(table)),
        Err(error) => {
            faults.push(format!("routes: {error}"));
            None
        }
    }
}

/// Whether both hold the very same values.
fn same<T>(new: &BTreeMap<Name, Arc<T>>, old: &BTreeMap<Name, Arc<T>>) -> bool {
    let mut pairs = new.iter().zip(old);
    new.len() == old.len()
        && pairs.all(|((name, new), (n, old))| name == n && Arc::ptr_eq(new, old))
}

fn route(
    name: &Name,
    document: &tidegate_config::Route,
    positions: &BTreeMap<&Name, usize>,
    policies: &Policies<'_>,
    cells: Arc<PerWorker<RouteCells>>,
) -> Result<Route, http::Error> {
    let status = |code: u16| StatusCode::from_u16(code);
    let action = match &document.action {
        Action::Service(service) => RouteAction::Service(positions[service]),
        Action::Redirect { to, status: code, keep_path } => {
            RouteAction::Redirect { to: to.clone(), status: status(*code)?, keep_path: *keep_path }
        }
        Action::Respond { status: code, body, content_type } => RouteAction::Respond {
            status: status(*code)?,
            body: body.clone().into(),
            content_type: HeaderValue::try_from(content_type)?,
        },
    };
    let headers = document
        .headers
        .iter()
        .map(|(name, value)| Ok((HeaderName::try_from(name)?, HeaderValue::try_from(value)?)));
    Ok(Route {
        name: name.clone(),
        listeners: document.listeners.clone(),
        methods: document.methods.clone(),
        headers: headers.collect::<Result<_, http::Error>>()?,
        action,
        limits: document
            .rate_limits
            .iter()
            .map(|limit| Arc::clone(&policies.limits[limit]))
            .collect(),
        waf: document.waf.as_ref().map(|waf| Arc::clone(&policies.wafs[waf])),
        request_headers: document.request_headers.clone(),
        response_headers: document.response_headers.clone(),
        body_limit: document.body_limit.map(|size| size.0),
        retry_unsafe: document.retry_unsafe,
        cells,
    })
}

fn listeners(config: &Config, context: &Context<'_>) -> BTreeMap<Name, Arc<Listening>> {
    let compiled = config.listeners.iter().map(|(name, document)| {
        let limits = &document.limits;
        let h1 = h1::Limits {
            header_bytes: limits.header_bytes.0 as usize,
            headers: limits.headers.get(),
            uri_bytes: limits.uri_bytes.0 as usize,
            header_timeout: limits.header_timeout,
            body_timeout: limits.body_timeout,
            keepalive_timeout: limits.keepalive_timeout,
        };
        let listening = Listening {
            name: name.clone(),
            document: document.clone(),
            tls: context.tls.get(name).cloned(),
            h1: Arc::new(h1),
        };
        (name.clone(), Arc::new(listening))
    });
    compiled.collect()
}
