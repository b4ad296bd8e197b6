//! The loop that keeps certificates valid: finds what is missing or due, and has it issued.

use crate::{
    Inner,
    acme::{Failure, Issued},
    clock::after,
    held::Held,
    internal::RENEW_AT_PERCENT,
    metrics::Trouble,
    open::read,
    prepare::settings_digest,
    state::Attempt,
    stored::{self, StoredRetry, certificate_key, pending_key, retry_key},
    table::Origin,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tidegate_config::Acme;
use tidegate_store::{Committed, Compare, Lease, Op, StoreError};
use time::OffsetDateTime;
use tokio::{sync::watch, task::JoinSet};

/// Names ordered at the same time.
const AT_ONCE: usize = 4;
/// Attempts to store a certificate that was issued.
const STORE_ATTEMPTS: u32 = 5;
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// Stored certificates that nobody wants are dropped so long after their end.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Keeps everything valid; ends never. Orders in flight end with it.
pub(crate) async fn drive(inner: &Arc<Inner>, mut leader: watch::Receiver<bool>) {
    let mut orders = JoinSet::new();
    loop {
        renew_internal(inner);
        if *leader.borrow_and_update() {
            save_internal(inner).await;
            tidy(inner).await;
            start_orders(inner, &mut orders);
        }
        show(inner);
        tokio::select! {
            () = inner.wake.notified() => {}
            () = tokio::time::sleep(pause(inner)) => {}
            Some(_) = orders.join_next() => {}
            changed = leader.changed() => {
                if changed.is_err() {
                    // Nobody will tell any more: what was last said holds.
                    tokio::time::sleep(inner.schedule.check).await;
                }
            }
        }
    }
}

/// Until the next look: sooner if an attempt is due before the regular one.
fn pause(inner: &Inner) -> Duration {
    let state = inner.state.lock();
    let next = state
        .wanted_from(Origin::Acme)
        .filter(|name| !state.ordering.contains(*name))
        .filter_map(|name| state.attempts.get(name)?.next)
        .map(|next| inner.clock.until(next))
        .filter(|wait| !wait.is_zero())
        .min();
    // A name that is due and not waiting was started, or the bound on orders holds it.
    next.unwrap_or(inner.schedule.check).clamp(Duration::from_millis(20), inner.schedule.check)
}

/// Issues leaves of the internal CA that are missing or due.
fn renew_internal(inner: &Inner) {
    let now = inner.clock.now();
    let mut fresh = Vec::new();
    let wanted: Vec<String> = inner.state.lock().wanted_from(Origin::Internal).cloned().collect();
    for name in wanted {
        let table = inner.managed.load();
        let held = table.of(Origin::Internal).get(&name);
        if held.is_some_and(|held| held.certificate.renew_at(RENEW_AT_PERCENT) > now) {
            continue;
        }
        match inner.internal.issue(&name, now) {
            Ok(leaf) => {
                tracing::info!(name, not_after = %leaf.held.certificate.not_after, "the internal CA issued a certificate");
                fresh.push((Origin::Internal, name.clone(), Arc::clone(&leaf.held)));
                let mut state = inner.state.lock();
                state.internal_errors.remove(&name);
                state.unsaved.insert(name, leaf);
            }
            Err(error) => {
                inner.metrics.trouble(Trouble::Internal);
                tracing::error!(%error, "no certificate for a local name");
                inner.state.lock().internal_errors.insert(name, error.to_string());
            }
        }
    }
    if !fresh.is_empty() {
        inner.managed.adopt(&fresh);
    }
}

/// Stores leaves that are served but not stored yet.
async fn save_internal(inner: &Inner) {
    loop {
        let Some((name, leaf)) = inner.state.lock().unsaved.pop_first() else { return };
        let key = certificate_key(Origin::Internal, &name);
        let put = Op::Put { key, value: stored::encode(&leaf.stored) };
        if let Err(error) = inner.store.txn(vec![], vec![put]).await {
            inner.metrics.trouble(Trouble::Store);
            tracing::warn!(%error, name, "a certificate of the internal CA is not stored yet");
            inner.state.lock().unsaved.entry(name).or_insert(leaf);
            return;
        }
    }
}

/// Drops what nobody wants and nobody could use any more.
async fn tidy(inner: &Inner) {
    let now = inner.clock.now();
    let gone: Vec<(Origin, String)> = {
        let state = inner.state.lock();
        let table = inner.managed.load();
        [Origin::Acme, Origin::Internal]
            .into_iter()
            .flat_map(|origin| {
                table.of(origin).iter().map(move |(name, held)| (origin, name, held))
            })
            .filter(|(_, _, held)| after(held.certificate.not_after, FORGET_AFTER) < now)
            .map(|(origin, name, _)| (origin, name))
            .filter(|wanted| !state.wanted.names.contains(wanted))
            .collect()
    };
    for (origin, name) in &gone {
        let delete = Op::Delete { key: certificate_key(*origin, name) };
        if let Err(error) = inner.store.txn(vec![], vec![delete]).await {
            tracing::debug!(%error, name, "an expired certificate stays in the store");
            return;
        }
        inner.state.lock().authorities.remove(name);
    }
    inner.managed.forget(&gone);
}

/// Starts orders for names that are missing or due.
fn start_orders(inner: &Arc<Inner>, orders: &mut JoinSet<()>) {
    let now = inner.clock.now();
    let mut state = inner.state.lock();
    let Some(acme) = state.wanted.acme.clone() else { return };
    let settings = settings_digest(&state.wanted);
    let table = inner.managed.load();
    let due: Vec<String> = state
        .wanted_from(Origin::Acme)
        .filter(|name| !state.ordering.contains(*name))
        .filter(|name| {
            let held = table.of(Origin::Acme).get(name);
            held.is_none_or(|held| held.certificate.renew_at(acme.renew_at_percent) <= now)
        })
        .filter(|name| {
            let next = state.attempts.get(*name).and_then(|attempt| attempt.next);
            next.is_none_or(|next| next <= now)
        })
        .take(AT_ONCE.saturating_sub(orders.len()))
        .cloned()
        .collect();
    for name in due {
        state.ordering.insert(name.clone());
        let job = Job {
            inner: Arc::clone(inner),
            name,
            acme: Arc::clone(&acme),
            settings: settings.clone(),
        };
        orders.spawn(job.run());
    }
}

/// Puts the ends of everything served into the metrics.
fn show(inner: &Inner) {
    let mut held = BTreeMap::new();
    let state = inner.state.lock();
    let table = inner.managed.load();
    for (origin, name) in &state.wanted.names {
        if let Some(found) = table.of(*origin).get(name) {
            let ends = found.certificate.not_after.unix_timestamp();
            held.insert((name.clone(), origin.word()), ends);
        }
    }
    for pair in state.files.values() {
        let certificate = &pair.loaded.held.certificate;
        for name in &certificate.names {
            held.insert((name.clone(), "file"), certificate.not_after.unix_timestamp());
        }
    }
    drop(state);
    inner.metrics.show(held);
}

/// One name on its way to a certificate.
struct Job {
    inner: Arc<Inner>,
    name: String,
    acme: Arc<Acme>,
    settings: String,
}

/// How a turn ended.
enum Turn {
    /// A certificate is in force.
    Done,
    /// Another process is at it.
    Elsewhere,
    Failed(Failure),
    /// The store does not work.
    Store(StoreError),
}

impl Job {
    async fn run(self) {
        let turn = Box::pin(self.turn()).await;
        let now = self.inner.clock.now();
        match turn {
            Turn::Done => {
                self.inner.state.lock().attempts.remove(&self.name);
            }
            Turn::Elsewhere => {
                let mut state = self.inner.state.lock();
                let attempt = state.attempts.entry(self.name.clone()).or_default();
                attempt.next = Some(after(now, self.inner.schedule.contended));
                attempt.settings.clone_from(&self.settings);
            }
            Turn::Failed(failure) => self.failed(failure.text, failure.retry_after, now).await,
            Turn::Store(error) => self.failed(error.to_string(), None, now).await,
        }
        self.inner.state.lock().ordering.remove(&self.name);
        self.inner.wake.notify_one();
    }

    async fn turn(&self) -> Turn {
        let (store, schedule) = (&self.inner.store, &self.inner.schedule);
        let name = certificate_key(Origin::Acme, &self.name);
        let lease = match store.acquire(&name, &self.inner.holder, schedule.lease).await {
            Ok(Some(lease)) => lease,
            Ok(None) => return Turn::Elsewhere,
            Err(error) => return Turn::Store(error),
        };
        let turn = tokio::select! {
            turn = Box::pin(self.obtain(&lease)) => turn,
            () = self.keep(&lease) => Turn::Elsewhere,
        };
        if let Err(error) = store.release(&lease).await {
            tracing::debug!(%error, "a lease is left to end by itself");
        }
        turn
    }

    /// Prolongs the lease; returns when it is lost.
    async fn keep(&self, lease: &Lease) {
        let schedule = &self.inner.schedule;
        loop {
            tokio::time::sleep(schedule.lease / 3).await;
            let kept = self.inner.store.acquire(&lease.name, &lease.holder, schedule.lease).await;
            match kept {
                Ok(Some(kept)) if kept.token == lease.token => {}
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, "a lease is prolonged later"),
            }
        }
    }

    async fn obtain(&self, lease: &Lease) -> Turn {
        // Somebody may have had it issued while we waited for the lease.
        match self.stored().await {
            Ok(true) => return Turn::Done,
            Ok(false) => {}
            Err(error) => return Turn::Store(error),
        }
        tracing::info!(name = self.name, "orders a certificate");
        match self.inner.orders.obtain(&self.name, &self.acme).await {
            Ok(issued) => self.keep_issued(issued, lease).await,
            Err(failure) => Turn::Failed(failure),
        }
    }

    /// Takes a stored certificate that is not due; also what another process knows of failures.
    async fn stored(&self) -> Result<bool, StoreError> {
        let found = self.inner.store.get(&certificate_key(Origin::Acme, &self.name)).await?;
        let Some((stored, certificate)) = found.and_then(|entry| read(&entry).ok()) else {
            return Ok(false);
        };
        if certificate.renew_at(self.acme.renew_at_percent) <= self.inner.clock.now() {
            return Ok(false);
        }
        self.adopt(Held::new(certificate), stored.authority);
        Ok(true)
    }

    /// Stores what was issued, then puts it in force; the latter even if the store fails.
    async fn keep_issued(&self, issued: Issued, lease: &Lease) -> Turn {
        let ops = vec![
            Op::Put {
                key: certificate_key(Origin::Acme, &self.name),
                value: stored::encode(&issued.stored),
            },
            Op::Delete { key: pending_key(&self.name) },
            Op::Delete { key: retry_key(&self.name) },
        ];
        let mut outcome = Ok(());
        for attempt in 0..STORE_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(STORE_PAUSE).await;
            }
            let held = vec![Compare::Held(lease.clone())];
            match self.inner.store.txn(held, ops.clone()).await {
                Ok(Committed::Yes(_)) => {
                    outcome = Ok(());
                    break;
                }
                // Overtaken: the other's certificate comes by the watch.
                Ok(Committed::No) => return Turn::Elsewhere,
                Err(error) => outcome = Err(error),
            }
        }
        let not_after = issued.certificate.not_after;
        let authority = issued.stored.authority;
        tracing::info!(name = self.name, authority, %not_after, "a certificate was issued");
        self.adopt(Held::new(issued.certificate), authority);
        match outcome {
            Ok(()) => Turn::Done,
            Err(error) => {
                self.inner.metrics.trouble(Trouble::Store);
                Turn::Store(error)
            }
        }
    }

    fn adopt(&self, held: Arc<Held>, authority: String) {
        self.inner.managed.adopt(&[(Origin::Acme, self.name.clone(), held)]);
        self.inner.state.lock().authorities.insert(self.name.clone(), authority);
    }

    /// Remembers a failure, also across restarts.
    async fn failed(&self, text: String, retry_after: Option<Duration>, now: OffsetDateTime) {
        self.inner.metrics.trouble(Trouble::Order);
        let stored: StoredRetry = {
            let mut state = self.inner.state.lock();
            let attempt: &mut Attempt = state.attempts.entry(self.name.clone()).or_default();
            attempt.failures = attempt.failures.saturating_add(1);
            let wait = self.inner.schedule.backoff(attempt.failures, &mut rand::rng());
            let wait = wait.max(retry_after.unwrap_or_default());
            attempt.next = Some(after(now, wait));
            attempt.error = Some(text);
            attempt.settings.clone_from(&self.settings);
            attempt.stored()
        };
        tracing::error!(
            name = self.name,
            error = stored.error,
            failures = stored.failures,
            "no certificate; it is tried again later"
        );
        let put = Op::Put { key: retry_key(&self.name), value: stored::encode(&stored) };
        if let Err(error) = self.inner.store.txn(vec![], vec![put]).await {
            tracing::debug!(%error, "a failed order is not remembered across restarts");
        }
    }
}
