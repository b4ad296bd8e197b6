//! Pieces of configuration. A story puts them together with `+` and writes out what it is
//! about; a line directly after [`listener`] still belongs to that listener's table.

use std::{fmt::Write, net::SocketAddr};

/// A plain-text listener on a port the system chooses.
pub fn listener(name: &str) -> String {
    format!("\n[listeners.{name}]\naddress = \"127.0.0.1:0\"\n")
}

/// An upstream; lines appended belong to its table.
pub fn upstream(name: &str, endpoints: &[SocketAddr]) -> String {
    let list: Vec<String> = endpoints.iter().map(|e| format!("\"{e}\"")).collect();
    format!("\n[upstreams.{name}]\nendpoints = [{}]\n", list.join(", "))
}

/// A service with `(version, weight, endpoint)`s, each version with an upstream of its own
/// called like it.
pub fn service(name: &str, versions: &[(&str, u32, SocketAddr)]) -> String {
    let mut text = String::new();
    for (version, weight, endpoint) in versions {
        text += &upstream(version, &[*endpoint]);
        write!(
            text,
            "\n[services.{name}.versions.{version}]\nupstream = \"{version}\"\nweight = {weight}\n"
        )
        .expect("a string takes everything");
    }
    text
}

/// A route of that name for everything, to the service of that name; lines appended belong to
/// its table.
pub fn route(service: &str) -> String {
    format!("\n[routes.{service}]\nservice = \"{service}\"\n")
}

/// The smallest edge: listener `http`, one upstream `app` at `endpoint`, one route `app`.
pub fn simple(endpoint: SocketAddr) -> String {
    listener("http") + &service("app", &[("app", 100, endpoint)]) + &route("app")
}
