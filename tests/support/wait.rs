//! Waiting for events, never for time: each wait ends as soon as what it waits for is there,
//! and fails by name when it does not come.

use std::{future::Future, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take that should be immediate; generous because tests share cores.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `probe` every 10 ms until it has an answer.
///
/// # Panics
/// When none came within [`PATIENCE`]; `what` says what was missing.
pub async fn eventually<T, F>(what: &str, probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_within(PATIENCE, what, probe).await
}

/// As [`eventually`], for what takes its time.
pub async fn eventually_within<T, F>(
    patience: Duration,
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Awaits `future`, which must end within [`PATIENCE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for: {what}"),
    }
}
