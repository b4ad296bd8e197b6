//! The way to one name, for everybody who waits for it: ask, wish, and see what comes of it.

use super::{OnDemand, Outcome, permission::Word, wishes};
use crate::{Inner, event::EventKind, state::Attempt, stored, table::Origin};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// Names on their way at the same time.
pub(crate) const MAX_FLIGHTS: usize = 64;
/// A denied name is refused for so long without asking again.
const DENIED: Duration = Duration::from_secs(300);
/// The same of one that is still on its way: who comes after that may wait again.
const LATE: Duration = Duration::from_secs(5);
/// The same where nobody could say.
const SILENT: Duration = Duration::from_secs(60);

/// Sends flights out; ends never. Those under way end with it.
pub(crate) async fn serve(inner: &Arc<Inner>) {
    let departures = inner.departures.lock().take();
    let Some(mut departures) = departures else { return };
    let mut flying = JoinSet::new();
    loop {
        tokio::select! {
            Some(flight) = departures.recv() => {
                // One too many lands by being dropped.
                if flying.len() < MAX_FLIGHTS {
                    flying.spawn(flight.run(Arc::clone(inner)));
                }
            }
            Some(_) = flying.join_next() => {}
        }
    }
}

/// Lands when it is dropped, wherever that is.
pub(crate) struct Flight {
    on_demand: Arc<OnDemand>,
    name: String,
    landed: watch::Sender<Option<Outcome>>,
    end: Option<End>,
}

/// How a flight ended, and how long that is remembered.
type End = (Outcome, Option<Duration>);

impl Flight {
    pub(super) fn new(
        on_demand: Arc<OnDemand>,
        name: String,
        landed: watch::Sender<Option<Outcome>>,
    ) -> Self {
        Self { on_demand, name, landed, end: None }
    }

    async fn run(mut self, inner: Arc<Inner>) {
        self.end = Some(self.fly(&inner).await);
    }

    async fn fly(&self, inner: &Inner) -> End {
        let mut news = inner.news.subscribe();
        if let Some(end) = self.seen(inner) {
            return end;
        }
        if let Err(end) = self.wish(inner).await {
            return end;
        }
        let coming = async {
            loop {
                if let Some(end) = self.seen(inner) {
                    return end;
                }
                if news.changed().await.is_err() {
                    return (Outcome::Busy, None);
                }
            }
        };
        let wait = self.on_demand.settings.wait;
        timeout(wait, coming).await.unwrap_or((Outcome::Late, Some(LATE)))
    }

    /// What is there already: a certificate, or a failure that is not tried again yet.
    fn seen(&self, inner: &Inner) -> Option<End> {
        if inner.managed.load().of(Origin::Acme).find(&self.name).is_some() {
            return Some((Outcome::Served, None));
        }
        let state = inner.state.lock();
        let attempt = state.attempts.get(&self.name).filter(|attempt| attempt.failures > 0)?;
        let given_up = attempt.is_given_up(&inner.schedule, inner.clock.now());
        let wait = match given_up {
            true => DENIED,
            false => inner.clock.until(attempt.next?),
        };
        (!wait.is_zero()).then_some((Outcome::Failed, Some(wait)))
    }

    /// Has the name ordered by whoever leads, if it is allowed and not on its way already.
    async fn wish(&self, inner: &Inner) -> Result<(), End> {
        let name = self.name.as_str();
        if wishes::used(inner, name) {
            return self.failed_elsewhere(inner).await;
        }
        self.room(inner)?;
        match self.on_demand.permission.ask(name).await {
            Word::Yes => {}
            Word::No => return Err((Outcome::Denied, Some(DENIED))),
            Word::Silence(cause) => {
                tracing::warn!(name, cause, "nobody says whether a certificate is allowed");
                return Err((Outcome::Failed, Some(SILENT)));
            }
        }
        self.room(inner)?;
        inner.events.tell(EventKind::Wished, name, "brought by a client, and allowed");
        if let Err(error) = wishes::add(inner, name).await {
            tracing::warn!(%error, name, "a certificate on demand is not ordered");
            return Err((Outcome::Failed, Some(SILENT)));
        }
        Ok(())
    }

    /// As many names more as are on their way may get in at the same time.
    fn room(&self, inner: &Inner) -> Result<(), End> {
        let most = self.on_demand.settings.max_names.get();
        if inner.state.lock().wishes.len() < most {
            return Ok(());
        }
        tracing::warn!(
            name = self.name,
            most,
            "no more certificates on demand: `max_names` reached"
        );
        Err((Outcome::Full, None))
    }

    /// What another process that leads has failed at.
    async fn failed_elsewhere(&self, inner: &Inner) -> Result<(), End> {
        let Ok(Some(entry)) = inner.store.get(&stored::retry_key(&self.name)).await else {
            return Ok(());
        };
        let Ok(retry) = stored::decode(&entry.value) else { return Ok(()) };
        let latest = crate::clock::after(inner.clock.now(), inner.schedule.backoff_max);
        let wait = Attempt::of(retry, latest).next.map(|next| inner.clock.until(next));
        match wait.filter(|wait| !wait.is_zero()) {
            Some(wait) => Err((Outcome::Failed, Some(wait))),
            None => Ok(()),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let refused = self.end.and_then(|(outcome, remember)| Some((outcome, remember?)));
        // Before anybody hears of it: who comes now is refused, or finds the certificate.
        self.on_demand.book.lock().land(&self.name, refused, self.on_demand.now());
        if let Some((outcome, _)) = self.end {
            self.landed.send_replace(Some(outcome));
        }
    }
}
