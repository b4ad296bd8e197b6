//! What is likely meant by a line that is no entry, for its fault: the mistakes that are made in
//! lists written by hand.

use super::{
    address::{self, number},
    line::{field, word},
};
use crate::seclang::show;
use std::net::{IpAddr, SocketAddr};

const FORMS: &str = "expected an address, a network such as `192.0.2.0/24` or a range such as \
                     `192.0.2.1-192.0.2.9`";

/// The fault of a line that should begin with an address.
pub(super) fn of_line(line: &[u8]) -> String {
    let flaw = of_hosts(line).or_else(|| of(line)).unwrap_or(FORMS);
    format!("{flaw}, found `{}`", show(line))
}

/// What is wrong with an address, a network or a range at the beginning of `text`, if it is a
/// usual mistake.
pub(super) fn of(text: &[u8]) -> Option<&'static str> {
    let (first, rest) = field(text)?;
    match rest.trim_ascii_start().strip_prefix(b"-") {
        Some(rest) => of_range(first, field(rest.trim_ascii_start())?.0),
        None => of_network(first).or_else(|| of_port(word(text).0)),
    }
}

fn of_hosts(line: &[u8]) -> Option<&'static str> {
    let (first, rest) = word(line);
    let is_hosts = matches!(first, b"0.0.0.0" | b"127.0.0.1" | b"::1" | b"::") && !rest.is_empty();
    is_hosts.then_some("a list of host names is no list of addresses")
}

fn of_range(first: &[u8], last: &[u8]) -> Option<&'static str> {
    let canonical = |text| address::parse(text).map(|address| address.to_canonical());
    match (canonical(first), canonical(last)) {
        (Some(IpAddr::V4(_)), Some(IpAddr::V6(_))) | (Some(IpAddr::V6(_)), Some(IpAddr::V4(_))) => {
            Some("a range has both ends in one family")
        }
        (Some(first), Some(last)) if first > last => Some("the range ends before it begins"),
        _ => [first, last].into_iter().find_map(of_network),
    }
}

fn of_network(text: &[u8]) -> Option<&'static str> {
    let (address, prefix) = match memchr::memchr(b'/', text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    match (address::parse(address), prefix.and_then(|prefix| number(prefix, 3))) {
        (Some(IpAddr::V4(_)), Some(33..)) => Some("a prefix of IPv4 is at most 32"),
        (Some(IpAddr::V6(_)), Some(129..)) => Some("a prefix of IPv6 is at most 128"),
        (None, _) if has_leading_zero(address) => {
            Some("a leading zero may mean an octal number: write the address without it")
        }
        (None, _) => of_port(address),
        _ => None,
    }
}

fn has_leading_zero(address: &[u8]) -> bool {
    let mut parts = address.split(|&byte| byte == b'.');
    let numbers = parts.clone().filter(|part| number(part, 4).is_some()).count();
    numbers == 4 && parts.any(|part| part.len() > 1 && part[0] == b'0')
}

fn of_port(text: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(text).ok()?.trim_end_matches([',', ';']);
    text.parse::<SocketAddr>().ok().map(|_| "a list has no ports: write the address without it")
}
