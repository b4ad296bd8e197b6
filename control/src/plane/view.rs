//! One immutable look at what is in force, for readers.

use super::weights::{Origin, WeightsStatus};
use crate::{records::Records, revisions::RevisionRecord, source::Document};
use std::collections::BTreeMap;
use tidegate_config::{Name, Service, Weight};

/// The document in force, its revision and the runtime state.
#[derive(Clone, Debug)]
pub struct View {
    /// The document in force.
    pub document: Document,
    /// Its number in the history.
    pub revision: RevisionRecord,
    pub(crate) records: Records,
}

impl View {
    /// The weights of `service`: which are in force, whose they are, and what the document
    /// says; `None` if the document has no such service.
    pub fn weights(&self, service: &str) -> Option<WeightsStatus> {
        let (name, in_document) = self.document.config.services.get_key_value(service)?;
        let document = document_weights(in_document);
        let stranded = |weights: &BTreeMap<Name, Weight>| {
            !document.keys().any(|v| weights.get(v).is_some_and(|w| *w != Weight::ZERO))
        };
        let Some(held) = self.records.weights.get(name) else {
            return Some(WeightsStatus {
                service: name.clone(),
                weights: document.clone(),
                source: Origin::Document,
                document,
                drift: false,
                set: None,
            });
        };
        let record = &held.record;
        if stranded(&record.weights) {
            return Some(WeightsStatus {
                service: name.clone(),
                weights: document.clone(),
                source: Origin::Document,
                document,
                drift: true,
                set: Some(record.stamp.clone()),
            });
        }
        let weights: BTreeMap<_, _> = document
            .keys()
            .map(|version| {
                (version.clone(), record.weights.get(version).copied().unwrap_or(Weight::ZERO))
            })
            .collect();
        Some(WeightsStatus {
            service: name.clone(),
            drift: document != record.document && document != weights,
            weights,
            source: Origin::Api,
            document,
            set: Some(record.stamp.clone()),
        })
    }

    /// Services whose weights in the document were edited after the API had taken them over.
    pub fn drift(&self) -> Vec<WeightsStatus> {
        let services = self.records.weights.keys();
        services.filter_map(|service| self.weights(service.as_str())).filter(|s| s.drift).collect()
    }

    /// What an operator should look at, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.document.warnings.clone();
        for (key, cause) in &self.records.unreadable {
            warnings.push(format!("the record `{key}` in the store cannot be read: {cause}"));
        }
        let (_, stranded) = self.records.state(&self.document.config);
        for service in stranded {
            warnings.push(format!(
                "service `{service}`: the weights set through the API give no version of the \
                 document any weight; the document's are served (`tidegate weights {service} \
                 reset` ends this)"
            ));
        }
        warnings
    }
}

/// The weights the document gives the versions of a service.
pub(crate) fn document_weights(service: &Service) -> BTreeMap<Name, Weight> {
    service.versions.iter().map(|(name, version)| (name.clone(), version.weight)).collect()
}
