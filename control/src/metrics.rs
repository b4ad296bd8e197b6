//! What the control plane counts. Labels come from the configuration and the API's own routes,
//! never from clients.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// The counters and gauges of one control plane.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// `tidegate_reloads_total{outcome}`: `changed`, `unchanged` or `failed`.
    pub(crate) reloads: IntCounterVec,
    /// `tidegate_config_revision`
    pub(crate) revision: IntGauge,
    /// `tidegate_config_last_reload_success`: 1 or 0.
    pub(crate) last_reload_success: IntGauge,
    /// `tidegate_runtime_changes_total{kind}`: `weights` or `endpoint`.
    pub(crate) runtime_changes: IntCounterVec,
    /// `tidegate_control_unwritten`: changes in force that are not on disk yet.
    pub(crate) unwritten: IntGauge,
    /// `tidegate_store_writable`: 1, or 0 while the store takes no change.
    pub(crate) store_writable: IntGauge,
    /// `tidegate_control_requests_total{route,code}`
    pub(crate) requests: IntCounterVec,
    /// `tidegate_control_connections`
    pub(crate) connections: IntGauge,
}

impl Metrics {
    /// Registers all of them; fails if the registry already has one.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name, help, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name, help| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let metrics = Self {
            reloads: counters(
                "tidegate_reloads_total",
                "Reloads of the document by outcome: changed, unchanged or failed.",
                &["outcome"],
            )?,
            revision: gauge("tidegate_config_revision", "The revision of the document in force.")?,
            last_reload_success: gauge(
                "tidegate_config_last_reload_success",
                "1 if the last reload succeeded, 0 if the document on disk is refused.",
            )?,
            runtime_changes: counters(
                "tidegate_runtime_changes_total",
                "Changes made through the API by kind: weights or endpoint.",
                &["kind"],
            )?,
            unwritten: gauge(
                "tidegate_control_unwritten",
                "Changes in force that the store has not accepted yet.",
            )?,
            store_writable: gauge(
                "tidegate_store_writable",
                "1, or 0 while the last write to the store failed: nothing new is kept.",
            )?,
            requests: counters(
                "tidegate_control_requests_total",
                "Requests to the control API by route and status code.",
                &["route", "code"],
            )?,
            connections: gauge(
                "tidegate_control_connections",
                "Open connections of the control API and the probes.",
            )?,
        };
        for outcome in ["changed", "unchanged", "failed"] {
            metrics.reloads.with_label_values(&[outcome]);
        }
        Ok(metrics)
    }
}
