//! The data path's metrics, read off the live counters when Prometheus asks. Labels come from
//! the configuration, never from clients.

use crate::{
    cells::{BOUNDS_US, CLASSES, VersionCells},
    core::Core,
    figures,
    reason::Reason,
    waf::{self, Outcome},
};
use prometheus::{
    core::{Collector, Desc},
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};
use std::sync::{
    Weak,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Collects from a core for as long as it lives.
pub(crate) struct EdgeCollector(pub(crate) Weak<Core>);

impl Collector for EdgeCollector {
    /// Empty: the registry then does not compare descriptions, which are made while collecting.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.upgrade().map_or_else(Vec::new, |core| families(&core))
    }
}

fn families(core: &Core) -> Vec<MetricFamily> {
    let mut all = Vec::new();
    requests(core, &mut all);
    versions(core, &mut all);
    listeners(core, &mut all);
    upstreams(core, &mut all);
    limits(core, &mut all);
    wafs(core, &mut all);
    checks(core, &mut all);
    let dropped = core.observer.access.as_ref().map_or(0, |access| access.dropped());
    all.push(
        Family::counter("tidegate_access_log_dropped_total", "Buffers of access lines lost.")
            .with(&[], dropped)
            .done(),
    );
    let dropped = core.observer.audit.as_ref().map_or(0, |audit| audit.dropped());
    all.push(
        Family::counter("tidegate_waf_audit_dropped_total", "WAF audit records lost.")
            .with(&[], dropped)
            .done(),
    );
    all.retain(|family| !family.get_metric().is_empty());
    all
}

fn requests(core: &Core, all: &mut Vec<MetricFamily>) {
    let mut requests = Family::counter(
        "tidegate_requests_total",
        "Requests finished, by route and status class; route `-` is no route.",
    );
    let mut count = |route: &str, cells: &crate::cells::PerWorker<crate::cells::RouteCells>| {
        for (at, class) in CLASSES.iter().enumerate() {
            let n = cells.iter().map(|cells| cells.class(at)).sum();
            if n > 0 {
                requests.add(&[("route", route), ("class", class)], n);
            }
        }
    };
    count("-", &core.observer.no_route);
    let mut seen = std::collections::BTreeSet::new();
    core.snapshot().routes.each(|route| {
        if seen.insert(route.name.clone()) {
            count(route.name.as_str(), &route.cells);
        }
    });
    all.push(requests.done());

    let mut refusals = Family::counter(
        "tidegate_refusals_total",
        "Requests that did not get an upstream's whole answer, by reason.",
    );
    for (reason, count) in Reason::ALL.iter().zip(core.observer.refusals.iter()) {
        refusals.add(&[("reason", reason.word())], count.load(Relaxed));
    }
    all.push(refusals.done());
}

fn wafs(core: &Core, all: &mut Vec<MetricFamily>) {
    let mut requests = Family::counter(
        "tidegate_waf_requests_total",
        "Requests a WAF policy looked at, by what became of them.",
    );
    let mut matches =
        Family::counter("tidegate_waf_matches_total", "Matches of a rule, passed or not.");
    let mut limits = Family::counter(
        "tidegate_waf_limits_total",
        "Requests that went beyond a limit of a WAF policy, refused or not.",
    );
    for (name, waf) in &core.snapshot().wafs {
        for outcome in Outcome::ALL {
            let labels = [("policy", name.as_str()), ("outcome", outcome.word())];
            requests.add(&labels, waf.counts.outcome(outcome));
        }
        for limit in tidegate_waf::Limit::ALL {
            let labels = [("policy", name.as_str()), ("limit", limit.word())];
            limits.add(&labels, waf.counts.beyond(limit));
        }
        for (rule, count) in waf.counts.rules() {
            matches.add(&[("policy", name.as_str()), ("rule", &rule.to_string())], count);
        }
    }
    all.push(requests.done());
    all.push(matches.done());
    all.push(limits.done());
    let mut held =
        Family::gauge("tidegate_waf_held_bytes", "Memory that WAF policies take for bodies now.");
    held.set(&[], core.held_bodies.used() as f64);
    all.push(held.done());
}

