//! Entries of the store that cannot be read are moved out of the way, below `broken/`: nothing is
//! lost, nobody stumbles over them twice, and what they were for is had anew.

use crate::{
    event::{EventKind, Events},
    metrics::{Metrics, Trouble},
    stored,
};
use std::sync::Arc;
use tidegate_store::{Committed, Compare, Entry, Op, Store};
use time::OffsetDateTime;

pub(crate) struct Aside<'a> {
    pub(crate) store: &'a Arc<dyn Store>,
    pub(crate) metrics: &'a Metrics,
    pub(crate) events: &'a Events,
    pub(crate) now: OffsetDateTime,
}

impl Aside<'_> {
    /// Moves an entry, unless somebody else has just done so, and says what was done. With a full
    /// disk it stays where it is.
    pub(crate) async fn keep(&self, entry: &Entry, cause: &str) -> Option<String> {
        self.metrics.trouble(Trouble::Store);
        let key = &entry.key;
        let kept = stored::broken_key(key, self.now);
        let compare = Compare::Revision { key: key.clone(), is: entry.revision };
        let ops = vec![
            Op::Put { key: kept.clone(), value: entry.value.clone() },
            Op::Delete { key: key.clone() },
        ];
        let text = match self.store.txn(vec![compare], ops).await {
            Ok(Committed::Yes(_)) => {
                format!("`{key}` in the store was broken ({cause}); it is kept as `{kept}`")
            }
            Ok(Committed::No) => return None,
            Err(error) => format!(
                "`{key}` in the store is broken ({cause}) and is not used; it could not be kept \
                 aside: {error}"
            ),
        };
        self.events.tell(EventKind::KeptAside, "", &text);
        Some(text)
    }
}
