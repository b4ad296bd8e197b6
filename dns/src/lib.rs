//! DNS as Tidegate needs it: questions to recursive resolvers and to a zone's own servers, and
//! changes of a zone (RFC 2136), signed (TSIG, RFC 8945).
//!
//! Knows nobody: the proxy asks for the names of crawlers, certificates are proved by records.
//! A resolver library brings forty crates for what else it can do. Nothing is cached here.
//! Whatever arrives is bounded by a message's 64 KiB and read without panics.
//!
//! Left out: DNSSEC, whose verdict is the recursive resolver's; zone transfers; EDNS, as an
//! answer that does not fit is asked for over TCP.

mod exchange;
mod message;
mod resolver;
mod tsig;
mod update;
mod wire;

pub use exchange::ask;
pub use message::{Code, Data, Kind, Message, Question, Record, Unread};
pub use resolver::{Failed, Resolver};
pub use tsig::{Algorithm, Tsig, TsigError};
pub use update::{Change, Update, UpdateError};
pub use wire::same_name;