/// What WAF policies do before their rules.
fn checks(core: &Core, all: &mut Vec<MetricFamily>) {
    let mut checks =
        Family::counter("tidegate_waf_checks_total", "Requests a check of a WAF policy decided.");
    let mut entries =
        Family::gauge("tidegate_address_list_ranges", "Ranges of addresses in a list.");
    let mut bytes = Family::gauge("tidegate_address_list_bytes", "Memory of a list.");
    let snapshot = core.snapshot();
    for (name, waf) in &snapshot.wafs {
        for check in waf::Check::ALL {
            let labels = [("policy", name.as_str()), ("check", check.word())];
            checks.add(&labels, waf.counts.checked(check));
        }
    }
    for (name, list) in &snapshot.lists {
        entries.set(&[("list", name.as_str())], list.addresses.len() as f64);
        bytes.set(&[("list", name.as_str())], list.addresses.bytes() as f64);
    }
    let mut lookups =
        Family::counter("tidegate_crawler_lookups_total", "Addresses of crawlers looked up.");
    for lookup in waf::LOOKUPS {
        lookups.add(&[("result", lookup.word())], core.crawlers.lookups(lookup));
    }
    let known = Family::gauge("tidegate_crawler_addresses", "Addresses something is known of.")
        .at(core.crawlers.len() as f64);
    for family in [checks, entries, bytes, lookups, known] {
        all.push(family.done());
    }
}

fn versions(core: &Core, all: &mut Vec<MetricFamily>) {
    let mut requests =
        Family::counter("tidegate_version_requests_total", "Requests answered, by version.");
    let mut failures = Family::counter(
        "tidegate_version_failures_total",
        "Of these, those with a status of 500 or more and those broken off.",
    );
    let mut in_flight =
        Family::gauge("tidegate_requests_in_flight", "Requests in flight, by version.");
    let mut weights = Family::gauge("tidegate_version_weight", "The weight in force.");
    let mut latency = Family::new(
        "tidegate_response_seconds",
        "Time from a request's head to its response's head, by version.",
        MetricType::HISTOGRAM,
    );
    let snapshot = core.snapshot();
    for service in &snapshot.services {
        for version in &service.versions {
            let labels = [("service", service.name.as_str()), ("version", version.name.as_str())];
            let sum = |f: fn(&VersionCells) -> u64| version.cells.iter().map(f).sum::<u64>();
            requests.add(&labels, sum(|cells| cells.requests.load(Relaxed)));
            failures.add(&labels, sum(|cells| cells.failures.load(Relaxed)));
            let open: i64 = version.cells.iter().map(|c| c.in_flight.load(Relaxed)).sum();
            in_flight.set(&labels, open as f64);
            weights.set(&labels, f64::from(version.weight.hundredths()) / 100.0);
            latency.metric(&labels).set_histogram(histogram(&version.cells));
        }
    }
    for family in [requests, failures, in_flight, weights, latency] {
        all.push(family.done());
    }
}

