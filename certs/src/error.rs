//! What can go wrong with certificates before any request is served.

use std::path::PathBuf;
use tidegate_config::Name;
use tidegate_store::StoreError;

/// A fault found while opening or preparing. Faults of orders are not errors of a call: they
/// are shown by [`crate::Certs::list`].
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// The store refused.
    #[error("certificates cannot be kept in the store: {0}")]
    Store(#[from] StoreError),
    /// A file cannot serve its purpose.
    #[error("`{}` {what}; {remedy}", path.display())]
    File {
        /// The file at fault.
        path: PathBuf,
        /// What is wrong, continuing the file's name.
        what: String,
        /// What the operator can do.
        remedy: String,
    },
    /// A listener's settings cannot be combined.
    #[error("listener `{listener}`: TLS cannot be set up: {cause}")]
    Listener {
        /// The listener.
        listener: Name,
        /// What the TLS library says.
        cause: String,
    },
    /// An issuer's settings are not usable.
    #[error("issuer `{issuer}`: {what}; {remedy}")]
    Issuer {
        /// Its name.
        issuer: String,
        /// What is wrong.
        what: String,
        /// What the operator can do.
        remedy: String,
    },
    /// A DNS provider's settings are not usable.
    #[error("DNS provider `{provider}`: {what}; correct it under `[acme.dns.{provider}]`")]
    DnsProvider {
        /// Its name.
        provider: Name,
        /// What is wrong.
        what: String,
    },
    /// A verb was asked for a name it cannot be done for.
    #[error("`{name}` {what}")]
    Name {
        /// The name.
        name: String,
        /// Why not, continuing the name.
        what: String,
    },
    /// A verb was asked for too early.
    #[error("`{name}` {what}; an admin may ask all the same")]
    Early {
        /// The name.
        name: String,
        /// Why, continuing the name.
        what: String,
    },
    /// The internal CA cannot issue.
    #[error("the internal CA cannot issue for `{name}`: {cause}")]
    Internal {
        /// For what name.
        name: String,
        /// Why.
        cause: String,
    },
    /// An entry of the store is of a later version of the program, and nothing goes without it.
    #[error(
        "`{key}` in the store has the newer form {format}: start the version that wrote it, or a \
         later one"
    )]
    Newer {
        /// Its key.
        key: String,
        /// Its form.
        format: u32,
    },
    /// The metrics registry has ours already.
    #[error("certificate metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}
