//! What addresses are looked up in: the ranges of each family, sorted, and for long lists of IPv4
//! an index that leads to a few of them.

use super::{Entries, merge::merged, ranges::Ranges};
use std::net::IpAddr;

/// Addresses that can be looked up. Immutable: a changed file makes another list.
#[derive(Debug)]
pub struct AddressList {
    v4: Ranges<u32>,
    /// For each value of an address' first 16 bits the number of ranges that begin below it;
    /// empty for lists so small that it would outweigh them.
    v4_index: Box<[u32]>,
    v6: Ranges<u128>,
}

/// From here on the index (256 KiB) is smaller than what it leads into.
const INDEXED: usize = 32_768;

impl AddressList {
    /// Sorts and merges entries: about 100 ms a million.
    #[must_use]
    pub fn new(entries: Entries) -> Self {
        let (v4, v6) = entries.into_spans();
        let v4 = Ranges::new(merged(v4));
        let v4_index = if v4.len() < INDEXED { Box::default() } else { index(&v4.firsts) };
        Self { v4, v4_index, v6: Ranges::new(merged(v6)) }
    }

    /// Whether `address` is listed at `now`, in seconds since 1970. An IPv6 address that only
    /// maps an IPv4 one is looked up as that.
    #[must_use]
    pub fn contains(&self, address: IpAddr, now: u64) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.contains_v4(address.to_bits(), now),
            IpAddr::V6(address) => {
                let address = address.to_bits();
                let after = self.v6.firsts.partition_point(|&first| first <= address);
                self.v6.holds(after, address, now)
            }
        }
    }

    fn contains_v4(&self, address: u32, now: u64) -> bool {
        let block = (address >> 16) as usize;
        let (from, to) = match (self.v4_index.get(block), self.v4_index.get(block + 1)) {
            (Some(&from), Some(&to)) => (from as usize, to as usize),
            _ => (0, self.v4.len()),
        };
        let inside = self.v4.firsts[from..to].partition_point(|&first| first <= address);
        self.v4.holds(from + inside, address, now)
    }

    /// How many ranges there are: entries that touch or overlap are one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether nobody is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes() + size_of_val(&*self.v4_index)
    }
}

fn index(firsts: &[u32]) -> Box<[u32]> {
    let mut index = Vec::with_capacity((1 << 16) + 1);
    let mut below = 0;
    for block in 0..=1_u64 << 16 {
        while firsts.get(below).is_some_and(|&first| u64::from(first >> 16) < block) {
            below += 1;
        }
        // Entries are counted by `u32`, see `Entries`.
        index.push(below as u32);
    }
    index.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        net::{Ipv4Addr, Ipv6Addr},
        path::Path,
    };

    fn list(text: &str) -> AddressList {
        let mut entries = Entries::new(1_000_000);
        entries.read(Path::new("t"), text.as_bytes(), 0).unwrap();
        AddressList::new(entries)
    }

    #[test]
    fn networks_hold_their_ends_and_nothing_beside() {
        let list = list("192.0.2.0/25\n2001:db8::/32\n0.0.0.0\n255.255.255.255\n");
        let holds = |address: &str| list.contains(address.parse().unwrap(), 0);
        for inside in [
            "192.0.2.0",
            "192.0.2.127",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "0.0.0.0",
            "255.255.255.255",
            "::ffff:192.0.2.5",
        ] {
            assert!(holds(inside), "{inside}");
        }
        for outside in ["192.0.2.128", "192.0.1.255", "2001:db9::", "::", "0.0.0.1", "::192.0.2.5"]
        {
            assert!(!holds(outside), "{outside}");
        }
    }

    #[test]
    fn memory_is_what_is_promised() {
        let list = list("192.0.2.1\n192.0.2.3\n2001:db8::1\n");
        assert_eq!((list.len(), list.bytes()), (3, 2 * 8 + 32));
        let expiring = self::list("192.0.2.1 expires=5\n192.0.2.3\n2001:db8::1 expires=9\n");
        assert_eq!((expiring.len(), expiring.bytes()), (3, 2 * 12 + 36));
    }

    /// Random ranges all over the space, and around the borders of the index' blocks.
    fn v4() -> impl Strategy<Value = (u32, u32)> {
        let block = (any::<u16>(), -3_i64..3).prop_map(|(block, off)| {
            (i64::from(block) * 65_536 + off).clamp(0, i64::from(u32::MAX)) as u32
        });
        (prop_oneof![any::<u32>(), block], prop_oneof![0_u32..300, 0_u32..200_000])
    }

    proptest! {
        #[test]
        fn an_index_changes_no_answer(
            ranges in prop::collection::vec(v4(), 1..60), more in prop::collection::vec(any::<u32>(), 20)
        ) {
            let mut entries = Entries::new(1_000);
            for &(first, size) in &ranges {
                let last = first.saturating_add(size);
                entries.push_v4((first, last, crate::addresses::NEVER));
            }
            let mut list = AddressList::new(entries);
            let probes: Vec<u32> = ranges
                .iter()
                .flat_map(|&(first, size)| {
                    let last = first.saturating_add(size);
                    [first, last, first.saturating_sub(1), last.saturating_add(1)]
                })
                .chain(more)
                .collect();
            let naive = |address: u32| {
                ranges.iter().any(|&(first, size)| {
                    (first..=first.saturating_add(size)).contains(&address)
                })
            };
            for with_index in [false, true] {
                if with_index {
                    list.v4_index = index(&list.v4.firsts);
                }
                for &probe in &probes {
                    let address = IpAddr::V4(Ipv4Addr::from_bits(probe));
                    prop_assert_eq!(list.contains(address, 7), naive(probe), "{}", address);
                }
            }
        }

        #[test]
        fn networks_of_either_family_hold_what_their_prefix_says(
            address in any::<u128>(), prefix in 1_u8..=128, probe in any::<u128>(), flip in 0_u32..128
        ) {
            let text = format!("{}/{prefix}\n", Ipv6Addr::from_bits(address));
            let list = list(&text);
            let net = ipnet::Ipv6Net::new(Ipv6Addr::from_bits(address), prefix).unwrap();
            for probe in [probe, address ^ (1 << flip)] {
                let probe = Ipv6Addr::from_bits(probe);
                if probe.to_ipv4_mapped().is_none() && net.addr().to_ipv4_mapped().is_none() {
                    prop_assert_eq!(list.contains(probe.into(), 0), net.contains(&probe));
                }
            }
        }
    }
}
