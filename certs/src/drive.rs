//! The loop that keeps certificates valid: finds what is missing or due, and has it issued.

use crate::{
    Inner, ask,
    challenges::Challenge,
    clock::after,
    event::EventKind,
    internal::{RENEW_AT_PERCENT, obtain},
    job::{Job, is_due},
    metrics::Trouble,
    on_demand,
    prepare::settings_digest,
    save::save,
    state::State,
    stored::{self, certificate_key, renewal_key, retry_key},
    table::{Origin, Table},
    tickets,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tidegate_config::Acme;
use tidegate_store::Op;
use time::OffsetDateTime;
use tokio::{sync::watch, task::JoinSet};

/// Names ordered at the same time: of the document, had on demand and renewed, brought by strangers.
/// Each queue has its own places, so that none holds up the one before it.
const PLACES: [usize; 3] = [4, 2, 2];
/// Entries dropped in one transaction; the store takes 128.
const FORGET_AT_ONCE: usize = 100;
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
        // A new intermediate is on its way from who leads; leaves wait for it. Nobody leads through
        // a store that takes no write: leaves are then made in memory, by the one there is.
        let is_awaited = inner.internal.load().is_due(inner.clock.now()) && !leads;
        if !is_awaited || inner.store.unwritable().is_some() {
            renew_internal(inner);
        }
        on_demand::tend(inner, leads).await;
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
        .ordered(inner.clock.now())
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
        Ok(ca) => {
            inner.events.tell(EventKind::Authority, "", "the internal CA has another intermediate");
            inner.internal.store(Arc::new(ca));
        }
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
    if let Err(error) = inner.identity.renew(&inner.internal.load(), now) {
        inner.metrics.trouble(Trouble::Internal);
        tracing::error!(%error, "no certificate to show to upstreams");
    }
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
                state.unsaved.insert((Origin::Internal, name), leaf);
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
        let mut delete = vec![Op::Delete { key: certificate_key(*origin, name) }];
        // What authorities said is about theirs.
        if *origin == Origin::Acme {
            delete.push(Op::Delete { key: renewal_key(name) });
        }
        if let Err(error) = inner.store.txn(vec![], delete).await {
            tracing::debug!(%error, name, "an expired certificate stays in the store");
            return;
        }
        if *origin == Origin::Acme {
            let mut state = inner.state.lock();
            state.issued.remove(name);
            state.renewals.remove(name);
        }
    }
    inner.managed.forget(&gone);
    forget_attempts(inner).await;
    forget_challenges(inner).await;
}

/// Challenges that a process left behind.
async fn forget_challenges(inner: &Inner) {
    let Ok((entries, _)) = inner.store.range(stored::CHALLENGES).await else { return };
    let now = inner.clock.now().unix_timestamp();
    let over = entries.into_iter().filter(|entry| {
        let challenge = stored::decode::<Challenge>(&entry.value);
        challenge.is_ok_and(|challenge| challenge.expires < now)
    });
    let delete: Vec<_> =
        over.take(FORGET_AT_ONCE).map(|entry| Op::Delete { key: entry.key }).collect();
    if delete.is_empty() {
        return;
    }
    if let Err(error) = inner.store.txn(vec![], delete).await {
        tracing::debug!(%error, "challenges that are over stay in the store");
    }
}

/// Failures of names that nobody wants any more say nothing once somebody wants them again.
async fn forget_attempts(inner: &Inner) {
    let gone: Vec<String> = {
        let state = inner.state.lock();
        if state.wanted.acme.is_none() {
            // Most likely nothing is in force yet.
            return;
        }
        let wanted: BTreeSet<&String> = state.ordered(inner.clock.now()).collect();
        let names = state.attempts.keys().filter(|name| !wanted.contains(name));
        names.filter(|name| !state.ordering.contains(*name)).cloned().collect()
    };
    for name in gone {
        let delete = vec![Op::Delete { key: retry_key(&name) }];
        if let Err(error) = inner.store.txn(vec![], delete).await {
            tracing::debug!(%error, name, "old failures stay in the store");
            return;
        }
        let mut state = inner.state.lock();
        state.attempts.remove(&name);
        state.renew.remove(&name);
        state.replaced.remove(&name);
    }
}

/// Why a name is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// There is no certificate.
    Missing,
    /// Somebody asked for another one, or it is revoked.
    Asked,
    /// It is time for another one.
    Due,
}

/// Why `name` is to be ordered; nothing if it is not.
pub(crate) fn reason(
    state: &State,
    table: &Table,
    acme: &Acme,
    name: &str,
    now: OffsetDateTime,
) -> Option<Reason> {
    let (held, issued) = state.shown_for(table, name);
    let Some(held) = held else { return Some(Reason::Missing) };
    if state.renew.contains(name) {
        return Some(Reason::Asked);
    }
    let renewal = state.renewals.get(name);
    is_due(&held.certificate, issued, acme, renewal, now).then_some(Reason::Due)
}

/// Starts orders for names that are missing or due.
fn start_orders(inner: &Arc<Inner>, orders: &mut JoinSet<()>) {
    let now = inner.clock.now();
    let mut state = inner.state.lock();
    let Some(acme) = state.wanted.acme.clone() else { return };
    let settings = settings_digest(Some(&acme));
    let table = inner.managed.load();
    let mut due: Vec<(OffsetDateTime, String)> = state
        .ordered(now)
        .filter(|name| !state.ordering.contains(*name))
        .filter(|name| reason(&state, &table, &acme, name, now).is_some())
        .filter(|name| {
            state.attempts.get(*name).is_none_or(|attempt| {
                attempt.is_due(&inner.schedule, now) && !attempt.is_given_up(&inner.schedule, now)
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
    let queue =
        |name: &str| match (state.names(Origin::Acme, name), table.of(Origin::Acme).get(name)) {
            (true, _) => 0,
            (false, Some(_)) => 1,
            (false, None) => 2,
        };
    let mut taken = [0; PLACES.len()];
    state.ordering.iter().for_each(|name| taken[queue(name)] += 1);
    due.retain(|(_, name)| {
        let queue = queue(name);
        taken[queue] += 1;
        taken[queue] <= PLACES[queue]
    });
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
    let demanded = state.wishes.keys().filter(|name| !state.names(Origin::Acme, name));
    let ends = demanded.filter_map(|name| table.of(Origin::Acme).get(name));
    let ends = ends.map(|held| held.certificate.not_after.unix_timestamp());
    let (count, first) = ends.fold((0, None), |(count, first): (i64, Option<i64>), ends| {
        (count + 1, Some(first.map_or(ends, |first| first.min(ends))))
    });
    let lists = state.client_auth.iter().filter(|(_, auth)| auth.lists_until < u64::MAX);
    let lists = lists.map(|(name, auth)| {
        (name.to_string(), i64::try_from(auth.lists_until).unwrap_or(i64::MAX))
    });
    inner.metrics.show_lists(lists);
    drop(state);
    inner.metrics.show(held);
    inner.metrics.show_on_demand(count, first);
    inner.metrics.show_ticket_keys(inner.tickets.counts());
}
