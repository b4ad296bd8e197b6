//! How often an authority is asked: a pace of our own, and what it asked for itself
//! (`Retry-After` on 429 and 503). Both are in the store, per account: a restart, a change of
//! the configuration or another node does not begin anew.

use super::failure::{Failure, Scope};
use crate::{
    clock::{Clock, rfc3339},
    gcra::gcra,
    stored::{self, StoredThrottle},
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tidegate_config::{Issuer, Rate};
use tidegate_store::{Committed, Compare, Op, Revision, Store};
use time::OffsetDateTime;

/// Orders without a rate of their own: as the best known client does it, ten at once and then one
/// a second.
const USUAL: Rate = Rate { count: 10, per: Duration::from_secs(10) };
/// What Let's Encrypt allows an account.
const LETS_ENCRYPT: Rate = Rate { count: 300, per: Duration::from_secs(3 * 3600) };
/// The longest that an account rests. A name waits as long as its order was told to; what was said
/// to it may be about it alone, and must not keep all others from being renewed.
const MAX_HOLD: Duration = Duration::from_secs(3600);
/// Attempts to register: five, and then one a minute.
const ACCOUNTS: Rate = Rate { count: 5, per: Duration::from_secs(300) };
/// Turns to change the record while others do.
const TURNS: u32 = 8;

/// The records of this process, and where they are kept.
#[derive(Debug)]
pub(super) struct Throttles {
    store: Arc<dyn Store>,
    clock: Clock,
    /// For when the store is away: as many as issuers were ever configured.
    known: Mutex<HashMap<String, StoredThrottle>>,
}

/// For whom places are taken at an account: names on demand have records of their own beside the
/// common ones, so that what strangers ask for leaves half of the pace to the names of the document,
/// and what an authority says to it is no word to them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane<'a> {
    pub(super) slug: &'a str,
    pub(super) issuer: &'a Issuer,
    /// Whether it is for a name on demand.
    pub(super) demanded: bool,
}

impl Lane<'_> {
    /// The records that count, and what each allows.
    fn records(&self) -> Vec<(String, Rate)> {
        let rate = self.issuer.orders.unwrap_or_else(|| usual(&self.issuer.directory));
        let mut records = vec![(self.slug.to_owned(), rate)];
        if self.demanded {
            let half = Rate { count: (rate.count / 2).max(1), ..rate };
            records.insert(0, (format!("{}.demand", self.slug), half));
        }
        records
    }
}

