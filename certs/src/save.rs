//! What is served but not in the store yet gets there, as soon as the store takes it.

use crate::{
    Inner,
    held::Held,
    metrics::Trouble,
    stored::{self, StoredCertificate, certificate_key},
    table::Origin,
};
use std::sync::Arc;
use tidegate_store::{Committed, Compare, Op, StoreError};

/// Certificates stored by one transaction: three writes each, and the store takes 128.
const SAVED_AT_ONCE: usize = 40;

/// A certificate that was just had.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) held: Arc<Held>,
    pub(crate) stored: StoredCertificate,
}

type Unsaved = ((Origin, String), Leaf);

/// Stores what is not yet, many at a time: each transaction waits for the disk.
pub(crate) async fn save(inner: &Inner) {
    loop {
        let mut unsaved: Vec<Unsaved> = {
            let mut state = inner.state.lock();
            std::iter::from_fn(|| state.unsaved.pop_first()).take(SAVED_AT_ONCE).collect()
        };
        if unsaved.is_empty() {
            return;
        }
        // Somebody's import, or another process, may have put a later one in force.
        let table = inner.managed.load_full();
        unsaved.retain(|((origin, name), leaf)| {
            table.of(*origin).get(name).is_some_and(|shown| Arc::ptr_eq(shown, &leaf.held))
        });
        let mut outcome = put(inner, &unsaved).await;
        if matches!(outcome, Ok(Committed::No)) {
            for one in unsaved.chunks(1) {
                outcome = put(inner, one).await;
                match &outcome {
                    Ok(Committed::Yes(_)) => {}
                    // It comes by the watch.
                    Ok(Committed::No) => tracing::info!(
                        name = one[0].0.1,
                        "a certificate is not stored: there is a later one"
                    ),
                    Err(_) => break,
                }
            }
        }
        let Err(error) = outcome else {
            let mut state = inner.state.lock();
            for ((origin, name), _) in unsaved {
                if origin == Origin::Acme {
                    state.attempts.remove(&name);
                }
            }
            continue;
        };
        inner.metrics.trouble(Trouble::Store);
        let count = unsaved.len();
        tracing::warn!(%error, count, "certificates are served and not stored yet");
        let mut state = inner.state.lock();
        for (key, leaf) in unsaved {
            // One issued since is newer.
            state.unsaved.entry(key).or_insert(leaf);
        }
        return;
    }
}

/// Stores certificates; those of authorities where what they replace is still what the store has.
async fn put(inner: &Inner, unsaved: &[Unsaved]) -> Result<Committed, StoreError> {
    let (mut compares, mut ops) = (Vec::new(), Vec::new());
    for ((origin, name), leaf) in unsaved {
        let key = certificate_key(*origin, name);
        if *origin == Origin::Acme {
            compares.push(Compare::Revision { key, is: leaf.held.revision() });
            ops.extend(stored::issued(name, &leaf.stored));
        } else {
            ops.push(Op::Put { key, value: stored::encode(&leaf.stored) });
        }
    }
    let committed = inner.store.txn(compares, ops).await?;
    if let Committed::Yes(revision) = committed {
        unsaved.iter().for_each(|(_, leaf)| leaf.held.seen_at(revision));
    }
    Ok(committed)
}
