//! Stories about the real binary, end to end.
//!
//! Each module is a part of what Tidegate promises; each test starts its own upstreams and its
//! own edge and can run beside all others.
#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics; that is its verdict")]

#[path = "../support/mod.rs"]
mod support;

mod reasons;

mod abuse;
mod acme;
mod bad_input;
mod balancing;
mod certificates;
mod cli;
mod client_certificates;
mod clock;
mod control;
mod demo;
mod dns01;
mod ending;
mod forwarding;
mod http2_attacks;
mod limits;
mod many_names;
mod nothing_drops;
mod observing;
mod ocsp;
mod on_demand;
mod proxying;
mod reload;
mod rig;
mod routing;
mod sealed;
mod smuggling;
mod soak;
mod streaming;
mod testssl;
mod timeouts;
mod tls;
mod unwritable;
mod waf;
mod waf_bodies;
mod waf_checks;
mod waf_crs;
mod waf_memory;
mod waf_responses;
