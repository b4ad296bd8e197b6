//! What happens to certificates, step by step: told in the log, counted, and the latest kept for
//! who asks.

use crate::clock::{Clock, rfc3339};
use parking_lot::Mutex;
use prometheus::{IntCounterVec, Opts, Registry};
use serde::Serialize;
use std::collections::VecDeque;

/// Events kept; the log has them all.
const KEPT: usize = 1000;

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Grows by one with each event of this process.
    pub id: u64,
    /// RFC 3339.
    pub at: String,
    /// What kind of step it was.
    pub kind: EventKind,
    /// Of which certificate: a name it is for, or its file. Empty where it is about all.
    pub name: String,
    /// What happened, for people.
    pub text: String,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident = $word:literal,)*) => {
        /// What kind of step an event is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum EventKind {
            $($(#[doc = $doc])* $kind,)*
        }

        impl EventKind {
            const ALL: &'static [Self] = &[$(Self::$kind),*];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)*
                }
            }
        }
    };
}

kinds! {
    /// Somebody asked for another certificate.
    Asked = "asked",
    /// A client brought a name that may be had on demand.
    Wished = "wished",
    /// A name on demand is no longer allowed, or no longer used.
    Withdrawn = "withdrawn",
    /// An order is placed, or gone on with.
    Ordering = "ordering",
    /// An authority was asked to look at a challenge.
    Proving = "proving",
    /// It is satisfied.
    Proved = "proved",
    /// There is a certificate.
    Issued = "issued",
    /// An issuer did not give one; others may.
    Refused = "refused",
    /// No issuer did: it is tried again later.
    Failed = "failed",
    /// Another process had one issued.
    Adopted = "adopted",
    /// Somebody brought one along.
    Imported = "imported",
    /// One was revoked, by us or by who issued it.
    Revoked = "revoked",
    /// An account was made or closed, or has another key.
    Account = "account",
    /// The internal CA has another root or intermediate.
    Authority = "authority",
    /// A file changed.
    File = "file",
    /// A file changed and cannot be used.
    FileRefused = "file_refused",
    /// A broken entry of the store was moved out of the way.
    KeptAside = "kept_aside",
}

impl EventKind {
    fn is_trouble(self) -> bool {
        matches!(self, Self::Failed | Self::Revoked | Self::FileRefused | Self::KeptAside)
    }
}

/// The events of this process.
#[derive(Debug)]
pub(crate) struct Events {
    clock: Clock,
    latest: Mutex<Latest>,
    /// `tidegate_certificate_events_total{kind}`
    counts: IntCounterVec,
}

#[derive(Debug, Default)]
struct Latest {
    next: u64,
    events: VecDeque<Event>,
}

impl Events {
    pub(crate) fn register(registry: &Registry, clock: Clock) -> Result<Self, prometheus::Error> {
        let counts = IntCounterVec::new(
            Opts::new(
                "tidegate_certificate_events_total",
                "Steps on the way of certificates, by kind",
            ),
            &["kind"],
        )?;
        registry.register(Box::new(counts.clone()))?;
        for kind in EventKind::ALL {
            counts.with_label_values(&[kind.word()]);
        }
        Ok(Self { clock, latest: Mutex::default(), counts })
    }

    /// Something happened.
    pub(crate) fn tell(&self, kind: EventKind, name: &str, text: impl Into<String>) {
        let (word, text) = (kind.word(), text.into());
        match kind.is_trouble() {
            true => tracing::error!(event = word, name, "{text}"),
            false => tracing::info!(event = word, name, "{text}"),
        }
        self.counts.with_label_values(&[word]).inc();
        let at = rfc3339(self.clock.now());
        let mut latest = self.latest.lock();
        let id = latest.next + 1;
        latest.next = id;
        if latest.events.len() == KEPT {
            latest.events.pop_front();
        }
        latest.events.push_back(Event { id, at, kind, name: name.to_owned(), text });
    }

    /// Those after `id`, the oldest first.
    pub(crate) fn after(&self, id: u64) -> Vec<Event> {
        let latest = self.latest.lock();
        latest.events.iter().filter(|event| event.id > id).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_all_are_counted() {
        let events = Events::register(&Registry::new(), Clock::default()).unwrap();
        for _ in 0..KEPT + 5 {
            events.tell(EventKind::Issued, "a.example.com", "text");
        }
        let kept = events.after(0);
        assert_eq!((kept.len(), kept[0].id), (KEPT, 6));
        assert_eq!(events.after(KEPT as u64 + 4).len(), 1);
        assert_eq!(events.counts.with_label_values(&["issued"]).get(), KEPT as u64 + 5);
        assert_eq!(events.counts.with_label_values(&["failed"]).get(), 0);
    }
}
