//! The names that are had on demand: which they are, who still uses them, and when they go.
//!
//! Each is an entry `certs/demand/NAME` of the store, so that every process knows them and a
//! restart orders nothing anew. One that no client has used for `keep`, or that is no longer
//! allowed when it is to be renewed, is served until its end; then nothing is left of it.

use super::permission::Word;
use crate::{
    Inner,
    acme::{Failure, Scope, staging_name},
    clock::after,
    event::EventKind,
    stored::{self, certificate_key, demand_key, pending_key, renewal_key, retry_key},
    table::Origin,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use tidegate_store::{Entry, Op, StoreError};
use time::OffsetDateTime;

/// The store's idea of a name's last use is older by this at most.
const SAVED_EVERY: i64 = 6 * 3600;
/// A name without a certificate goes when no client has asked for it for so long.
const UNHELD: Duration = Duration::from_secs(24 * 3600);
/// Uses stored by one transaction; the store takes 128.
const SAVED_AT_ONCE: usize = 100;
/// Names removed in one turn: a transaction each.
const GONE_AT_ONCE: usize = 64;

/// By name.
pub(crate) type Wishes = BTreeMap<String, Wish>;

/// A name had on demand, as it is in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredWish {
    /// When a client last asked for it, in unix seconds.
    pub(crate) used: i64,
    /// It was no longer allowed when it was to be ordered again.
    #[serde(default)]
    pub(crate) withdrawn: bool,
}

/// A name had on demand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// As this process knows it.
    pub(crate) now: StoredWish,
    /// The use that the store knows.
    saved: i64,
}

impl Wish {
    pub(crate) fn of(stored: StoredWish) -> Self {
        Self { saved: stored.used, now: stored }
    }

    /// Whether its certificate is worth renewing.
    pub(crate) fn is_alive(&self, keep: Duration, now: OffsetDateTime) -> bool {
        !self.now.withdrawn && !self.is_unused(keep, now)
    }

    /// Whether no client asked for it for so long.
    pub(crate) fn is_unused(&self, so_long: Duration, now: OffsetDateTime) -> bool {
        let used = OffsetDateTime::from_unix_timestamp(self.now.used);
        used.is_ok_and(|used| after(used, so_long) <= now)
    }

    /// Whether nothing of it is worth keeping; `ends` is when its certificate does.
    fn is_over(&self, ends: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
        match ends {
            Some(ends) => ends <= now,
            None => self.now.withdrawn || self.is_unused(UNHELD, now),
        }
    }
}

/// Whether `name` is had on demand already; notes that a client asks for it.
pub(super) fn used(inner: &Inner, name: &str) -> bool {
    let now = inner.clock.now().unix_timestamp();
    match inner.state.lock().wishes.get_mut(name) {
        Some(wish) if !wish.now.withdrawn => {
            wish.now.used = now;
            true
        }
        _ => false,
    }
}

/// Has `name` from now on.
pub(super) async fn add(inner: &Inner, name: &str) -> Result<(), StoreError> {
    let wish = StoredWish { used: inner.clock.now().unix_timestamp(), withdrawn: false };
    let put = Op::Put { key: demand_key(name), value: stored::encode(&wish) };
    inner.store.txn(vec![], vec![put]).await?;
    inner.state.lock().wishes.insert(name.to_owned(), Wish::of(wish));
    inner.wake.notify_one();
    Ok(())
}

/// Another process wrote a wish, or this one did.
pub(crate) fn learned(inner: &Inner, name: &str, entry: &Entry) {
    let stored: StoredWish = match stored::decode(&entry.value) {
        Ok(stored) => stored,
        Err(cause) => {
            tracing::warn!(key = entry.key, %cause, "a name on demand cannot be read");
            return;
        }
    };
    let mut state = inner.state.lock();
    let wish = state.wishes.entry(name.to_owned()).or_default();
    wish.saved = wish.saved.max(stored.used);
    wish.now = StoredWish { used: wish.now.used.max(stored.used), ..stored };
    drop(state);
    inner.wake.notify_one();
}

/// Another process removed a wish, or this one did.
pub(crate) fn forgotten(inner: &Inner, name: &str) {
    {
        let mut state = inner.state.lock();
        state.wishes.remove(name);
        if state.names(Origin::Acme, name) {
            return;
        }
        state.attempts.remove(name);
        state.issued.remove(name);
        state.renewals.remove(name);
        state.renew.remove(name);
        state.replaced.remove(name);
    }
    let now = inner.clock.now();
    let table = inner.managed.load();
    let held = table.of(Origin::Acme).get(name);
    // A good one may be of a document that this process has not read yet.
    let ended = held.is_some_and(|held| held.certificate.not_after <= now);
    drop(table);
    if ended {
        inner.managed.forget(&[(Origin::Acme, name.to_owned())]);
    }
}

/// Keeps the uses of names up to date and, as the leader, removes what is over.
pub(crate) async fn tend(inner: &Inner, leads: bool) {
    let outcome = async {
        save_uses(inner).await?;
        if leads { remove(inner).await } else { Ok(()) }
    };
    if let Err(error) = outcome.await {
        tracing::debug!(%error, "what is known of names on demand is not stored");
    }
}

