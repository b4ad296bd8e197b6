//! Metrics of certificates; labels come from the configuration.

use crate::on_demand::Outcome;
use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(crate) struct Metrics {
    /// `tidegate_certificate_expiry_seconds{name,source}`
    expiry: IntGaugeVec,
    shown: Mutex<BTreeSet<(String, &'static str)>>,
    /// `tidegate_certificate_orders_total{issuer,outcome}`
    orders: IntCounterVec,
    /// `tidegate_certificate_errors_total{kind}`
    errors: IntCounterVec,
    /// `tidegate_ocsp_answers_total{outcome}`
    stapled: IntCounterVec,
    /// `tidegate_tls_ticket_keys{source}`
    ticket_keys: IntGaugeVec,
    /// `tidegate_revocation_list_expiry_seconds{client_auth}`
    lists: IntGaugeVec,
    /// `tidegate_on_demand_total{outcome}`
    on_demand: IntCounterVec,
    /// `tidegate_on_demand_certificates`
    demanded: IntGauge,
    /// `tidegate_on_demand_expiry_seconds`
    demanded_expiry: IntGauge,
}

/// What came of asking an OCSP responder.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stapled {
    /// It is good, and is stapled.
    Good,
    Revoked,
    /// No answer, or none that can be used.
    Failed,
}

/// What kind of trouble a count stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// A certificate file that changed cannot be used.
    File,
    /// An attempt to obtain a certificate failed at every issuer.
    Order,
    /// The store failed, or holds something broken.
    Store,
    /// The internal CA failed.
    Internal,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            expiry: IntGaugeVec::new(
                Opts::new(
                    "tidegate_certificate_expiry_seconds",
                    "When the certificate for a name ends, in seconds since 1970",
                ),
                &["name", "source"],
            )?,
            shown: Mutex::default(),
            orders: IntCounterVec::new(
                Opts::new(
                    "tidegate_certificate_orders_total",
                    "Orders placed with a CA, by outcome",
                ),
                &["issuer", "outcome"],
            )?,
            errors: IntCounterVec::new(
                Opts::new(
                    "tidegate_certificate_errors_total",
                    "Troubles with certificates, by kind",
                ),
                &["kind"],
            )?,
            stapled: IntCounterVec::new(
                Opts::new(
                    "tidegate_ocsp_answers_total",
                    "Questions to OCSP responders, by what came of them",
                ),
                &["outcome"],
            )?,
            lists: IntGaugeVec::new(
                Opts::new(
                    "tidegate_revocation_list_expiry_seconds",
                    "When the first of the revocation lists ends, in seconds since 1970",
                ),
                &["client_auth"],
            )?,
            ticket_keys: IntGaugeVec::new(
                Opts::new(
                    "tidegate_tls_ticket_keys",
                    "Secrets that session tickets are made with, by where they come from",
                ),
                &["source"],
            )?,
            on_demand: IntCounterVec::new(
                Opts::new(
                    "tidegate_on_demand_total",
                    "Handshakes for names without a certificate on listeners that have some on \
                     demand, by what came of them",
                ),
                &["outcome"],
            )?,
            demanded: IntGauge::new(
                "tidegate_on_demand_certificates",
                "Certificates that are had on demand",
            )?,
            demanded_expiry: IntGauge::new(
                "tidegate_on_demand_expiry_seconds",
                "When the first of the certificates had on demand ends, in seconds since 1970; 0 \
                 without any",
            )?,
        };
        registry.register(Box::new(metrics.expiry.clone()))?;
        registry.register(Box::new(metrics.orders.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.stapled.clone()))?;
        registry.register(Box::new(metrics.ticket_keys.clone()))?;
        registry.register(Box::new(metrics.lists.clone()))?;
        registry.register(Box::new(metrics.on_demand.clone()))?;
        registry.register(Box::new(metrics.demanded.clone()))?;
        registry.register(Box::new(metrics.demanded_expiry.clone()))?;
        for outcome in Outcome::ALL {
            metrics.on_demand.with_label_values(&[outcome.word()]);
        }
        for outcome in [Stapled::Good, Stapled::Revoked, Stapled::Failed] {
            metrics.stapled.with_label_values(&[outcome.word()]);
        }
        for kind in [Trouble::File, Trouble::Order, Trouble::Store, Trouble::Internal] {
            metrics.errors.with_label_values(&[kind.word()]);
        }
        Ok(metrics)
    }

    /// Shows exactly these certificates: name and source, end in unix seconds.
    pub(crate) fn show(&self, held: BTreeMap<(String, &'static str), i64>) {
        let mut shown = self.shown.lock();
        for (name, source) in shown.iter().filter(|labels| !held.contains_key(*labels)) {
            // An error means that it is gone already.
            let _ = self.expiry.remove_label_values(&[name.as_str(), source]);
        }
        for ((name, source), ends) in &held {
            self.expiry.with_label_values(&[name.as_str(), source]).set(*ends);
        }
        *shown = held.into_keys().collect();
    }

    /// Shows exactly these revocation lists: by whom they are asked, and when the first of them
    /// ends, in unix seconds.
    pub(crate) fn show_lists(&self, ends: impl Iterator<Item = (String, i64)>) {
        self.lists.reset();
        ends.for_each(|(name, end)| self.lists.with_label_values(&[name]).set(end));
    }

    /// Secrets of session tickets: those from the store, and this process's own.
    pub(crate) fn show_ticket_keys(&self, (shared, local): (usize, usize)) {
        for (source, count) in [("shared", shared), ("local", local)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.ticket_keys.with_label_values(&[source]).set(count);
        }
    }

    /// Certificates had on demand, and when the first ends: their names are no labels, as clients
    /// choose them.
    pub(crate) fn show_on_demand(&self, count: i64, first: Option<i64>) {
        self.demanded.set(count);
        self.demanded_expiry.set(first.unwrap_or(0));
    }

    pub(crate) fn on_demand(&self, outcome: Outcome) {
        self.on_demand.with_label_values(&[outcome.word()]).inc();
    }

    pub(crate) fn ordered(&self, issuer: &str, outcome: &'static str) {
        self.orders.with_label_values(&[issuer, outcome]).inc();
    }

    pub(crate) fn trouble(&self, kind: Trouble) {
        self.errors.with_label_values(&[kind.word()]).inc();
    }
}

impl Metrics {
    pub(crate) fn stapled(&self, outcome: Stapled) {
        self.stapled.with_label_values(&[outcome.word()]).inc();
    }
}

impl Stapled {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Failed => "failed",
        }
    }
}

impl Trouble {
    fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Order => "order",
            Self::Store => "store",
            Self::Internal => "internal",
        }
    }
}
