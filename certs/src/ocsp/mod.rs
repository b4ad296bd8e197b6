//! OCSP stapling: certificates that name a responder are shown with its latest answer (RFC 6066
//! section 8), so that clients need not ask, and one that is revoked is replaced.
//!
//! A connection never waits for a responder. An answer is fetched anew when half of its time is
//! over, and shown until its end if no other can be had.

mod fetch;
mod request;
mod response;

pub(crate) use request::Question;

use crate::{Inner, clock::after, event::EventKind, held::Held, metrics::Stapled, table::Origin};
use response::{Answer, Standing};
use std::{sync::Arc, time::Duration};
use time::OffsetDateTime;
use tokio::task::JoinSet;

/// How often is looked for what is due.
const TICK: Duration = Duration::from_secs(1);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(300);
/// Answers are good for days; one for less is not asked for more often.
const LEAST: Duration = Duration::from_secs(60);
/// Between two orders in the place of certificates that a responder calls revoked.
const REPLACE: Duration = Duration::from_secs(3600);
/// Responders asked at a time.
const AT_ONCE: usize = 8;

/// What is shown of a certificate's standing, and when it is looked at again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Staple {
    /// Nothing is shown without.
    pub(crate) until: Option<OffsetDateTime>,
    next: Option<OffsetDateTime>,
    pub(crate) is_revoked: bool,
}

/// Keeps staples fresh; ends never.
pub(crate) async fn staple(inner: &Arc<Inner>) {
    let mut asking = JoinSet::new();
    loop {
        for held in served(inner) {
            let now = inner.clock.now();
            held.drop_old_staple(now);
            // One that serves several names comes several times.
            if asking.len() >= AT_ONCE || !held.is_to_be_asked(now) {
                continue;
            }
            // Until then nobody else asks; an answer says when to ask again.
            held.ask_again_at(now + AGAIN);
            asking.spawn(ask(Arc::clone(inner), held));
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            Some(_) = asking.join_next() => {}
        }
    }
}

/// What is shown to clients and names a responder that is to be asked, or whose answer has ended.
fn served(inner: &Inner) -> Vec<Arc<Held>> {
    let now = inner.clock.now();
    let state = inner.state.lock();
    let table = inner.managed.load();
    // Also what nobody wants any more: it is shown to who asks for it.
    let managed = table.of(Origin::Acme).values();
    let files = state.files.values().map(|pair| &pair.loaded.held);
    managed.chain(files).filter(|held| held.is_to_be_asked(now)).cloned().collect()
}

async fn ask(inner: Arc<Inner>, held: Arc<Held>) {
    let Some(question) = held.certificate.question.as_ref() else { return };
    let name = held.certificate.names.first().map_or("", String::as_str);
    let answer = fetch::post(&question.url, question.der()).await;
    let now = inner.clock.now();
    let checked = answer.and_then(|bytes| Ok((response::check(&bytes, question, now)?, bytes)));
    let stapled = match checked {
        Ok((answer @ Answer { standing: Standing::Good, .. }, bytes)) => {
            let half: OffsetDateTime = answer.since + (answer.until - answer.since) / 2;
            let next = half.max(now + LEAST).min(answer.until.max(now + LEAST));
            held.show_staple(bytes.to_vec(), answer.until, next);
            tracing::debug!(name, until = %answer.until, "an OCSP answer is stapled");
            Stapled::Good
        }
        Ok((Answer { standing: Standing::Revoked, .. }, _)) => {
            if held.note_revoked() {
                let text = format!("{} is revoked by who issued it", held.certificate.serial);
                inner.events.tell(EventKind::Revoked, name, text);
            }
            replace(&inner, &held);
            Stapled::Revoked
        }
        Ok((Answer { standing: Standing::Unknown, .. }, _)) => {
            tracing::warn!(
                name,
                url = question.url,
                "the OCSP responder does not know the certificate"
            );
            Stapled::Failed
        }
        Err(cause) => {
            tracing::warn!(name, cause, "no OCSP answer");
            Stapled::Failed
        }
    };
    inner.metrics.stapled(stapled);
}

/// Has another ordered in the place of a revoked certificate, if it came from an authority: at
/// once, but not again and again where a responder calls each new one revoked.
fn replace(inner: &Inner, revoked: &Arc<Held>) {
    let now = inner.clock.now();
    let table = inner.managed.load();
    let mut state = inner.state.lock();
    let due = |name: &&String| {
        let shown = table.of(Origin::Acme).get(name);
        let last = state.replaced.get(*name).copied();
        shown.is_some_and(|held| Arc::ptr_eq(held, revoked))
            && last.is_none_or(|last| !(last..after(last, REPLACE)).contains(&now))
    };
    let names: Vec<String> = state.ordered(now).filter(due).cloned().collect();
    for name in names {
        state.replaced.insert(name.clone(), now);
        state.renew.insert(name);
    }
    drop(state);
    inner.wake.notify_one();
}

impl Staple {
    /// Whether the responder is to be asked, or its answer has ended.
    pub(crate) fn is_due(&self, now: OffsetDateTime) -> bool {
        self.next.is_none_or(|next| next <= now) || self.has_ended(now)
    }

    /// Whether an answer is shown that is good no longer.
    pub(crate) fn has_ended(&self, now: OffsetDateTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    pub(crate) fn again_at(&mut self, next: OffsetDateTime) {
        self.next = Some(next);
    }
}