impl Throttles {
    pub(super) fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock, known: Mutex::default() }
    }

    /// Whether the authority wants to be left alone: a failure that says until when.
    pub(super) async fn held(&self, lane: &Lane<'_>) -> Option<Failure> {
        for (slug, _) in lane.records() {
            let (record, _) = self.read(&slug).await;
            if let Some(failure) = self.hold_of(&record) {
                return Some(failure);
            }
        }
        None
    }

    /// Whether there is a place for one order now: to find out costs nobody anything.
    pub(super) async fn has_room(&self, lane: &Lane<'_>) -> Result<(), Failure> {
        for (slug, rate) in lane.records() {
            let (record, _) = self.read(&slug).await;
            gcra(record.tat_ms, millis(self.clock.now()), rate).map_err(turn)?;
        }
        Ok(())
    }

    /// Takes a place for one order, or says when there is one.
    pub(super) async fn admit(&self, lane: &Lane<'_>) -> Result<(), Failure> {
        for (slug, rate) in lane.records() {
            self.take(&slug, rate).await?;
        }
        Ok(())
    }

    /// The same for one attempt to register an account: where that fails, it fails for every name.
    pub(super) async fn admit_account(&self, slug: &str) -> Result<(), Failure> {
        let taken = self.take(&format!("{slug}.account"), ACCOUNTS).await;
        taken.map_err(|failure| match failure.scope {
            Scope::Turn => Failure { scope: Scope::Busy, ..failure },
            _ => failure,
        })
    }

    async fn take(&self, slug: &str, rate: Rate) -> Result<(), Failure> {
        for _ in 0..TURNS {
            let (mut record, revision) = self.read(slug).await;
            if let Some(failure) = self.hold_of(&record) {
                return Err(failure);
            }
            match gcra(record.tat_ms, millis(self.clock.now()), rate) {
                Ok(tat_ms) => record.tat_ms = tat_ms,
                Err(wait) => return Err(turn(wait)),
            }
            if self.write(slug, &record, revision).await {
                return Ok(());
            }
        }
        Err(turn(Duration::from_secs(1)))
    }

    /// Remembers that the authority wants no orders for `wait`.
    pub(super) async fn hold(&self, lane: &Lane<'_>, wait: Duration) {
        let Some((slug, _)) = lane.records().into_iter().next() else { return };
        let slug = slug.as_str();
        let wait = wait.min(MAX_HOLD);
        for _ in 0..TURNS {
            let (mut record, revision) = self.read(slug).await;
            let until = crate::clock::after(self.clock.now(), wait).unix_timestamp();
            record.hold_until = record.hold_until.max(until);
            if self.write(slug, &record, revision).await {
                return;
            }
        }
    }

    fn hold_of(&self, record: &StoredThrottle) -> Option<Failure> {
        let until = OffsetDateTime::from_unix_timestamp(record.hold_until).ok()?;
        let wait = self.clock.until(until);
        // Longer than anything that is believed: the clock was set back since.
        (!wait.is_zero() && wait <= super::transport::MAX_RETRY_AFTER).then(|| Failure {
            text: format!(
                "it asked to be left alone until {}: wait, nothing is lost",
                rfc3339(until)
            ),
            scope: Scope::Authority,
            retry_after: Some(wait),
        })
    }

    /// The record and, where the store gave it, its revision.
    async fn read(&self, slug: &str) -> (StoredThrottle, Option<Revision>) {
        let remembered = || self.known.lock().get(slug).cloned().unwrap_or_default();
        match self.store.get(&stored::throttle_key(slug)).await {
            Ok(Some(entry)) => match stored::decode(&entry.value) {
                Ok(record) => (record, Some(entry.revision)),
                Err(_) => (remembered(), Some(entry.revision)),
            },
            Ok(None) => (remembered(), Some(Revision(0))),
            Err(_) => (remembered(), None),
        }
    }

    /// Says whether it is done; not if another was quicker. Without a store it is remembered.
    async fn write(&self, slug: &str, record: &StoredThrottle, revision: Option<Revision>) -> bool {
        let key = stored::throttle_key(slug);
        if let Some(is) = revision {
            let compare = Compare::Revision { key: key.clone(), is };
            let put = Op::Put { key, value: stored::encode(record) };
            if matches!(self.store.txn(vec![compare], vec![put]).await, Ok(Committed::No)) {
                return false;
            }
        }
        self.known.lock().insert(slug.to_owned(), record.clone());
        true
    }
}

fn turn(wait: Duration) -> Failure {
    let text = "others come first".to_owned();
    Failure { text, scope: Scope::Turn, retry_after: Some(wait) }
}

fn usual(directory: &str) -> Rate {
    if directory.contains(".letsencrypt.org/") { LETS_ENCRYPT } else { USUAL }
}

fn millis(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_encrypt_has_its_own_rate() {
        assert_eq!(usual("https://acme-v02.api.letsencrypt.org/directory"), LETS_ENCRYPT);
        assert_eq!(usual("https://ca.example/dir"), USUAL);
    }

    #[tokio::test]
    async fn names_on_demand_leave_half_of_the_pace_and_keep_their_trouble_to_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = tidegate_store::Sqlite::open(dir.path()).unwrap();
        let clock = Clock::new(|| OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap());
        let throttles = Throttles::new(Arc::new(store.clone()), clock);
        let text = "[acme]\nissuers = [{ name = \"a\", directory = \"https://a.example/d\", \
                    orders = \"10/h\" }]\n[listeners.l]\naddress = \"127.0.0.1:1\"\n";
        let acme = tidegate_config::parse(text, "t.toml").unwrap().config.acme.unwrap();
        let issuer = &acme.issuers[0];
        let lane = |demanded| Lane { slug: "a", issuer, demanded };
        for _ in 0..5 {
            assert!(throttles.has_room(&lane(true)).await.is_ok());
            throttles.admit(&lane(true)).await.unwrap();
        }
        assert_eq!(throttles.admit(&lane(true)).await.unwrap_err().scope, Scope::Turn);
        assert!(throttles.has_room(&lane(true)).await.is_err());
        for _ in 0..5 {
            throttles.admit(&lane(false)).await.unwrap();
        }
        assert!(throttles.admit(&lane(false)).await.is_err(), "together no more than the pace");

        throttles.hold(&lane(true), Duration::from_secs(600)).await;
        assert!(throttles.held(&lane(true)).await.is_some());
        assert!(throttles.held(&lane(false)).await.is_none());
        throttles.hold(&lane(false), Duration::from_secs(600)).await;
        assert!(throttles.held(&lane(false)).await.is_some());
        store.close().await;
    }
}
