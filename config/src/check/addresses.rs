//! Every address is listened on once; the control API stays where it is meant to be.

use super::Check;
use crate::{Config, ControlAddress};
use std::{collections::HashMap, net::SocketAddr};

pub(super) fn check(check: &mut Check<'_>) {
    let mut taken: HashMap<SocketAddr, String> = HashMap::new();
    for (path, address) in listened(check.config) {
        // The system gives each port 0 a port of its own.
        if address.port() == 0 {
            continue;
        }
        let steps: Vec<&str> = path.split(' ').collect();
        match taken.get(&address) {
            Some(other) => {
                let other = other.replace(' ', ".");
                check
                    .fault(&steps, format!("`{address}` is the address of `{other}` already"))
                    .help("give one of them another port");
            }
            None => {
                taken.insert(address, path);
            }
        }
    }
    exposure(check);
}

/// Each address with the keys that lead to it.
fn listened(config: &Config) -> Vec<(String, SocketAddr)> {
    let listeners = config.listeners.iter();
    let mut addresses: Vec<_> = listeners
        .map(|(name, listener)| (format!("listeners {name} address"), listener.address))
        .collect();
    if let ControlAddress::Tcp(address) = config.control.address {
        addresses.push(("control address".to_owned(), address));
    }
    if let Some(address) = config.control.probes {
        addresses.push(("control probes".to_owned(), address));
    }
    addresses
}

fn exposure(check: &mut Check<'_>) {
    if let ControlAddress::Tcp(address) = check.config.control.address
        && !address.ip().is_loopback()
    {
        let message = format!("the control API can be reached from other hosts at `{address}`");
        check
            .warn(&["control", "address"], message)
            .help("prefer a loopback address or `unix:`, or keep it on a private network");
    }
}
