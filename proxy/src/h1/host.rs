//! What may stand in Host: `host [":" port]` (RFC 9110 section 7.2), narrowed to
//! names that can be routed.
//!
//! Registered names are letters, digits, `-`, `_` and dots, without empty labels
//! (one trailing dot is a fully qualified name). RFC 3986 would also allow escapes
//! and `!$&'()*+,;=~`; no served name has them, and every comparison downstream
//! would have to agree on what they mean. No userinfo, no zone, no empty port.

use std::net::Ipv6Addr;

/// Longest authority taken: a name has 255 bytes, a port six.
const MAX: usize = 261;

/// Whether `authority` is a `host [":" port]` this proxy routes.
pub(crate) fn is_valid(authority: &[u8]) -> bool {
    if authority.len() > MAX {
        return false;
    }
    if let Some(literal) = authority.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', literal) else { return false };
        let address = std::str::from_utf8(&literal[..end]).ok();
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
            && is_port_suffix(&literal[end + 1..]);
    }
    let name = memchr::memchr(b':', authority).unwrap_or(authority.len());
    is_name(&authority[..name]) && is_port_suffix(&authority[name..])
}

fn is_name(name: &[u8]) -> bool {
    let mut label = 0;
    for &byte in name {
        match byte {
            b'.' if label == 0 => return false,
            b'.' => label = 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            _ => return false,
        }
    }
    !name.is_empty()
}

/// Empty, or a colon and a port from 1 to 65535.
fn is_port_suffix(suffix: &[u8]) -> bool {
    match suffix {
        [] => true,
        [b':', digits @ ..] => {
            matches!(digits.len(), 1..=5)
                && digits.iter().all(u8::is_ascii_digit)
                && matches!(digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')), 1..=65535)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_addresses_and_ports() {
        for host in [
            "a",
            "example.com",
            "example.com.",
            "EXAMPLE.com:8080",
            "my_host",
            "10.0.0.1:1",
            "[::1]",
            "[2001:db8::1]:65535",
            "xn--bcher-kva.example",
        ] {
            assert!(is_valid(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for host in [
            "",
            ".",
            ".a",
            "a..b",
            "a:",
            "a:0",
            "a:65536",
            "a:000080",
            "a:+1",
            "a:8o",
            "u@a",
            "a/b",
            "a b",
            " a",
            "a?b",
            "a#b",
            "a%41",
            "a,b",
            "[::1",
            "::1",
            "[::1]x",
            "[fe80::1%eth0]",
            "[v1.x]",
            "[]",
            "a\\b",
            "ä",
            "a:80:80",
            "*",
        ] {
            assert!(!is_valid(host.as_bytes()), "{host}");
        }
        assert!(!is_valid(&[b'a'; 300]));
    }
}
