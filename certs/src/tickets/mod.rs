//! Session tickets that outlive the process: what one node handed out, every other, the next start
//! and the next version take.
//!
//! A secret serves for a [`Period`]. The leader puts one into the store for this period and, so
//! that everybody knows it before it is used, for the next; all processes follow. Where there is
//! none a secret of the process's own serves. What seals is derived from the secret and the terms
//! of a policy, so that a ticket is nothing to any other. A secret that leaks opens what was sent
//! within its period, which is why it is short and goes from the store when it is over.

mod period;
mod ring;
mod seal;
mod share;

pub(crate) use ring::Ring;
pub(crate) use seal::Tickets;
pub(crate) use share::{PREFIX, StoredSecret, follow, parse_key, publish};
