//! Taking endpoints out of their upstream, and putting them back.
//!
//! Taking one out only reduces risk: it takes effect first and is written after, however long
//! the store is away. Putting one back waits for the disk, or else a restart would take it out
//! again.

use super::{Plane, patiently};
use crate::{
    clock::Stamp,
    keys::Key,
    records::{EndpointRecord, Record},
};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use tidegate_config::Name;
use tidegate_release::EndpointAdmin;
use tidegate_store::{Committed, Op, Revision, StoreError};

/// What an operator may say of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointState {
    /// In use, as far as its health allows.
    Active,
    /// No new requests; those in flight finish.
    Drain,
    /// As drain, and not checked either.
    Disable,
}

/// An endpoint whose state was set.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointChange {
    /// The upstream.
    pub upstream: Name,
    /// The endpoint.
    pub address: SocketAddr,
    /// What is in force now.
    pub state: EndpointState,
    /// Whether it is on disk; if not, it is written as soon as the store is back.
    pub durable: bool,
}

/// Why an endpoint's state was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The document has no such upstream.
    #[error("there is no upstream `{0}`")]
    UnknownUpstream(Name),
    /// The upstream has no such endpoint.
    #[error("upstream `{0}` has no endpoint `{1}`")]
    UnknownEndpoint(Name, SocketAddr),
    /// Nothing has changed, because it could not be made durable.
    #[error("the endpoint stays out, because the store does not take the change: {0}")]
    Store(#[from] StoreError),
}

impl Plane {
    /// Sets the state of an endpoint; in force for the next request when this returns.
    pub async fn set_endpoint(
        &self,
        upstream: &Name,
        address: SocketAddr,
        state: EndpointState,
        stamp: Stamp,
    ) -> Result<EndpointChange, EndpointError> {
        let _turn = self.turn.lock().await;
        let known = &self.view().document.config.upstreams;
        let Some(in_document) = known.get(upstream) else {
            return Err(EndpointError::UnknownUpstream(upstream.clone()));
        };
        if !in_document.endpoints.contains(&address) {
            return Err(EndpointError::UnknownEndpoint(upstream.clone(), address));
        }
        let key = Key::Endpoint(upstream.clone(), address);
        let (author, reason) = (stamp.author.clone(), stamp.reason.clone());
        match state {
            EndpointState::Active => self.put_back(&key).await?,
            EndpointState::Drain => self.take_out(&key, EndpointAdmin::Drain, stamp).await,
            EndpointState::Disable => self.take_out(&key, EndpointAdmin::Disable, stamp).await,
        }
        self.metrics.runtime_changes.with_label_values(&["endpoint"]).inc();
        let durable = !self.backlog.owes(&key.to_string());
        tracing::info!(%upstream, %address, ?state, durable, author, reason, "endpoint changed");
        Ok(EndpointChange { upstream: upstream.clone(), address, state, durable })
    }

    async fn take_out(&self, key: &Key, admin: EndpointAdmin, stamp: Stamp) {
        let record = Record::Endpoint(EndpointRecord { admin, stamp });
        let op = Op::Put { key: key.to_string(), value: record.encode() };
        let view = self.view();
        let mut records = view.records.clone();
        records.insert(key, record, Revision(0));
        self.publish_records(&view, records).await;
        self.owe(op).await;
    }

    async fn put_back(&self, key: &Key) -> Result<(), EndpointError> {
        let view = self.view();
        if view.records.revision(key).is_none() {
            return Ok(());
        }
        let delete = Op::Delete { key: key.to_string() };
        let written = patiently(self.store.txn(Vec::new(), vec![delete])).await?;
        self.backlog.settle(&key.to_string());
        let mut records = view.records.clone();
        match written {
            Committed::Yes(revision) => records.bury(key, revision),
            // Without comparisons there is nothing that could fail to hold.
            Committed::No => records.remove(key),
        }
        self.publish_records(&view, records).await;
        Ok(())
    }
}
