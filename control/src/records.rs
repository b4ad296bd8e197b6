//! The runtime state as it lies in the store: one JSON record per service whose weights the
//! API set, one per endpoint a person took out.
//!
//! A record knows the store revision that wrote it, so that a change made by this process and
//! seen again through the watch is recognised, and a change by another process (two run during
//! an upgrade of the binary) is not lost.

mod codec;

pub(crate) use codec::Record;

use crate::{clock::Stamp, keys::Key};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};
use tidegate_config::{Config, Name, Weight};
use tidegate_release::{EndpointAdmin, RuntimeState};
use tidegate_store::{Change, Entry, Revision};

/// The weights of one service, as the API set them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightsRecord {
    /// What was asked for; a version that is not named has weight 0.
    pub(crate) weights: BTreeMap<Name, Weight>,
    /// The document's weights at that moment: an edit since then is drift.
    pub(crate) document: BTreeMap<Name, Weight>,
    /// Who, when, why.
    pub(crate) stamp: Stamp,
}

/// What a person said of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointRecord {
    pub(crate) admin: EndpointAdmin,
    pub(crate) stamp: Stamp,
}

/// A record with the revision that wrote it; `Revision(0)` while it waits to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held<T> {
    pub(crate) record: T,
    pub(crate) revision: Revision,
}

/// All records of the runtime state, in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) weights: BTreeMap<Name, Held<WeightsRecord>>,
    pub(crate) endpoints: BTreeMap<(Name, SocketAddr), Held<EndpointRecord>>,
    /// Keys this process deleted, until the watch has passed the deletion: an older change that
    /// arrives late must not bring them back.
    buried: BTreeMap<Key, Revision>,
    /// Keys whose value this version cannot read, with the reason. They change nothing.
    pub(crate) unreadable: BTreeMap<String, String>,
}

impl Records {
    /// The records of a range over the runtime prefix.
    pub(crate) fn read(entries: Vec<Entry>) -> Self {
        let mut records = Self::default();
        for entry in entries {
            records.put(entry);
        }
        records
    }

    /// Takes over a change seen by the watch. Says whether anything is different now.
    pub(crate) fn absorb(&mut self, change: Change) -> bool {
        let at = match &change {
            Change::Put(entry) => entry.revision,
            Change::Delete { revision, .. } => *revision,
        };
        let different = match change {
            Change::Put(entry) => self.put(entry),
            Change::Delete { key, revision } => self.delete(&key, revision),
        };
        self.buried.retain(|_, buried| *buried > at);
        different
    }

    fn put(&mut self, entry: Entry) -> bool {
        let Some(key) = Key::parse(&entry.key) else {
            return self.distrust(entry.key, "not a key this version knows".to_owned());
        };
        if self.revision(&key).max(self.buried.get(&key).copied()) >= Some(entry.revision) {
            return false;
        }
        match codec::decode(&key, &entry.value) {
            Ok(record) => {
                self.unreadable.remove(&entry.key);
                self.insert(&key, record, entry.revision);
                true
            }
            Err(cause) => self.distrust(entry.key, cause.to_string()),
        }
    }

    fn distrust(&mut self, key: String, cause: String) -> bool {
        tracing::error!(key, cause, "a record of the runtime state cannot be read; ignored");
        self.unreadable.insert(key, cause);
        true
    }

    fn delete(&mut self, key: &str, at: Revision) -> bool {
        let unreadable = self.unreadable.remove(key).is_some();
        let Some(key) = Key::parse(key) else { return unreadable };
        match self.revision(&key) {
            Some(held) if held <= at => {
                self.remove(&key);
                true
            }
            _ => unreadable,
        }
    }

    /// The revision that wrote `key`'s record, if there is one.
    pub(crate) fn revision(&self, key: &Key) -> Option<Revision> {
        match key {
            Key::Weights(service) => self.weights.get(service).map(|held| held.revision),
            Key::Endpoint(upstream, address) => {
                self.endpoints.get(&(upstream.clone(), *address)).map(|held| held.revision)
            }
        }
    }

    /// The keys of all records.
    pub(crate) fn keys(&self) -> Vec<String> {
        let weights = self.weights.keys().cloned().map(Key::Weights);
        let endpoints = self.endpoints.keys().cloned();
        let endpoints = endpoints.map(|(upstream, address)| Key::Endpoint(upstream, address));
        weights.chain(endpoints).map(|key| key.to_string()).collect()
    }

