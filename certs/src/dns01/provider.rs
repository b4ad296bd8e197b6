//! What a provider is: whoever can put a TXT record into a zone and take it away.

use crate::http::HttpError;
use async_trait::async_trait;
use std::{fmt, io, time::Duration};
use tidegate_dns::UpdateError;

/// Changes zones. Both calls are bounded in time by the provider itself, and may be repeated: a
/// record that is there is put once, one that is not is not missed.
#[async_trait]
pub(super) trait Provider: fmt::Debug + Send + Sync {
    /// Adds the record beside others of its name.
    async fn present(&self, record: &Record) -> Result<(), ProviderError> {
        self.change(Action::Present, record).await
    }

    /// Removes the record with this content, no other.
    async fn withdraw(&self, record: &Record) -> Result<(), ProviderError> {
        self.change(Action::Withdraw, record).await
    }

    /// What can be said about a change of `fqdn` without one.
    async fn rehearse(&self, _fqdn: &str) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn change(&self, action: Action, record: &Record) -> Result<(), ProviderError>;

    /// The server that it changes, if it knows it: one of the zone's own.
    fn server(&self) -> Option<std::net::SocketAddr> {
        None
    }
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Present,
    Withdraw,
}

impl Action {
    /// As webhooks and programs are told.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Withdraw => "withdraw",
        }
    }
}

/// A TXT record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its owner, aliases followed; lower case, without a dot at its end.
    pub(super) fqdn: String,
    /// Its one string.
    pub(super) value: String,
    /// In seconds.
    pub(super) ttl: u32,
    /// The name that is proved: a host name or a wildcard.
    pub(super) name: String,
}

/// Why a zone was not changed. It ends up in what viewers see: never a secret, nor what a
/// program or a service said, which might hold one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    #[error("not done within {} s; {remedy}", .after.as_secs_f32())]
    Timeout { after: Duration, remedy: &'static str },
    #[error("name server `{server}`: {cause}; {remedy}")]
    Update { server: String, cause: UpdateError, remedy: String },
    #[error("name server `{server}` does not tell the zone of `{fqdn}`: set `zone`")]
    NoZone { server: String, fqdn: String },
    #[error("the webhook cannot be asked: {0}")]
    Webhook(#[from] HttpError),
    #[error("`{host}` answered {status}: its log tells why")]
    Status { host: String, status: http::StatusCode },
    #[error("`{command}` cannot be run: {cause}")]
    Start { command: String, cause: io::Error },
    #[error("`{command}` ended with {status}: what it wrote is in the log at level `debug`")]
    Ended { command: String, status: String },
}
