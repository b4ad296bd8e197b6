//! One request through the five phases.

mod changes;
mod clock;
mod evaluate;
mod filter;
mod request;
mod request_body;
mod response;
mod run;
mod sanitise;
mod store;
mod texts;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use crate::{
    compile::{Exclusion, RuleBits},
    policy::{Policy, Prefiltering},
    report::{Limit, Match, Scores, Verdict},
    seclang::{Allow, Bodies, Collection, Sanitise, Switch},
};
use store::{Store, Value};
use texts::Texts;

/// What is known before the request: the ends of the connection, an id and the time.
#[derive(Clone, Debug)]
pub struct Connection<'a> {
    /// The client's address (`REMOTE_ADDR`).
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
    /// The address the client connected to.
    pub server: IpAddr,
    /// The port the client connected to.
    pub server_port: u16,
    /// The request's id (`UNIQUE_ID`).
    pub unique_id: &'a [u8],
    /// Seconds since 1970, UTC.
    pub time: u64,
    /// The country the client is in (ISO 3166, two capital letters), if somebody knows: what
    /// `@geoLookup` finds.
    pub country: Option<[u8; 2]>,
}

impl Default for Connection<'_> {
    fn default() -> Self {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            client: local,
            client_port: 0,
            server: local,
            server_port: 0,
            unique_id: b"",
            time: 0,
            country: None,
        }
    }
}

/// A request and its response, evaluated by a [`Policy`].
///
/// The calls come in the order of the phases: [`request_line`](Self::request_line),
/// [`request_header`](Self::request_header)s, [`request_headers`](Self::request_headers) (phase
/// 1), [`request_body`](Self::request_body) (2), [`response_line`](Self::response_line),
/// [`response_header`](Self::response_header)s, [`response_headers`](Self::response_headers) (3),
/// [`response_body`](Self::response_body) (4), [`log`](Self::log) (5). A phase may be left out;
/// the first verdict that does not pass stands.
#[derive(Debug)]
pub struct Transaction<'p> {
    policy: &'p Policy,
    texts: Texts,
    store: Store,
    filters: filter::Filters,
    filtering: bool,
    checking: bool,
    /// The phase that is being evaluated and the position in its plan.
    next: Option<(usize, usize)>,
    removed: Vec<u64>,
    removed_targets: Vec<(RuleBits, Arc<[Exclusion]>)>,
    engine: Switch,
    request_bodies: bool,
    response_bodies: bool,
    response_is_text: bool,
    processor: Option<Bodies>,
    content_type: Vec<u8>,
    /// How many there are.
    content_types: usize,
    /// How many cookies the head has.
    cookies: usize,
    /// Whether `Content-Encoding` says that the body is not the content.
    encoded: bool,
    force_body: bool,
    audit: bool,
    argument_bytes: usize,
    country: Option<[u8; 2]>,
    allowed: Option<Allow>,
    /// In detect mode: what a rule would have allowed, and in which phase.
    would_allow: Option<(Allow, usize)>,
    highest_severity: Option<u8>,
    sanitise: Vec<Sanitise>,
    work: u64,
    over: Option<Limit>,
    limits_hit: Vec<Limit>,
    verdict: Verdict,
    would: Verdict,
    matches: Vec<Match>,
    missed: Vec<u64>,
    /// Kept to be filled again.
    values: Vec<Value>,
    macro_values: Vec<Value>,
}

impl<'p> Transaction<'p> {
    /// Begins a transaction.
    #[must_use]
    pub fn new(policy: &'p Policy, connection: &Connection<'_>) -> Self {
        let rules = &policy.rules;
        let mut transaction = Self {
            policy,
            texts: Texts::new(rules.prefilter.words()),
            store: Store::new(rules.names.len()),
            filters: filter::Filters::new(rules),
            filtering: policy.options.prefiltering != Prefiltering::Off,
            checking: policy.options.prefiltering == Prefiltering::Check,
            next: None,
            removed: vec![0; rules.rules.len().div_ceil(64)],
            removed_targets: Vec::new(),
            engine: Switch::On,
            request_bodies: true,
            response_bodies: policy.options.response_bodies,
            response_is_text: false,
            processor: None,
            content_type: Vec::new(),
            cookies: 0,
            content_types: 0,
            encoded: false,
            force_body: false,
            audit: true,
            argument_bytes: 0,
            country: connection.country,
            allowed: None,
            would_allow: None,
            highest_severity: None,
            sanitise: Vec::new(),
            work: 0,
            over: None,
            limits_hit: Vec::new(),
            verdict: Verdict::Pass,
            would: Verdict::Pass,
            matches: Vec::new(),
            missed: Vec::new(),
            values: Vec::new(),
            macro_values: Vec::new(),
        };
        for (slot, value) in &policy.presets {
            let value = transaction.texts.push(value);
            transaction.store.set_slot(*slot, Some(value));
        }
        transaction.connection(connection);
        transaction
    }

