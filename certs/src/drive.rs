//! The loop that keeps certificates valid: finds what is missing or due, and has it issued.

use crate::{
    Inner,
    clock::after,
    internal::RENEW_AT_PERCENT,
    job::{Job, is_due},
    metrics::Trouble,
    prepare::settings_digest,
    stored::{self, certificate_key, pending_key, retry_key},
    table::Origin,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tidegate_store::Op;
use tokio::{sync::watch, task::JoinSet};

/// Names ordered at the same time.
const AT_ONCE: usize = 4;
/// Stored certificates that nobody wants are dropped so long after their end.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Keeps everything valid; ends never. Orders in flight end with it.
pub(crate) async fn drive(inner: &Arc<Inner>, mut leader: watch::Receiver<bool>) {
    let mut orders = JoinSet::new();
    loop {
        renew_internal(inner);
        if *leader.borrow_and_update() {
            save(inner).await;
            tidy(inner).await;
            start_orders(inner, &mut orders);
        }
        show(inner);
        tokio::select! {
            () = inner.wake.notified() => {}
            () = tokio::time::sleep(pause(inner)) => {}
            Some(_) = orders.join_next() => {}
            () = changed(&mut leader) => {}
        }
    }
}

/// Waits for word on who leads; for ever when nobody will tell any more.
async fn changed(leader: &mut watch::Receiver<bool>) {
    if leader.changed().await.is_err() {
        std::future::pending::<()>().await;
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
                state.unsaved.insert((Origin::Internal, name), leaf.stored);
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

/// Stores what is served but not stored yet.
async fn save(inner: &Inner) {
    loop {
        let Some(((origin, name), unsaved)) = inner.state.lock().unsaved.pop_first() else {
            return;
        };
        let mut ops =
            vec![Op::Put { key: certificate_key(origin, &name), value: stored::encode(&unsaved) }];
        if origin == Origin::Acme {
            ops.push(Op::Delete { key: pending_key(&name) });
            ops.push(Op::Delete { key: retry_key(&name) });
        }
        if let Err(error) = inner.store.txn(vec![], ops).await {
            inner.metrics.trouble(Trouble::Store);
            tracing::warn!(%error, name, "a certificate is served and not stored yet");
            inner.state.lock().unsaved.entry((origin, name)).or_insert(unsaved);
            return;
        }
        if origin == Origin::Acme {
            inner.state.lock().attempts.remove(&name);
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
            let authority = state.authorities.get(*name);
            held.is_none_or(|held| is_due(&held.certificate, authority, &acme, now))
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
pub(crate) fn show(inner: &Inner) {
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
