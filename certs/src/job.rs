//! One name on its way to a certificate: lease, second look, order, store, put in force.

use crate::{
    Inner,
    acme::{Failure, Issued, Request, Scope},
    certificate::Certificate,
    clock::{after, rfc3339},
    drive,
    event::EventKind,
    held::Held,
    import::IMPORTED,
    metrics::Trouble,
    on_demand,
    open::read,
    save::Leaf,
    state::{Attempt, Issuance},
    stored::{self, StoredRenewal, StoredRetry, certificate_key, retry_key},
    table::Origin,
};
use std::{sync::Arc, time::Duration};
use tidegate_config::Acme;
use tidegate_store::{Committed, Compare, Lease, Op, Store, StoreError};
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
    /// There is to be none: it was had on demand and is no longer allowed.
    Withdrawn,
    /// Another process is at it.
    Elsewhere,
    Failed(Failure),
    /// The store does not work.
    Store(StoreError),
}

impl Job {
    pub(crate) async fn run(self) {
        let (store, schedule) = (&self.inner.store, &self.inner.schedule);
        let name = certificate_key(Origin::Acme, &self.name);
        match store.acquire(&name, &self.inner.holder, schedule.lease).await {
            Ok(Some(lease)) => {
                let turn = tokio::select! {
                    turn = Box::pin(self.obtain(&lease)) => turn,
                    () = keep(store, &lease, schedule.lease) => Turn::Elsewhere,
                };
                self.end(turn, Some(&lease)).await;
                if let Err(error) = store.release(&lease).await {
                    tracing::debug!(%error, "a lease is left to end by itself");
                }
            }
            Ok(None) => self.end(Turn::Elsewhere, None).await,
            Err(error) => self.end(Turn::Store(error), None).await,
        }
        self.inner.state.lock().ordering.remove(&self.name);
        self.inner.wake.notify_one();
    }

    async fn end(&self, turn: Turn, lease: Option<&Lease>) {
        match turn {
            Turn::Done | Turn::Withdrawn => {
                let mut state = self.inner.state.lock();
                state.attempts.remove(&self.name);
                state.renew.remove(&self.name);
            }
            Turn::Elsewhere => self.wait(self.inner.schedule.contended),
            Turn::Failed(failure) if matches!(failure.scope, Scope::Turn | Scope::Busy) => {
                self.wait(failure.retry_after.unwrap_or_default());
            }
            Turn::Failed(failure) => self.failed(failure.text, failure.retry_after, lease).await,
            Turn::Store(error) => self.failed(error.to_string(), None, lease).await,
        }
    }

    /// Tries again after `wait`; nothing has failed.
    fn wait(&self, wait: Duration) {
        let now = self.inner.clock.now();
        let mut state = self.inner.state.lock();
        let attempt = state.attempts.entry(self.name.clone()).or_default();
        attempt.next = Some(after(now, wait));
        attempt.settings.clone_from(&self.settings);
    }

    async fn obtain(&self, lease: &Lease) -> Turn {
        // Somebody may have had it issued while we waited for the lease.
        match self.stored().await {
            Ok(true) => return Turn::Done,
            Ok(false) => {}
            Err(error) => return Turn::Store(error),
        }
        match on_demand::recheck(&self.inner, &self.name).await {
            Ok(true) => {}
            Ok(false) => return Turn::Withdrawn,
            Err(failure) => return Turn::Failed(failure),
        }
        let rehearse =
            self.inner.state.lock().attempts.get(&self.name).is_some_and(|at| at.failures > 0);
        let (name, acme) = (self.name.as_str(), self.acme.as_ref());
        let replaces = self.held_from();
        let demanded = !self.inner.state.lock().names(Origin::Acme, name);
        let request = Request { name, acme, lease, rehearse, demanded, replaces };
        match self.inner.orders.obtain(&request).await {
            Ok(issued) => self.keep_issued(issued, lease).await,
            Err(failure) => Turn::Failed(failure),
        }
    }

