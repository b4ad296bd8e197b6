//! One name on its way to a certificate: lease, second look, order, store, put in force.

use crate::{
    Inner,
    acme::{Failure, Issued},
    certificate::Certificate,
    clock::after,
    drive,
    held::Held,
    metrics::Trouble,
    open::read,
    state::Attempt,
    stored::{self, StoredRetry, certificate_key, pending_key, retry_key},
    table::Origin,
};
use std::{sync::Arc, time::Duration};
use tidegate_config::Acme;
use tidegate_store::{Committed, Compare, Lease, Op, StoreError};
use time::OffsetDateTime;

/// Attempts to store a certificate that was issued.
const STORE_ATTEMPTS: u32 = 5;
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// One name on its way to a certificate.
pub(crate) struct Job {
    pub(crate) inner: Arc<Inner>,
    pub(crate) name: String,
    pub(crate) acme: Arc<Acme>,
    /// Of `acme`, to tell failures with other settings apart.
    pub(crate) settings: String,
}

/// How a turn ended.
enum Turn {
    /// A certificate is in force.
    Done,
    /// Another process is at it.
    Elsewhere,
    Failed(Failure),
    /// The store does not work.
    Store(StoreError),
}

impl Job {
    pub(crate) async fn run(self) {
        let turn = Box::pin(self.turn()).await;
        let now = self.inner.clock.now();
        match turn {
            Turn::Done => {
                self.inner.state.lock().attempts.remove(&self.name);
            }
            Turn::Elsewhere => {
                let mut state = self.inner.state.lock();
                let attempt = state.attempts.entry(self.name.clone()).or_default();
                attempt.next = Some(after(now, self.inner.schedule.contended));
                attempt.settings.clone_from(&self.settings);
            }
            Turn::Failed(failure) => self.failed(failure.text, failure.retry_after, now).await,
            Turn::Store(error) => self.failed(error.to_string(), None, now).await,
        }
        self.inner.state.lock().ordering.remove(&self.name);
        self.inner.wake.notify_one();
    }

    async fn turn(&self) -> Turn {
        let (store, schedule) = (&self.inner.store, &self.inner.schedule);
        let name = certificate_key(Origin::Acme, &self.name);
        let lease = match store.acquire(&name, &self.inner.holder, schedule.lease).await {
            Ok(Some(lease)) => lease,
            Ok(None) => return Turn::Elsewhere,
            Err(error) => return Turn::Store(error),
        };
        let turn = tokio::select! {
            turn = Box::pin(self.obtain(&lease)) => turn,
            () = self.keep(&lease) => Turn::Elsewhere,
        };
        if let Err(error) = store.release(&lease).await {
            tracing::debug!(%error, "a lease is left to end by itself");
        }
        turn
    }