    fn connection(&mut self, connection: &Connection<'_>) {
        self.set(Collection::RemoteAddr, connection.client.to_string().as_bytes());
        self.set(Collection::RemoteHost, connection.client.to_string().as_bytes());
        self.set(Collection::RemotePort, connection.client_port.to_string().as_bytes());
        self.set(Collection::ServerAddr, connection.server.to_string().as_bytes());
        self.set(Collection::ServerPort, connection.server_port.to_string().as_bytes());
        self.set(Collection::UniqueId, connection.unique_id);
        self.set(Collection::TimeEpoch, connection.time.to_string().as_bytes());
        self.set(Collection::Duration, b"0");
        if self.policy.rules.names.ask_clock() {
            self.clock(connection.time);
        }
        let policy = self.policy;
        self.set(Collection::Webappid, &policy.rules.web_app_id);
    }

    fn set(&mut self, collection: Collection, value: &[u8]) {
        self.store.set(&mut self.texts, collection, value);
    }

    /// The path of the request as the host's routes match it: what the policy's exclusions by
    /// path are about. To be told before [`request_headers`](Self::request_headers).
    pub fn route_path(&mut self, path: &str) {
        self.exclude(Some(path));
    }

    /// Applies the policy's exclusions for a path, or those for all.
    fn exclude(&mut self, path: Option<&str>) {
        let policy = self.policy;
        for excluded in &policy.exclusions {
            let applies = match (&excluded.path, path) {
                (Some(test), Some(path)) => test.fits(path),
                (test, path) => test.is_none() && path.is_none(),
            };
            if !applies {
                continue;
            }
            match &excluded.targets {
                Some(targets) => {
                    self.removed_targets.push((excluded.rules.clone(), Arc::clone(targets)))
                }
                None => {
                    for (removed, word) in self.removed.iter_mut().zip(excluded.rules.words()) {
                        *removed |= word;
                    }
                }
            }
        }
    }

    /// The end of the request's head, and phase 1.
    pub fn request_headers(&mut self) -> Verdict {
        self.run(0)
    }

    /// Phase 5: rules that sum up. Nothing is stopped any more.
    pub fn log(&mut self) {
        self.run(4);
    }

    /// The rules that matched and are to be logged, in the order they did.
    #[must_use]
    pub fn matches(&self) -> &[Match] {
        &self.matches
    }

    /// The verdict so far.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// In detect mode: the verdict that block mode would have reached first.
    #[must_use]
    pub const fn would_be(&self) -> &Verdict {
        &self.would
    }

    /// The budgets that were used up.
    #[must_use]
    pub fn limits_hit(&self) -> &[Limit] {
        &self.limits_hit
    }

    /// Whether the audit log is to have this transaction (`ctl:auditEngine`).
    #[must_use]
    pub const fn is_audited(&self) -> bool {
        self.audit
    }

    /// Bytes looked at and matches made so far: what [`Limits::work`](crate::Limits::work) counts.
    #[must_use]
    pub const fn work(&self) -> u64 {
        self.work + self.texts.work
    }

    /// Bytes of memory that this request makes the transaction take: the values that it is taken
    /// apart into, what transformations made of them, and what is known of both. What depends on
    /// the rules alone is apart, and so are the [matches](Self::matches), a few KiB each.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let values = self.values.capacity() + self.macro_values.capacity();
        self.texts.memory() + self.store.memory() + values * size_of::<Value>()
    }

    /// Lets go of what transformations made of values, mostly several times the request itself. A
    /// rule that asks for it again has it made again, and that is work again: to be called
    /// between phases, when the next one has to be waited for.
    pub fn rest(&mut self) {
        self.store.move_to(&mut self.texts);
        self.values = Vec::new();
        self.macro_values = Vec::new();
    }

    /// The anomaly scores so far.
    #[must_use]
    pub fn scores(&self) -> Scores {
        let score = |name| std::str::from_utf8(self.variable(name)?).ok()?.parse().ok();
        // The Core Rule Set's names since 4.0, and before.
        Scores {
            inbound: score("blocking_inbound_anomaly_score").or_else(|| score("anomaly_score")),
            outbound: score("blocking_outbound_anomaly_score")
                .or_else(|| score("outbound_anomaly_score")),
        }
    }

    /// A `TX` variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        let slot = self.policy.rules.names.find(name.to_ascii_lowercase().as_bytes());
        let value = match slot {
            Some(slot) => self.store.slot(slot),
            None => self.store.variable(&self.texts, Collection::Tx, name.as_bytes()),
        };
        value.map(|span| self.texts.bytes(span))
    }

    /// With [`Prefiltering::Check`]: rules whose match the prefilter would have missed. Any is
    /// a bug of the prefilter.
    #[must_use]
    pub fn missed(&self) -> &[u64] {
        &self.missed
    }
}