    /// Takes a stored certificate that is not due.
    async fn stored(&self) -> Result<bool, StoreError> {
        let found = self.inner.store.get(&certificate_key(Origin::Acme, &self.name)).await?;
        let Some(entry) = found else { return Ok(false) };
        let Ok((stored, certificate)) = read(&entry) else { return Ok(false) };
        let issued = Issuance::of(&stored);
        let (renewal, asked) = {
            let state = self.inner.state.lock();
            (state.renewals.get(&self.name).cloned(), state.renew.contains(&self.name))
        };
        let now = self.inner.clock.now();
        // The one in force is to be replaced, whatever its dates say.
        let unwanted = self
            .inner
            .managed
            .load()
            .of(Origin::Acme)
            .get(&self.name)
            .is_some_and(|held| asked && held.certificate.serial == certificate.serial);
        if unwanted || is_due(&certificate, Some(&issued), &self.acme, renewal.as_ref(), now) {
            return Ok(false);
        }
        self.adopt(Held::stored(certificate, entry.revision), issued);
        Ok(true)
    }

    /// The certificate in force: its authority and how that calls it.
    fn held_from(&self) -> Option<(String, String)> {
        let table = self.inner.managed.load();
        let id = table.of(Origin::Acme).get(&self.name)?.certificate.renewal_id.clone()?;
        let state = self.inner.state.lock();
        Some((state.issued.get(&self.name)?.authority.clone(), id))
    }

    /// Stores what was issued, then puts it in force; the latter even if the store fails.
    async fn keep_issued(&self, issued: Issued, lease: &Lease) -> Turn {
        let ops = stored::issued(&self.name, &issued.stored);
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
        let issuance = Issuance::of(&issued.stored);
        let authority = &issuance.authority;
        let text = format!("{authority}: until {}", rfc3339(not_after));
        self.inner.events.tell(EventKind::Issued, &self.name, text);
        let held = Held::new(issued.certificate);
        self.adopt(Arc::clone(&held), issuance);
        match outcome {
            Ok(()) => Turn::Done,
            Err(error) => {
                self.inner.metrics.trouble(Trouble::Store);
                let key = (Origin::Acme, self.name.clone());
                self.inner.state.lock().unsaved.insert(key, Leaf { held, stored: issued.stored });
                Turn::Store(error)
            }
        }
    }

    fn adopt(&self, held: Arc<Held>, issued: Issuance) {
        {
            // First, or a status would show the certificate beside the failure before it.
            let mut state = self.inner.state.lock();
            state.attempts.remove(&self.name);
            state.issued.insert(self.name.clone(), issued);
        }
        // Even if another CA dated it earlier: it is the one that was ordered now.
        self.inner.managed.replace(&[(Origin::Acme, self.name.clone(), held)]);
        self.inner.news.send_replace(());
        drive::show(&self.inner);
    }

    /// Remembers a failure, also across restarts.
    async fn failed(&self, text: String, retry_after: Option<Duration>, lease: Option<&Lease>) {
        let now = self.inner.clock.now();
        self.inner.metrics.trouble(Trouble::Order);
        let stored: StoredRetry = {
            let mut state = self.inner.state.lock();
            let attempt: &mut Attempt = state.attempts.entry(self.name.clone()).or_default();
            attempt.failures = attempt.failures.saturating_add(1);
            attempt.first.get_or_insert(now);
            let wait = self.inner.schedule.backoff(attempt.failures, &mut rand::rng());
            let wait = wait.max(retry_after.unwrap_or_default());
            attempt.next = Some(after(now, wait));
            attempt.error = Some(text);
            attempt.settings.clone_from(&self.settings);
            attempt.stored()
        };
        let text = format!("{} (failure {}; tried again later)", stored.error, stored.failures);
        self.inner.events.tell(EventKind::Failed, &self.name, text);
        self.inner.news.send_replace(());
        let put = Op::Put { key: retry_key(&self.name), value: stored::encode(&stored) };
        let held = lease.map(|lease| Compare::Held(lease.clone())).into_iter().collect();
        if let Err(error) = self.inner.store.txn(held, vec![put]).await {
            tracing::debug!(%error, "a failed order is not remembered across restarts");
        }
    }
}

