//! How a connection ended when it did not simply end.

use std::{error::Error as StdError, io};

use super::{BodyError, Malformed};

/// Why [`serve`](super::serve) stopped before its time. For the log: what could be
/// answered was answered, and every request the handler saw was its to count.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client sent what is no request; it was refused.
    #[error("refused: {0}")]
    Malformed(#[from] Malformed),
    /// A request body ended early; the response said to close.
    #[error(transparent)]
    RequestBody(#[from] BodyError),
    /// The client closed while its request was in flight; the handler was dropped.
    #[error("client closed the connection during a request")]
    Disconnected,
    /// Reading or writing failed.
    #[error("connection failed")]
    Io(#[from] io::Error),
    /// The client took nothing for longer than
    /// [`Limits::body_timeout`](super::Limits::body_timeout).
    #[error("client stopped reading the response")]
    WriteTimeout,
    /// The response body failed after its head was written; the response was cut.
    #[error("response body failed")]
    ResponseBody(#[source] Box<dyn StdError + Send + Sync>),
    /// The response body did not match its Content-Length; the response was cut.
    #[error("response body does not match its Content-Length")]
    ResponseLength,
    /// The handler answered with a 1xx status the codec cannot send: other than 101,
    /// or 101 without [`Upgrade`](super::Upgrade) or with the request body unread.
    #[error("handler answered with an unusable informational status")]
    Informational,
    /// The drain deadline passed during a request.
    #[error("drain deadline passed during a request")]
    DrainDeadline,
}
