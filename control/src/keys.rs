//! Where things lie in the store.

use std::{fmt, net::SocketAddr};
use tidegate_config::Name;

/// Everything the API owns of the traffic.
pub(crate) const RUNTIME: &str = "runtime/";
/// One record per revision of the document.
pub(crate) const REVISIONS: &str = "revisions/";
/// One record per API token.
pub(crate) const TOKENS: &str = "tokens/";
/// Answers kept for `Idempotency-Key`.
pub(crate) const ANSWERS: &str = "answers/";

/// The key of one record of the runtime state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// `runtime/weights/{service}`
    Weights(Name),
    /// `runtime/endpoints/{upstream}/{address}`
    Endpoint(Name, SocketAddr),
}

impl Key {
    /// The key written as `text`, if it is one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.strip_prefix(RUNTIME)?.split_once('/')?;
        match kind {
            "weights" => Some(Self::Weights(rest.parse().ok()?)),
            "endpoints" => {
                let (upstream, address) = rest.split_once('/')?;
                Some(Self::Endpoint(upstream.parse().ok()?, address.parse().ok()?))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weights(service) => write!(f, "{RUNTIME}weights/{service}"),
            Self::Endpoint(upstream, address) => {
                write!(f, "{RUNTIME}endpoints/{upstream}/{address}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_written() {
        for text in [
            "runtime/weights/shop",
            "runtime/endpoints/shop-blue/10.0.0.1:80",
            "runtime/endpoints/shop-blue/[::1]:80",
        ] {
            assert_eq!(Key::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn foreign_keys_are_none() {
        for text in ["runtime/bans/1", "weights/shop", "runtime/weights/", "runtime/weights/a/b"] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
