//! Addresses, networks and ranges as block lists write them.

use super::merge::Span;
use crate::addresses::Until;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    V4(u32, u32),
    V6(u128, u128),
}

impl Range {
    /// `192.0.2.1`, `192.0.2.0/24` or `2001:db8::/32`. Bits behind the prefix are ignored.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (address, prefix) = match memchr::memchr(b'/', text) {
            Some(at) => (&text[..at], Some(number(&text[at + 1..], 3)?)),
            None => (text, None),
        };
        let range = match parse(address)? {
            IpAddr::V4(address) => {
                let mask = mask_v4(prefix.unwrap_or(32))?;
                let first = address.to_bits() & mask;
                Self::V4(first, first | !mask)
            }
            IpAddr::V6(address) => match (address.to_ipv4_mapped(), prefix.unwrap_or(128)) {
                (Some(mapped), prefix @ 96..=128) => {
                    let mask = mask_v4(prefix - 96)?;
                    let first = mapped.to_bits() & mask;
                    Self::V4(first, first | !mask)
                }
                (_, prefix) => {
                    let mask = u128::MAX.checked_shl(128_u32.checked_sub(prefix)?).unwrap_or(0);
                    let first = address.to_bits() & mask;
                    Self::V6(first, first | !mask)
                }
            },
        };
        Some(range)
    }

    /// From one address to another of the same family that is not smaller.
    pub(super) fn between(first: IpAddr, last: IpAddr) -> Option<Self> {
        match (first.to_canonical(), last.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
                Some(Self::V4(first.to_bits(), last.to_bits()))
            }
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
                Some(Self::V6(first.to_bits(), last.to_bits()))
            }
            _ => None,
        }
    }

    /// Whether this is all of a family. No list means that; a mistake does.
    pub(super) fn is_everybody(self) -> bool {
        self == Self::V4(0, u32::MAX) || self == Self::V6(0, u128::MAX)
    }

    pub(super) fn until(self, until: Until) -> Listed {
        match self {
            Self::V4(first, last) => Listed::V4((first, last, until)),
            Self::V6(first, last) => Listed::V6((first, last, until)),
        }
    }
}

/// A range with its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    V4(Span<u32>),
    V6(Span<u128>),
}

/// An address. Of IPv4 numbers with leading zeros are read as decimal if all of them have three
/// digits (eMule's lists); otherwise they could be octal, and nobody knows.
pub(super) fn parse(text: &[u8]) -> Option<IpAddr> {
    if memchr::memchr(b':', text).is_some() {
        return std::str::from_utf8(text).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let mut octets = [0_u8; 4];
    let mut parts = text.split(|&b| b == b'.');
    let padded = text.len() == 15;
    for octet in &mut octets {
        let part = parts.next()?;
        if part.len() > 1 && part[0] == b'0' && !padded {
            return None;
        }
        *octet = u8::try_from(number(part, 3)?).ok()?;
    }
    parts.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

/// One to `most` decimal digits.
pub(super) fn number(text: &[u8], most: usize) -> Option<u32> {
    if text.is_empty() || text.len() > most {
        return None;
    }
    text.iter().try_fold(0_u32, |number, &byte| {
        let digit = byte.is_ascii_digit().then_some(u32::from(byte.wrapping_sub(b'0')))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

fn mask_v4(prefix: u32) -> Option<u32> {
    Some(u32::MAX.checked_shl(32_u32.checked_sub(prefix)?).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_masked() {
        assert_eq!(Range::parse(b"192.0.2.77/24"), Range::parse(b"192.0.2.0/24"));
        assert_eq!(Range::parse(b"0.0.0.0/0"), Some(Range::V4(0, u32::MAX)));
        assert_eq!(Range::parse(b"::ffff:192.0.2.1/120"), Range::parse(b"192.0.2.0/24"));
        assert_eq!(Range::parse(b"001.002.003.004"), Range::parse(b"1.2.3.4"));
    }

    #[test]
    fn what_is_no_address() {
        for text in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/-1",
            "01.2.3.4",
            "::/129",
            "1.2.3.4/+8",
            "a",
            ":::",
            "1.2.3.4/0000",
            "010.002.3.4",
        ] {
            assert_eq!(Range::parse(text.as_bytes()), None, "{text}");
        }
    }
}
