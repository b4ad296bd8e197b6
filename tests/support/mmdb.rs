//! Small databases in MaxMind's format (MMDB 2.0): a search tree over the bits of IPv6
//! addresses, IPv4 below `::/96`, and records of one value each.

use std::net::{IpAddr, Ipv6Addr};

/// What a database says of a network.
pub enum Fact<'a> {
    /// `country.iso_code`.
    Country(&'a str),
    /// `autonomous_system_number`.
    Asn(u32),
}

/// Where a branch of the tree leads.
#[derive(Clone, Copy)]
enum Branch {
    Nothing,
    Node(u32),
    /// An offset in the data section.
    Data(u32),
}

/// A database of networks such as `("192.0.2.0/24", Fact::Country("KP"))`, none inside another.
pub fn database(facts: &[(&str, Fact<'_>)]) -> Vec<u8> {
    let mut nodes = vec![[Branch::Nothing; 2]];
    let mut data = Vec::new();
    for (network, fact) in facts {
        let (bits, prefix) = network_bits(network);
        let mut at = 0;
        for depth in 0..prefix - 1 {
            let side = side(bits, depth);
            at = match nodes[at][side] {
                Branch::Node(next) => next as usize,
                _ => {
                    nodes.push([Branch::Nothing; 2]);
                    let next = nodes.len() - 1;
                    nodes[at][side] = Branch::Node(next as u32);
                    next
                }
            };
        }
        nodes[at][side(bits, prefix - 1)] = Branch::Data(data.len() as u32);
        record(&mut data, fact);
    }
    let count = nodes.len() as u32;
    let mut file = Vec::new();
    for branch in nodes.iter().flatten() {
        let number = match *branch {
            Branch::Nothing => count,
            Branch::Node(node) => node,
            Branch::Data(offset) => count + 16 + offset,
        };
        file.extend_from_slice(&number.to_be_bytes());
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    metadata(&mut file, count);
    file
}

fn network_bits(network: &str) -> (u128, u32) {
    let (address, prefix) = network.split_once('/').unwrap();
    let prefix: u32 = prefix.parse().unwrap();
    match address.parse().unwrap() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), prefix + 96),
        IpAddr::V6(address) => (Ipv6Addr::to_bits(address), prefix),
    }
}

fn side(bits: u128, depth: u32) -> usize {
    ((bits >> (127 - depth)) & 1) as usize
}

fn record(out: &mut Vec<u8>, fact: &Fact<'_>) {
    map(out, 1);
    match fact {
        Fact::Country(code) => {
            text(out, "country");
            map(out, 1);
            text(out, "iso_code");
            text(out, code);
        }
        Fact::Asn(number) => {
            text(out, "autonomous_system_number");
            uint32(out, *number);
        }
    }
}

fn metadata(out: &mut Vec<u8>, nodes: u32) {
    map(out, 9);
    text(out, "node_count");
    uint32(out, nodes);
    for (key, value) in [
        ("record_size", 32),
        ("ip_version", 6),
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
    ] {
        text(out, key);
        out.extend_from_slice(&[5 << 5 | 2, 0, value]);
    }
    text(out, "build_epoch");
    // Types above 7 stand in a byte of their own; this one is a uint64.
    out.extend_from_slice(&[1, 2, 1]);
    text(out, "database_type");
    text(out, "Test");
    text(out, "languages");
    out.extend_from_slice(&[0, 4]);
    text(out, "description");
    map(out, 0);
}

fn map(out: &mut Vec<u8>, entries: u8) {
    out.push(7 << 5 | entries);
}

fn text(out: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 29, "longer ones need another form");
    out.push(2 << 5 | text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

fn uint32(out: &mut Vec<u8>, number: u32) {
    out.push(6 << 5 | 4);
    out.extend_from_slice(&number.to_be_bytes());
}