async fn save_uses(inner: &Inner) -> Result<(), StoreError> {
    let now = inner.clock.now().unix_timestamp();
    let news: Vec<(String, StoredWish)> = {
        let table = inner.managed.load();
        let mut state = inner.state.lock();
        let mut news = Vec::new();
        for (name, wish) in &mut state.wishes {
            if table.of(Origin::Acme).get(name).is_some_and(|held| held.take_use()) {
                wish.now.used = now;
            }
            if wish.now.used >= wish.saved.saturating_add(SAVED_EVERY) {
                news.push((name.clone(), wish.now.clone()));
            }
        }
        news
    };
    for chunk in news.chunks(SAVED_AT_ONCE) {
        let put = |(name, wish): &(String, StoredWish)| Op::Put {
            key: demand_key(name),
            value: stored::encode(wish),
        };
        inner.store.txn(vec![], chunk.iter().map(put).collect()).await?;
        let mut state = inner.state.lock();
        for (name, stored) in chunk {
            if let Some(wish) = state.wishes.get_mut(name) {
                wish.saved = wish.saved.max(stored.used);
            }
        }
    }
    Ok(())
}

/// What is over goes, with all that was kept about it. Of what the document names by now only
/// the wish does.
async fn remove(inner: &Inner) -> Result<(), StoreError> {
    let now = inner.clock.now();
    let over: Vec<(String, bool)> = {
        let table = inner.managed.load();
        let state = inner.state.lock();
        let look = |(name, wish): (&String, &Wish)| {
            let ends = table.of(Origin::Acme).get(name).map(|held| held.certificate.not_after);
            let named = state.names(Origin::Acme, name);
            let over = named || wish.is_over(ends, now) && !state.ordering.contains(name);
            over.then(|| (name.clone(), named))
        };
        state.wishes.iter().filter_map(look).take(GONE_AT_ONCE).collect()
    };
    for (name, named) in over {
        let mut keys = vec![demand_key(&name)];
        if !named {
            keys.extend([
                certificate_key(Origin::Acme, &name),
                renewal_key(&name),
                retry_key(&name),
            ]);
            keys.extend(pending_keys(inner, &name));
        }
        let delete = keys.into_iter().map(|key| Op::Delete { key }).collect();
        inner.store.txn(vec![], delete).await?;
        forgotten(inner, &name);
        if !named {
            inner.events.tell(EventKind::Withdrawn, &name, "a name on demand is over");
        }
    }
    Ok(())
}

/// Orders that were begun and not ended.
fn pending_keys(inner: &Inner, name: &str) -> Vec<String> {
    let acme = inner.state.lock().wanted.acme.clone();
    let issuers = acme.iter().flat_map(|acme| &acme.issuers);
    let names = issuers.flat_map(|issuer| [issuer.name.clone(), staging_name(issuer)]);
    names.map(|issuer| pending_key(&issuer, name)).collect()
}

/// Whether `name` may be ordered again, if it is one on demand: asked of every listener that has
/// names on demand, before any order but the first.
pub(crate) async fn recheck(inner: &Inner, name: &str) -> Result<bool, Failure> {
    let listeners = {
        let state = inner.state.lock();
        let held = inner.managed.load().of(Origin::Acme).get(name).is_some();
        let failed = state.attempts.get(name).is_some_and(|attempt| attempt.failures > 0);
        let demanded = state.wishes.contains_key(name) && !state.names(Origin::Acme, name);
        if !demanded || !held && !failed {
            return Ok(true);
        }
        state.on_demand().cloned().collect::<Vec<_>>()
    };
    let mut silence = None;
    for on_demand in listeners {
        match on_demand.permission.ask(name).await {
            Word::Yes => return Ok(true),
            Word::No => {}
            Word::Silence(cause) => silence = Some(cause),
        }
    }
    if let Some(cause) = silence {
        let text = format!("nobody says whether it is still allowed: {cause}");
        return Err(Failure::new(Scope::Name, text));
    }
    let text = "no longer allowed on demand; a certificate it has is served to its end";
    inner.events.tell(EventKind::Withdrawn, name, text);
    let stored = inner.state.lock().wishes.get_mut(name).map(|wish| {
        wish.now.withdrawn = true;
        wish.now.clone()
    });
    if let Some(stored) = stored {
        let put = Op::Put { key: demand_key(name), value: stored::encode(&stored) };
        if let Err(error) = inner.store.txn(vec![], vec![put]).await {
            tracing::debug!(%error, name, "asked about again after a restart");
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_renewed_while_it_is_used_and_gone_at_its_end() {
        let day = |day: i64| OffsetDateTime::from_unix_timestamp(1_800_000_000 + day * 86_400);
        let day = |n: i64| day(n).unwrap();
        let keep = Duration::from_secs(30 * 86_400);
        let used = day(0).unix_timestamp();
        let wish = Wish::of(StoredWish { used, withdrawn: false });
        assert!(wish.is_alive(keep, day(29)));
        assert!(!wish.is_alive(keep, day(30)));
        let withdrawn = Wish::of(StoredWish { used, withdrawn: true });
        assert!(!withdrawn.is_alive(keep, day(0)));
        for wish in [&wish, &withdrawn] {
            assert!(!wish.is_over(Some(day(90)), day(89)));
            assert!(wish.is_over(Some(day(90)), day(90)));
        }
        assert!(!wish.is_over(None, day(0)));
        assert!(wish.is_over(None, day(1)), "never had, and nobody asks any more");
        assert!(withdrawn.is_over(None, day(0)));
    }
}