    /// Sets a record that was written at `revision`.
    pub(crate) fn insert(&mut self, key: &Key, record: Record, revision: Revision) {
        match (key, record) {
            (Key::Weights(service), Record::Weights(record)) => {
                self.weights.insert(service.clone(), Held { record, revision });
            }
            (Key::Endpoint(upstream, address), Record::Endpoint(record)) => {
                let id = (upstream.clone(), *address);
                self.endpoints.insert(id, Held { record, revision });
            }
            (Key::Weights(_), Record::Endpoint(_)) | (Key::Endpoint(..), Record::Weights(_)) => {
                debug_assert!(false, "a record goes with its kind of key");
            }
        }
    }

    /// Forgets the record of `key`, deleted by this process at `revision`.
    pub(crate) fn bury(&mut self, key: &Key, revision: Revision) {
        self.remove(key);
        self.buried.insert(key.clone(), revision);
    }

    /// Forgets the record of `key`.
    pub(crate) fn remove(&mut self, key: &Key) {
        match key {
            Key::Weights(service) => drop(self.weights.remove(service)),
            Key::Endpoint(upstream, address) => {
                self.endpoints.remove(&(upstream.clone(), *address));
            }
        }
    }

    /// Notes that the record of `key` is on disk since `revision`.
    pub(crate) fn written(&mut self, key: &Key, revision: Revision) {
        match key {
            Key::Weights(service) => {
                if let Some(held) = self.weights.get_mut(service) {
                    held.revision = revision;
                }
            }
            Key::Endpoint(upstream, address) => {
                if let Some(held) = self.endpoints.get_mut(&(upstream.clone(), *address)) {
                    held.revision = revision;
                }
            }
        }
    }

    /// What the data path is to follow under `config`, and the services whose recorded weights
    /// give no version of `config` any weight; these stay with the document's.
    pub(crate) fn state(&self, config: &Config) -> (RuntimeState, BTreeSet<Name>) {
        let mut state = RuntimeState::default();
        let mut stranded = BTreeSet::new();
        for (service, held) in &self.weights {
            let Some(in_document) = config.services.get(service) else { continue };
            let weights = &held.record.weights;
            let served = |version: &Name| weights.get(version).is_some_and(|w| *w != Weight::ZERO);
            if in_document.versions.keys().any(served) {
                state.weights.insert(service.clone(), weights.clone());
            } else {
                stranded.insert(service.clone());
            }
        }
        for (id, held) in &self.endpoints {
            state.endpoints.insert(id.clone(), held.record.admin);
        }
        (state, stranded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn weights_record(blue: u32) -> Record {
        Record::Weights(WeightsRecord {
            weights: [(name("blue"), Weight::try_from_hundredths(blue).unwrap())].into(),
            document: BTreeMap::new(),
            stamp: Stamp::now("ci", Some("test")),
        })
    }

    fn put(record: &Record, revision: u64) -> Change {
        Change::Put(Entry {
            key: "runtime/weights/shop".to_owned(),
            value: record.encode(),
            revision: Revision(revision),
        })
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let record = weights_record(5050);
        let key = Key::Weights(name("shop"));
        assert_eq!(codec::decode(&key, &record.encode()).unwrap(), record);
    }

    #[test]
    fn an_echo_of_our_own_write_changes_nothing() {
        let mut records = Records::default();
        records.insert(&Key::Weights(name("shop")), weights_record(1), Revision(5));
        assert!(!records.absorb(put(&weights_record(2), 5)));
        assert!(records.absorb(put(&weights_record(2), 6)));
    }

    #[test]
    fn a_late_echo_does_not_bring_a_deleted_record_back() {
        let mut records = Records::default();
        let key = Key::Weights(name("shop"));
        records.insert(&key, weights_record(1), Revision(5));
        records.bury(&key, Revision(6));
        assert!(!records.absorb(put(&weights_record(1), 5)));
        assert!(records.weights.is_empty());
        records
            .absorb(Change::Delete { key: "runtime/weights/shop".into(), revision: Revision(6) });
        assert!(records.buried.is_empty(), "the watch has passed it");
        assert!(records.absorb(put(&weights_record(1), 7)));
    }

    #[test]
    fn a_record_nobody_can_read_is_named_and_changes_nothing() {
        let mut records = Records::default();
        assert!(records.absorb(Change::Put(Entry {
            key: "runtime/weights/shop".to_owned(),
            value: b"{\"hundredths\": 7}".to_vec(),
            revision: Revision(1),
        })));
        assert!(records.weights.is_empty());
        assert!(records.unreadable.contains_key("runtime/weights/shop"));
    }
}
