//! The control plane: which document and runtime state are in force, how they change, and the
//! API through which people and machines see and change them.
//!
//! It promises that a change is whole or not at all, that what is acknowledged as durable is on
//! disk, and that nothing here ever holds the data path up: the two meet only in
//! [`ports::Edge`], which the root package implements.
//!
//! Releases, approvals, the audit chain and restoring revisions are not here yet.

mod api;
mod backlog;
pub mod client;
mod clock;
mod etag;
mod idempotency;
mod keys;
mod metrics;
mod plane;
pub mod ports;
mod records;
mod revisions;
mod role;
mod serve;
mod source;
mod tokens;
pub mod twin;
pub mod unix;
mod watch;

pub use api::ProblemDocument;
pub use clock::{Moment, Stamp};
pub use etag::ETag;
pub use plane::*;
pub use revisions::{Cause, FileRecord, RevisionRecord};
pub use role::{InvalidRole, Role};
pub use serve::{CONNECTIONS, Socket, serve};
pub use source::{Document, Fault, Files, Source, SourceFile, Text};
pub use tokens::Token;
