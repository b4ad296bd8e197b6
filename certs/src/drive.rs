//! The loop that keeps certificates valid: finds what is missing or due, and has it issued.

use crate::{
    Inner, ask,
    clock::after,
    internal::{RENEW_AT_PERCENT, obtain},
    job::{Job, is_due},
    metrics::Trouble,
    prepare::settings_digest,
    stored::{self, certificate_key, renewal_key},
    table::Origin,
    tickets,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tidegate_store::Op;
use time::OffsetDateTime;
use tokio::{sync::watch, task::JoinSet};

/// Names ordered at the same time.
const AT_ONCE: usize = 4;
/// Certificates stored by one transaction: three writes each, and the store takes 128.
const SAVED_AT_ONCE: usize = 40;
/// Stored certificates that nobody wants are dropped so long after their end.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Keeps everything valid; ends never. Orders in flight end with it.
pub(crate) async fn drive(inner: &Arc<Inner>, mut leader: watch::Receiver<bool>) {
    let mut orders = JoinSet::new();
    let mut asking = JoinSet::new();
    loop {
        let leads = *leader.borrow_and_update();
        if leads {
            renew_intermediate(inner).await;
            tickets::publish(inner).await;
        }
        inner.tickets.turn();
        // A new intermediate is on its way from who leads; leaves wait for it.
        if leads || !inner.internal.load().is_due(inner.clock.now()) {
            renew_internal(inner);
        }
        if leads {
            save(inner).await;
            tidy(inner).await;
            ask::start(inner, &mut asking);
            start_orders(inner, &mut orders);
        }
        show(inner);
        tokio::select! {
            () = inner.wake.notified() => {}
            () = tokio::time::sleep(pause(inner)) => {}
            Some(_) = orders.join_next() => {}
            Some(_) = asking.join_next() => {}
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

/// Makes the internal CA's next intermediate when the one in use is due; its leaves stay good.
async fn renew_intermediate(inner: &Inner) {
    let now = inner.clock.now();
    if !inner.internal.load().is_due(now) {
        return;
    }
    let mut notices = Vec::new();
    match obtain(&inner.store, now, &mut notices).await {
        Ok(ca) => inner.internal.store(Arc::new(ca)),
        Err(error) => {
            inner.metrics.trouble(Trouble::Internal);
            tracing::error!(%error, "the internal CA's intermediate is not renewed");
        }
    }
    notices.iter().for_each(|notice| tracing::warn!("{notice}"));
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
        match inner.internal.load().issue(&name, now) {
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
    inner.managed.replace(&fresh);
}

/// Stores what is served but not stored yet, many at a time: each transaction waits for the disk.
async fn save(inner: &Inner) {
    loop {
        let unsaved: Vec<_> = {
            let mut state = inner.state.lock();
            std::iter::from_fn(|| state.unsaved.pop_first()).take(SAVED_AT_ONCE).collect()
        };
        if unsaved.is_empty() {
            return;
        }
        let mut ops = Vec::new();
        for ((origin, name), certificate) in &unsaved {
            if *origin == Origin::Acme {
                ops.extend(stored::issued(name, certificate));
            } else {
                let value = stored::encode(certificate);
                ops.push(Op::Put { key: certificate_key(*origin, name), value });
            }
        }
        if let Err(error) = inner.store.txn(vec![], ops).await {
            inner.metrics.trouble(Trouble::Store);
            let count = unsaved.len();
            tracing::warn!(%error, count, "certificates are served and not stored yet");
            let mut state = inner.state.lock();
            for (key, certificate) in unsaved {
                // One issued since is newer.
                state.unsaved.entry(key).or_insert(certificate);
            }
            return;
        }
        let mut state = inner.state.lock();
        for ((origin, name), _) in unsaved {
            if origin == Origin::Acme {
                state.attempts.remove(&name);
            }
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
        let delete = [certificate_key(*origin, name), renewal_key(name)];
        let delete = delete.map(|key| Op::Delete { key }).to_vec();
        if let Err(error) = inner.store.txn(vec![], delete).await {
            tracing::debug!(%error, name, "an expired certificate stays in the store");
            return;
        }
        let mut state = inner.state.lock();
        state.issued.remove(name);
        state.renewals.remove(name);
    }
    inner.managed.forget(&gone);
}

/// Starts orders for names that are missing or due.
fn start_orders(inner: &Arc<Inner>, orders: &mut JoinSet<()>) {
    let now = inner.clock.now();
    let mut state = inner.state.lock();
    let Some(acme) = state.wanted.acme.clone() else { return };
    let settings = settings_digest(Some(&acme));
    let table = inner.managed.load();
    let given_up = inner.schedule.give_up;
    let mut due: Vec<(OffsetDateTime, String)> = state
        .wanted_from(Origin::Acme)
        .filter(|name| !state.ordering.contains(*name))
        .filter(|name| {
            let held = table.of(Origin::Acme).get(name);
            let issued = state.issued.get(*name);
            let renewal = state.renewals.get(*name);
            held.is_none_or(|held| {
                state.renew.contains(*name)
                    || is_due(&held.certificate, issued, &acme, renewal, now)
            })
        })
        .filter(|name| {
            state.attempts.get(*name).is_none_or(|attempt| {
                attempt.next.is_none_or(|next| next <= now) && !attempt.is_given_up(given_up, now)
            })
        })
        .map(|name| {
            let held = table.of(Origin::Acme).get(name);
            // What is missing first, then what ends soonest.
            let ends = held.map_or(OffsetDateTime::UNIX_EPOCH, |held| held.certificate.not_after);
            (ends, name.clone())
        })
        .collect();
    due.sort();
    due.truncate(AT_ONCE.saturating_sub(orders.len()));
    for (_, name) in due {
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

/// Puts the ends of everything served, and how many secrets there are, into the metrics.
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
    inner.metrics.show_ticket_keys(inner.tickets.counts());
}