fn histogram(cells: &crate::cells::PerWorker<VersionCells>) -> Histogram {
    let mut cumulative = 0;
    let at = |at: usize| cells.iter().map(|cells| cells.bucket(at)).sum::<u64>();
    let buckets = BOUNDS_US.iter().enumerate().map(|(i, &bound)| {
        cumulative += at(i);
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound as f64 / 1e6);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let buckets: Vec<_> = buckets.collect();
    let mut histogram = Histogram::default();
    histogram.set_sample_count(cumulative + at(BOUNDS_US.len()));
    histogram.set_sample_sum(cells.iter().map(|c| c.sum_us()).sum::<u64>() as f64 / 1e6);
    histogram.set_bucket(buckets);
    histogram
}

fn listeners(core: &Core, all: &mut Vec<MetricFamily>) {
    let mut open = Family::gauge("tidegate_connections", "Client connections open.");
    let mut accepted =
        Family::counter("tidegate_connections_total", "Client connections accepted.");
    let mut refused = Family::counter(
        "tidegate_connections_refused_total",
        "Client connections closed at once because a connection limit was reached.",
    );
    let mut errors = Family::counter("tidegate_accept_errors_total", "Failed accepts.");
    let mut handshakes = Family::counter("tidegate_tls_handshakes_total", "TLS handshakes.");
    for listener in core.listeners() {
        let label = [("listener", listener.name.as_str())];
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        open.set(&label, listener.open.load(Relaxed) as f64);
        accepted.add(&label, read(&listener.accepted));
        refused.add(&label, read(&listener.refused));
        errors.add(&label, read(&listener.accept_errors));
        let name = listener.name.as_str();
        let (done, failed) = (&listener.handshakes.done, &listener.handshakes.failed);
        handshakes.add(&[("listener", name), ("outcome", "done")], read(done));
        handshakes.add(&[("listener", name), ("outcome", "failed")], read(failed));
    }
    for family in [open, accepted, refused, errors, handshakes] {
        all.push(family.done());
    }
}

fn upstreams(core: &Core, all: &mut Vec<MetricFamily>) {
    let mut health = Family::gauge(
        "tidegate_endpoint_healthy",
        "1 = healthy or unchecked, 0 = unhealthy, 0.5 = not checked yet.",
    );
    let mut in_flight =
        Family::gauge("tidegate_endpoint_in_flight", "Requests in flight, by endpoint.");
    let mut idle = Family::gauge("tidegate_endpoint_idle_connections", "Idle connections kept.");
    for endpoint in figures::endpoints(core) {
        let address = endpoint.address.to_string();
        let labels = [("upstream", endpoint.upstream.as_str()), ("endpoint", &address)];
        let value = match endpoint.health {
            "unhealthy" => 0.0,
            "unknown" => 0.5,
            _ => 1.0,
        };
        health.set(&labels, value);
        in_flight.set(&labels, endpoint.in_flight as f64);
        idle.set(&labels, endpoint.idle_connections as f64);
    }
    let mut connects =
        Family::counter("tidegate_upstream_connects_total", "Connections attempted.");
    let mut failures =
        Family::counter("tidegate_upstream_connect_failures_total", "Connections that failed.");
    let mut retries = Family::counter("tidegate_upstream_retries_total", "Attempts repeated.");
    let mut over = Family::counter(
        "tidegate_upstream_retries_over_budget_total",
        "Attempts not repeated because the retry budget was used up.",
    );
    for upstream in core.snapshot().upstreams.values() {
        let label = [("upstream", upstream.name.as_str())];
        let shared = &upstream.shared;
        connects.add(&label, shared.connects.load(Relaxed));
        failures.add(&label, shared.connect_failures.load(Relaxed));
        retries.add(&label, shared.retries.load(Relaxed));
        over.add(&label, shared.retries_over_budget.load(Relaxed));
    }
    for family in [health, in_flight, idle, connects, failures, retries, over] {
        all.push(family.done());
    }
}

fn limits(core: &Core, all: &mut Vec<MetricFamily>) {
    let mut refused =
        Family::counter("tidegate_rate_limited_total", "Requests refused, by rate limit.");
    for limit in core.snapshot().limits.values() {
        refused.add(&[("limit", limit.name.as_str())], limit.refused.load(Relaxed));
    }
    let table = &core.table;
    let live = Family::gauge("tidegate_rate_limit_keys", "Keys whose bucket is not full.")
        .at(table.live() as f64);
    let bytes = Family::gauge("tidegate_rate_limit_table_bytes", "Memory of the table.")
        .at(table.bytes() as f64);
    let evictions = Family::counter(
        "tidegate_rate_limit_evictions_total",
        "Live keys lost because the table was full.",
    )
    .with(&[], table.evictions());
    for family in [refused, live, bytes, evictions] {
        all.push(family.done());
    }
}

/// A metric family under construction.
struct Family {
    family: MetricFamily,
    metrics: Vec<Metric>,
}

impl Family {
    fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.into());
        family.set_help(help.into());
        family.set_field_type(kind);
        Self { family, metrics: Vec::new() }
    }

    fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    fn metric(&mut self, labels: &[(&str, &str)]) -> &mut Metric {
        let pairs = labels.iter().map(|&(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.into());
            pair.set_value(value.into());
            pair
        });
        let mut metric = Metric::default();
        metric.set_label(pairs.collect());
        self.metrics.push(metric);
        self.metrics.last_mut().expect("just pushed")
    }

    fn add(&mut self, labels: &[(&str, &str)], count: u64) {
        let mut counter = Counter::default();
        counter.set_value(count as f64);
        self.metric(labels).set_counter(counter);
    }

    fn set(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        self.metric(labels).set_gauge(gauge);
    }

    fn with(mut self, labels: &[(&str, &str)], count: u64) -> Self {
        self.add(labels, count);
        self
    }

    fn at(mut self, value: f64) -> Self {
        self.set(&[], value);
        self
    }

    fn done(mut self) -> MetricFamily {
        self.family.set_metric(self.metrics);
        self.family
    }
}
