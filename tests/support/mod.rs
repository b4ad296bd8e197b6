//! The rig: the real binary, upstreams that behave or misbehave on demand, and clients that
//! count. Everything runs on loopback, on ports the system chose, in a folder of its own, and
//! ends with the test that started it.

pub mod api;
pub mod bind;
pub mod client;
pub mod disk;
pub mod dns;
pub mod edge;
pub mod frames;
pub mod grpc;
pub mod load;
pub mod mmdb;
pub mod ocsp;
pub mod openssl;
pub mod origin;
pub mod pebble;
pub mod port;
pub mod raw;
pub mod text;
pub mod tls;
pub mod wait;
pub mod websocket;

pub use bind::Bind;
pub use client::{Client, Reply, get};
pub use disk::Disk;
pub use dns::Dns;
pub use edge::{Dir, Edge};
pub use load::Load;
pub use origin::{Act, Origin};
pub use raw::RawClient;
pub use text::{listener, route, service, upstream};
pub use tls::Ca;
pub use wait::{eventually, within};
