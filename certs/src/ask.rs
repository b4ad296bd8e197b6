//! Asks authorities when they want their certificates renewed.

use crate::{
    Inner,
    stored::{self, StoredRenewal},
    table::Origin,
};
use std::sync::Arc;
use tidegate_store::Op;
use tokio::task::JoinSet;

/// Authorities asked at the same time.
const AT_ONCE: usize = 4;

/// Starts to ask about certificates nobody has asked about, or not for long enough.
pub(crate) fn start(inner: &Arc<Inner>, asking: &mut JoinSet<()>) {
    let today = inner.clock.now();
    let now = today.unix_timestamp();
    let table = inner.managed.load();
    let mut state = inner.state.lock();
    let Some(acme) = state.wanted.acme.clone() else { return };
    let due: Vec<_> = state
        .ordered(today)
        .filter(|name| !state.asking.contains(*name))
        .filter_map(|name| {
            let id = table.of(Origin::Acme).get(name)?.certificate.renewal_id.clone()?;
            let known = state.renewals.get(name).filter(|known| known.certificate == id);
            if known.is_some_and(|known| now < known.next_check) {
                return None;
            }
            let authority = &state.issued.get(name)?.authority;
            let issuer = acme.issuers.iter().find(|issuer| issuer.name == *authority)?;
            Some((name.clone(), id, issuer.clone(), known.cloned()))
        })
        .take(AT_ONCE.saturating_sub(asking.len()))
        .collect();
    for (name, id, issuer, known) in due {
        state.asking.insert(name.clone());
        let inner = Arc::clone(inner);
        asking.spawn(async move {
            let renewal = inner.orders.renewal(&issuer, &id, known.as_ref()).await;
            if renewal.chosen != known.as_ref().and_then(|known| known.chosen) {
                let window = renewal.window;
                tracing::info!(name, issuer = issuer.name, ?window, "the renewal is suggested");
            }
            remember(&inner, &name, &renewal).await;
            let revoked = {
                let mut state = inner.state.lock();
                state.asking.remove(&name);
                let known = state.renewals.get(&name);
                let revoked = known.filter(|known| known.revoked && known.certificate == id);
                let revoked = revoked.cloned();
                if revoked.is_none() {
                    state.renewals.insert(name.clone(), renewal);
                }
                revoked
            };
            // It was revoked while this was stored, maybe before it was: its word is the last.
            if let Some(revoked) = revoked {
                remember(&inner, &name, &revoked).await;
            }
        });
    }
}

async fn remember(inner: &Inner, name: &str, renewal: &StoredRenewal) {
    let put = Op::Put { key: stored::renewal_key(name), value: stored::encode(renewal) };
    if let Err(error) = inner.store.txn(vec![], vec![put]).await {
        tracing::debug!(%error, name, "renewal information is not remembered");
    }
}
