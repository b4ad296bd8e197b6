use crate::{
    ByteSize,
    shape::{defaults, duration, size, table, whole},
};
use std::{num::NonZeroUsize, time::Duration};

table! {
    /// `[listeners.NAME.limits]`: what one client may use. Each is a hard bound.
    pub struct ListenerLimits {
        /// Bytes of a request's head (request line and headers); 431 above. Default 32 KiB, 1 KiB to 1 MiB.
        header_bytes: ByteSize = "32KiB" as size("1KiB", "1MiB"),
        /// Header fields of a request; 431 above. Default 100, at most 1,000.
        headers: NonZeroUsize = 100 as whole(1..=1_000),
        /// Bytes of a request target; 414 above. Default 8 KiB, 256 B to 1 MiB.
        uri_bytes: ByteSize = "8KiB" as size("256B", "1MiB"),
        /// Open connections of this listener. Default 50,000.
        connections: NonZeroUsize = 50_000 as whole(1..=10_000_000),
        /// TLS handshake, total. Default 10 s.
        handshake_timeout: Duration = "10s" as duration("1ms", "24h"),
        /// From a request's first byte (or the connection's start) to the end of its head. Default 10 s.
        header_timeout: Duration = "10s" as duration("1ms", "24h"),
        /// Longest pause within a request body, and longest pause of a client that takes no
        /// response bytes. Default 30 s.
        body_timeout: Duration = "30s" as duration("1ms", "24h"),
        /// Between two requests. Default 75 s.
        keepalive_timeout: Duration = "75s" as duration("1ms", "24h"),
        /// Streams a client may have open on one h2 connection. Default 128, at most 10,000.
        h2_streams: NonZeroUsize = 128 as whole(1..=10_000),
    }
}

defaults!(ListenerLimits);
