//! Records as JSON. What an older or newer version wrote is read if it can be, never guessed.

use super::{EndpointRecord, WeightsRecord};
use crate::{clock::Stamp, keys::Key};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidegate_config::{Name, Weight};
use tidegate_release::EndpointAdmin;

/// A record of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Weights(WeightsRecord),
    Endpoint(EndpointRecord),
}

impl Record {
    /// The bytes kept in the store.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let json = match self {
            Self::Weights(record) => serde_json::to_vec(&WeightsJson {
                hundredths: to_hundredths(&record.weights),
                document_hundredths: to_hundredths(&record.document),
                set: record.stamp.clone(),
            }),
            Self::Endpoint(record) => serde_json::to_vec(&EndpointJson {
                state: match record.admin {
                    EndpointAdmin::Drain => EndpointState::Drain,
                    EndpointAdmin::Disable => EndpointState::Disable,
                },
                set: record.stamp.clone(),
            }),
        };
        json.expect("maps with string keys, numbers and strings are JSON")
    }
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Name(#[from] tidegate_config::InvalidName),
    #[error("a weight of {0} hundredths is out of range")]
    Weight(u32),
}

/// Reads the record of `key`.
pub(super) fn decode(key: &Key, value: &[u8]) -> Result<Record, Unreadable> {
    Ok(match key {
        Key::Weights(_) => {
            let json: WeightsJson = serde_json::from_slice(value)?;
            Record::Weights(WeightsRecord {
                weights: from_hundredths(json.hundredths)?,
                document: from_hundredths(json.document_hundredths)?,
                stamp: json.set,
            })
        }
        Key::Endpoint(..) => {
            let json: EndpointJson = serde_json::from_slice(value)?;
            let admin = match json.state {
                EndpointState::Drain => EndpointAdmin::Drain,
                EndpointState::Disable => EndpointAdmin::Disable,
            };
            Record::Endpoint(EndpointRecord { admin, stamp: json.set })
        }
    })
}

/// `runtime/weights/{service}`. Hundredths, so that no float is ever rounded.
#[derive(Serialize, Deserialize)]
struct WeightsJson {
    hundredths: BTreeMap<String, u32>,
    document_hundredths: BTreeMap<String, u32>,
    set: Stamp,
}

/// `runtime/endpoints/{upstream}/{address}`.
#[derive(Serialize, Deserialize)]
struct EndpointJson {
    state: EndpointState,
    set: Stamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EndpointState {
    Drain,
    Disable,
}

fn to_hundredths(weights: &BTreeMap<Name, Weight>) -> BTreeMap<String, u32> {
    weights.iter().map(|(name, weight)| (name.to_string(), weight.hundredths())).collect()
}

fn from_hundredths(weights: BTreeMap<String, u32>) -> Result<BTreeMap<Name, Weight>, Unreadable> {
    weights
        .into_iter()
        .map(|(name, hundredths)| {
            let weight =
                Weight::try_from_hundredths(hundredths).ok_or(Unreadable::Weight(hundredths))?;
            Ok((name.parse()?, weight))
        })
        .collect()
}
