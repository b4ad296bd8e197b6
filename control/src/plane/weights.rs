//! Moving the traffic of a service between its versions.

use super::{Plane, View, patiently, view::document_weights};
use crate::{
    clock::Stamp,
    etag::ETag,
    keys::Key,
    records::{Record, WeightsRecord},
};
use serde::Serialize;
use std::collections::BTreeMap;
use tidegate_config::{Name, Weight};
use tidegate_store::{Committed, Compare, Op, Revision, StoreError};

/// The weights of one service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightsStatus {
    /// Its name.
    pub service: Name,
    /// What is in force, for every version of the document.
    pub weights: BTreeMap<Name, Weight>,
    /// Whose they are.
    pub source: Origin,
    /// What the document says.
    pub document: BTreeMap<Name, Weight>,
    /// Whether the document was edited after the API had taken the weights over, so that the
    /// edit changes nothing.
    pub drift: bool,
    /// Who set them through the API, when and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<Stamp>,
}

impl WeightsStatus {
    /// Changes whenever anything of it does.
    pub fn etag(&self) -> ETag {
        ETag::of(self)
    }
}

/// Who owns a service's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The document: edits of it apply.
    Document,
    /// The API, until a reset.
    Api,
}

impl Origin {
    fn word(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Api => "api",
        }
    }
}

/// What a writer saw before writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// `If-Match: *`: whatever is there.
    Any,
    /// One of these.
    Is(Vec<ETag>),
}

impl Precondition {
    fn holds(&self, status: &WeightsStatus) -> bool {
        match self {
            Self::Any => true,
            Self::Is(tags) => tags.contains(&status.etag()),
        }
    }
}

/// Why weights were not changed.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The document has no such service.
    #[error("there is no service `{0}`")]
    UnknownService(Name),
    /// The service has no such version.
    #[error("service `{service}` has no version `{version}` (it has {known})")]
    UnknownVersion {
        /// The service.
        service: Name,
        /// What was asked for.
        version: Name,
        /// Its versions, for people.
        known: String,
    },
    /// Nobody would answer.
    #[error("every version of service `{0}` would have weight 0")]
    AllZero(Name),
    /// Somebody else was faster.
    #[error("the weights of service `{0}` have changed since they were read")]
    Stale(Name),
    /// Nothing has changed, because it could not be made durable.
    #[error("the weights are unchanged, because the store does not take them: {0}")]
    Store(#[from] StoreError),
}

impl Plane {
    /// Sets the weights of a service; a version that is not named gets 0. The API owns them
    /// from now on. On disk, and in force for the next request, when this returns.
    pub async fn set_weights(
        &self,
        service: &Name,
        weights: BTreeMap<Name, Weight>,
        precondition: &Precondition,
        stamp: Stamp,
    ) -> Result<WeightsStatus, WeightsError> {
        let _turn = self.turn.lock().await;
        let view = self.view();
        let Some(in_document) = view.document.config.services.get(service) else {
            return Err(WeightsError::UnknownService(service.clone()));
        };
        if let Some(version) = weights.keys().find(|v| !in_document.versions.contains_key(*v)) {
            let known: Vec<_> = in_document.versions.keys().map(|v| format!("`{v}`")).collect();
            return Err(WeightsError::UnknownVersion {
                service: service.clone(),
                version: version.clone(),
                known: known.join(", "),
            });
        }
        if weights.values().all(|weight| *weight == Weight::ZERO) {
            return Err(WeightsError::AllZero(service.clone()));
        }
        let document = document_weights(in_document);
        let record = Record::Weights(WeightsRecord { weights, document, stamp });
        self.change_weights(&view, service, precondition, Some(record)).await
    }

    /// Gives the weights of a service back to the document.
    pub async fn reset_weights(
        &self,
        service: &Name,
        precondition: &Precondition,
        stamp: Stamp,
    ) -> Result<WeightsStatus, WeightsError> {
        let _turn = self.turn.lock().await;
        let view = self.view();
        tracing::info!(%service, author = stamp.author, reason = stamp.reason, "reset of weights");
        self.change_weights(&view, service, precondition, None).await
    }

    async fn change_weights(
        &self,
        view: &View,
        service: &Name,
        precondition: &Precondition,
        record: Option<Record>,
    ) -> Result<WeightsStatus, WeightsError> {
        let unknown = || WeightsError::UnknownService(service.clone());
        let before = view.weights(service.as_str()).ok_or_else(unknown)?;
        if !precondition.holds(&before) {
            return Err(WeightsError::Stale(service.clone()));
        }
        let key = Key::Weights(service.clone());
        let held = view.records.revision(&key);
        let op = match &record {
            Some(record) => Op::Put { key: key.to_string(), value: record.encode() },
            None if held.is_none() => return Ok(before),
            None => Op::Delete { key: key.to_string() },
        };
        let unchanged = Compare::Revision { key: key.to_string(), is: held.unwrap_or(Revision(0)) };
        let Committed::Yes(revision) = patiently(self.store.txn(vec![unchanged], vec![op])).await?
        else {
            // Another process wrote it; the watch is about to bring it here.
            return Err(WeightsError::Stale(service.clone()));
        };
        let mut records = view.records.clone();
        match record {
            Some(record) => records.insert(&key, record, revision),
            None => records.bury(&key, revision),
        }
        self.publish_records(view, records).await;
        self.metrics.runtime_changes.with_label_values(&["weights"]).inc();
        let after = self.view().weights(service.as_str()).ok_or_else(unknown)?;
        let stamp = after.set.as_ref();
        tracing::info!(
            %service,
            weights = %shown(&after.weights),
            source = after.source.word(),
            author = stamp.map(|s| s.author.as_str()),
            reason = stamp.and_then(|s| s.reason.as_deref()),
            "weights changed"
        );
        Ok(after)
    }
}

/// `blue=95 green=5`, as the CLI writes it.
fn shown(weights: &BTreeMap<Name, Weight>) -> String {
    let pairs: Vec<_> = weights.iter().map(|(name, weight)| format!("{name}={weight}")).collect();
    pairs.join(" ")
}
