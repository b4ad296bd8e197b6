//! Certificate files that changed are read again.

use crate::{
    Inner,
    clock::rfc3339,
    event::EventKind,
    files::{PairKey, Stamp, load},
    metrics::Trouble,
    prepare::index_files,
};
use std::sync::Arc;

/// Looks at the files again and again; ends never.
pub(crate) async fn reread(inner: &Arc<Inner>) {
    let mut tick = tokio::time::interval(inner.schedule.files);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if inner.state.lock().files.is_empty() {
            continue;
        }
        let worker = Arc::clone(inner);
        // An error means that it panicked, which its own report says.
        let _ = tokio::task::spawn_blocking(move || look(&worker)).await;
    }
}

/// One look at every pair: a change is read when two looks have seen the same, so that a pair
/// is not read between the writing of its two files.
fn look(inner: &Inner) {
    let pairs: Vec<PairKey> = inner.state.lock().files.keys().cloned().collect();
    for pair in pairs {
        let stamp = Stamp::of(&pair);
        let known = {
            let mut state = inner.state.lock();
            let Some(known) = state.files.get_mut(&pair) else { continue };
            if known.seen != stamp {
                known.seen = stamp;
                known.tried = false;
                continue;
            }
            if known.tried {
                continue;
            }
            known.tried = true;
            known.loaded.clone()
        };
        let outcome = load(&pair, Some(&known));
        let mut state = inner.state.lock();
        let state = &mut *state;
        let Some(current) = state.files.get_mut(&pair) else { continue };
        let path = pair.0.display().to_string();
        match outcome {
            // A reload was quicker, with newer files.
            Ok(loaded) if current.seen != loaded.stamp => current.tried = false,
            Ok(loaded) => {
                let not_after = loaded.held.certificate.not_after;
                current.loaded = loaded;
                current.error = None;
                let text = format!("changed, and good until {}", rfc3339(not_after));
                inner.events.tell(EventKind::File, &path, text);
                index_files(&state.listeners, &state.files);
            }
            Err(error) => {
                inner.metrics.trouble(Trouble::File);
                let text = format!("{error} (the one before is served)");
                inner.events.tell(EventKind::FileRefused, &path, &text);
                current.error = Some(text);
            }
        }
    }
}
