//! The runtime state: what the API owns, apart from the document.

use std::{collections::BTreeMap, net::SocketAddr};
use tidegate_config::{Name, Weight};

/// What has been set through the API (or by a release) and survives reloads and restarts.
/// A snapshot is compiled from a document and one of these.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeState {
    /// Weights by service, in place of the document's. A version named here but not in the
    /// document is ignored; one in the document but not here has weight 0.
    pub weights: BTreeMap<Name, BTreeMap<Name, Weight>>,
    /// Endpoints taken out by people, by upstream.
    pub endpoints: BTreeMap<(Name, SocketAddr), EndpointAdmin>,
}

/// What an operator said of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointAdmin {
    /// No new requests; those in flight finish.
    Drain,
    /// As drain, and not checked either.
    Disable,
}