/// Prolongs a lease; returns when it is lost.
pub(crate) async fn keep(store: &Arc<dyn Store>, lease: &Lease, ttl: Duration) {
    loop {
        tokio::time::sleep(ttl / 3).await;
        match store.acquire(&lease.name, &lease.holder, ttl).await {
            Ok(Some(kept)) if kept.token == lease.token => {}
            Ok(_) => return,
            Err(error) => tracing::debug!(%error, "a lease is prolonged later"),
        }
    }
}

/// Whether a certificate is to be ordered anew: little of its life is left, it is revoked, or the
/// issuer it came from (a staging one, say) is no longer configured.
pub(crate) fn is_due(
    certificate: &Certificate,
    issued: Option<&Issuance>,
    acme: &Acme,
    renewal: Option<&StoredRenewal>,
    now: OffsetDateTime,
) -> bool {
    let foreign = issued
        .filter(|issued| issued.authority != IMPORTED)
        .is_some_and(|issued| acme.issuers.iter().all(|issuer| issuer.name != issued.authority));
    let rested = issued.and_then(|issued| issued.at).is_none_or(|at| {
        // A clock that was set back must not hold a renewal up for ever.
        now < at || after(at, rest(certificate)) <= now
    });
    let revoked = renewal.is_some_and(|renewal| {
        renewal.revoked && certificate.renewal_id.as_ref() == Some(&renewal.certificate)
    });
    foreign || revoked || rested && renews_at(certificate, acme, renewal) <= now
}

/// When a certificate is renewed: as its authority suggests, but never in its last days; else
/// when a part of its life is left.
pub(crate) fn renews_at(
    certificate: &Certificate,
    acme: &Acme,
    renewal: Option<&StoredRenewal>,
) -> OffsetDateTime {
    let suggested = renewal
        .filter(|renewal| certificate.renewal_id.as_ref() == Some(&renewal.certificate))
        .and_then(|renewal| OffsetDateTime::from_unix_timestamp(renewal.chosen?).ok());
    match suggested {
        Some(at) => at.min(certificate.renew_by()),
        None => certificate.renew_at(acme.renew_at_percent),
    }
}

/// How long a certificate is left alone once it was had, even if its dates say that it is due:
/// where a clock is wrong, they say so of each new one too.
fn rest(certificate: &Certificate) -> Duration {
    (certificate.lifetime() / 20).min(Duration::from_secs(3600))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::tests::pem;

    #[test]
    fn a_certificate_that_is_due_when_it_comes_is_not_ordered_in_a_loop() {
        let text =
            "[acme]\nissuers = [\"letsencrypt\"]\n[listeners.l]\naddress = \"127.0.0.1:1\"\n";
        let acme = tidegate_config::parse(text, "t.toml").unwrap().config.acme.unwrap();
        let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let (chain, key) = pem(&["a.example.com"], start, 90);
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let days = |days: i64| start + time::Duration::days(days);
        // Our clock is 80 days ahead of the authority's.
        let issued = Issuance { authority: "letsencrypt".into(), at: Some(days(80)) };
        let due = |issued: &Issuance, now| is_due(&certificate, Some(issued), &acme, None, now);
        assert!(!due(&issued, days(80) + time::Duration::minutes(59)));
        assert!(due(&issued, days(80) + time::Duration::minutes(61)));
        assert!(due(&issued, days(70)), "the clock was put right");
        assert!(!due(&issued, days(30)));
        let removed = Issuance { authority: "staging".into(), ..issued };
        assert!(due(&removed, days(0)));
    }
}