    /// Prolongs the lease; returns when it is lost.
    async fn keep(&self, lease: &Lease) {
        let schedule = &self.inner.schedule;
        loop {
            tokio::time::sleep(schedule.lease / 3).await;
            let kept = self.inner.store.acquire(&lease.name, &lease.holder, schedule.lease).await;
            match kept {
                Ok(Some(kept)) if kept.token == lease.token => {}
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, "a lease is prolonged later"),
            }
        }
    }

    async fn obtain(&self, lease: &Lease) -> Turn {
        // Somebody may have had it issued while we waited for the lease.
        match self.stored().await {
            Ok(true) => return Turn::Done,
            Ok(false) => {}
            Err(error) => return Turn::Store(error),
        }
        tracing::info!(name = self.name, "orders a certificate");
        match self.inner.orders.obtain(&self.name, &self.acme).await {
            Ok(issued) => self.keep_issued(issued, lease).await,
            Err(failure) => Turn::Failed(failure),
        }
    }

    /// Takes a stored certificate that is not due; also what another process knows of failures.
    async fn stored(&self) -> Result<bool, StoreError> {
        let found = self.inner.store.get(&certificate_key(Origin::Acme, &self.name)).await?;
        let Some((stored, certificate)) = found.and_then(|entry| read(&entry).ok()) else {
            return Ok(false);
        };
        if is_due(&certificate, Some(&stored.authority), &self.acme, self.inner.clock.now()) {
            return Ok(false);
        }
        self.adopt(Held::new(certificate), stored.authority);
        Ok(true)
    }

    /// Stores what was issued, then puts it in force; the latter even if the store fails.
    async fn keep_issued(&self, issued: Issued, lease: &Lease) -> Turn {
        let ops = vec![
            Op::Put {
                key: certificate_key(Origin::Acme, &self.name),
                value: stored::encode(&issued.stored),
            },
            Op::Delete { key: pending_key(&self.name) },
            Op::Delete { key: retry_key(&self.name) },
        ];
        let mut outcome = Ok(());
        for attempt in 0..STORE_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(STORE_PAUSE).await;
            }
            let held = vec![Compare::Held(lease.clone())];
            match self.inner.store.txn(held, ops.clone()).await {
                Ok(Committed::Yes(_)) => {
                    outcome = Ok(());
                    break;
                }
                // Overtaken: the other's certificate comes by the watch.
                Ok(Committed::No) => return Turn::Elsewhere,
                Err(error) => outcome = Err(error),
            }
        }
        let not_after = issued.certificate.not_after;
        let authority = issued.stored.authority.clone();
        tracing::info!(name = self.name, authority, %not_after, "a certificate was issued");
        self.adopt(Held::new(issued.certificate), authority);
        match outcome {
            Ok(()) => Turn::Done,
            Err(error) => {
                self.inner.metrics.trouble(Trouble::Store);
                let key = (Origin::Acme, self.name.clone());
                self.inner.state.lock().unsaved.insert(key, issued.stored);
                Turn::Store(error)
            }
        }
    }

    fn adopt(&self, held: Arc<Held>, authority: String) {
        {
            // First, or a status would show the certificate beside the failure before it.
            let mut state = self.inner.state.lock();
            state.attempts.remove(&self.name);
            state.authorities.insert(self.name.clone(), authority);
        }
        // Even if another CA dated it earlier: it is the one that was ordered now.
        self.inner.managed.replace(Origin::Acme, &self.name, &held);
        drive::show(&self.inner);
    }

    /// Remembers a failure, also across restarts.
    async fn failed(&self, text: String, retry_after: Option<Duration>, now: OffsetDateTime) {
        self.inner.metrics.trouble(Trouble::Order);
        let stored: StoredRetry = {
            let mut state = self.inner.state.lock();
            let attempt: &mut Attempt = state.attempts.entry(self.name.clone()).or_default();
            attempt.failures = attempt.failures.saturating_add(1);
            let wait = self.inner.schedule.backoff(attempt.failures, &mut rand::rng());
            let wait = wait.max(retry_after.unwrap_or_default());
            attempt.next = Some(after(now, wait));
            attempt.error = Some(text);
            attempt.settings.clone_from(&self.settings);
            attempt.stored()
        };
        tracing::error!(
            name = self.name,
            error = stored.error,
            failures = stored.failures,
            "no certificate; it is tried again later"
        );
        let put = Op::Put { key: retry_key(&self.name), value: stored::encode(&stored) };
        if let Err(error) = self.inner.store.txn(vec![], vec![put]).await {
            tracing::debug!(%error, "a failed order is not remembered across restarts");
        }
    }
}

/// Whether a certificate is to be ordered anew: little of its life is left, or the issuer it
/// came from (a staging one, say) is no longer configured.
pub(crate) fn is_due(
    certificate: &Certificate,
    authority: Option<&String>,
    acme: &Acme,
    now: OffsetDateTime,
) -> bool {
    let foreign =
        authority.is_some_and(|name| acme.issuers.iter().all(|issuer| issuer.name != *name));
    foreign || certificate.renew_at(acme.renew_at_percent) <= now
}
