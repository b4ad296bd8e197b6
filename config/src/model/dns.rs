use crate::shape::{Written, defaults, set, table};
use std::net::SocketAddr;

table! {
    /// `[dns]`: who answers the proxy's own questions; it asks for the names of crawlers, and
    /// never while a request waits.
    pub struct Dns {
        /// Asked in this order. Default: those of `/etc/resolv.conf`.
        servers: Vec<SocketAddr> = [] as set(SocketAddr::shape()),
    }
}

defaults!(Dns);
