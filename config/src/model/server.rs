use crate::{
    ByteSize,
    shape::{defaults, duration, optional, size, table, whole},
};
use std::{num::NonZeroUsize, time::Duration};

table! {
    /// `[server]`: the process.
    pub struct Server {
        /// Worker threads; default one per core the process may use. Read at start only.
        workers: Option<NonZeroUsize> as optional(whole(1..=1024)),
        /// How long streams and WebSockets may live on after SIGTERM, an upgrade or the removal of
        /// their listener. Default 30 s, at most 24 h.
        drain: Duration = "30s" as duration("0s", "24h"),
        /// Live keys in the rate limit table, for all limits together. Default 1,000,000, 1,000
        /// to 100,000,000; read at start only.
        rate_limit_keys: NonZeroUsize = 1_000_000 as whole(1_000..=100_000_000),
        /// Client connections open at once in the whole process. Default 100,000, and never more
        /// than half of the files the process may open (`ulimit -Hn`).
        connections: NonZeroUsize = 100_000 as whole(1..=10_000_000),
        /// Bytes that WAF policies hold at once in the whole process: bodies, and what requests are
        /// taken apart into; a request beyond is answered 503. One client gets a quarter. Default
        /// 256 MiB, at least 1 MiB.
        held_bodies: ByteSize = "256MiB" as size("1MiB", "1024GiB"),
    }
}

defaults!(Server);
