//! The state encrypted at rest, with `control.encryption_keys`.

use std::{sync::Arc, time::Duration};
use tidegate_config::Control;
use tidegate_store::{KeyRing, Sealed, Sqlite, StoreError};
use tokio::sync::watch;

/// After a failure.
const AGAIN: Duration = Duration::from_secs(60);

/// The store whose values are encrypted if there is a key.
pub(crate) async fn open(store: &Sqlite, control: &Control) -> Result<Sealed, StoreError> {
    // Their form was checked with the document.
    let keys = control.encryption_keys.iter().filter_map(|key| {
        let mut bytes = [0; 32];
        hex::decode_to_slice(key.reveal(), &mut bytes).ok().map(|()| bytes)
    });
    Sealed::open(Arc::new(store.clone()), KeyRing::new(keys)).await
}

/// Encrypts what was written before there was a key, or with an older one, as soon as this
/// process leads: a predecessor may not have the key. Tries until it is done.
pub(crate) async fn seal_all(sealed: Sealed, store: Sqlite, mut is_leader: watch::Receiver<bool>) {
    if !sealed.has_key() || is_leader.wait_for(|is_leader| *is_leader).await.is_err() {
        return;
    }
    loop {
        let sealed = match sealed.seal_all().await {
            // What was in the clear is gone from the log of the database, too; also where a crash
            // came between the two.
            Ok(count) => store.checkpoint().await.map(|()| count),
            Err(error) => Err(error),
        };
        match sealed {
            Ok(count) => {
                return tracing::info!(
                    count,
                    "all entries of the state are encrypted with the first key"
                );
            }
            Err(error) => {
                tracing::error!(%error, "not all of the state is encrypted; tried again in a minute");
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
