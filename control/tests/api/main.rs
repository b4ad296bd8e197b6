//! The control API over real sockets, with a real store and files; only the data path is
//! played by a recorder.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod client;
mod config;
mod endpoints;
mod http;
mod idempotency;
mod rig;
mod tokens;
mod weights;
