//! How long lists of addresses take: `cargo bench -p tidegate-waf --bench addresses`.
//!
//! One thread; `BENCH_ENTRIES` (default 2,000,000) lines of a block list, IPv4 but for every
//! tenth, are read, sorted and looked up in, half of the lookups listed and half not. Figures of
//! lookups are the median of batches, in nanoseconds.

use std::{
    fmt::Write,
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::Instant,
};

use tidegate_waf::{AddressList, Entries};

const BATCHES: usize = 21;
const LOOKUPS: usize = 1 << 20;

fn main() {
    let count = std::env::var("BENCH_ENTRIES").ok().and_then(|n| n.parse().ok());
    let count: usize = count.unwrap_or(2_000_000);
    for expiring in [false, true] {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut text = String::new();
        let mut listed = Vec::with_capacity(count);
        for at in 0..count {
            let address = if at % 10 == 9 { random.v6() } else { random.v4() };
            listed.push(address);
            let expiry = if expiring && at % 4 == 0 { " expires=2000000000" } else { "" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{address}{expiry}");
        }
        let started = Instant::now();
        let mut entries = Entries::new(count);
        if let Err(faults) = entries.read(Path::new("bench"), text.as_bytes(), 0) {
            return println!("{faults}");
        }
        let read = started.elapsed();
        let started = Instant::now();
        let list = AddressList::new(entries);
        let sorted = started.elapsed();
        println!(
            "{count} lines ({} MiB, expiring: {expiring}): read in {read:.0?}, sorted in {sorted:.0?}, {} ranges, {:.1} MiB",
            text.len() >> 20,
            list.len(),
            list.bytes() as f64 / f64::from(1 << 20),
        );
        let pick = |random: &mut Random| listed[(random.next() as usize) % listed.len()];
        let v4: Vec<IpAddr> = (0..LOOKUPS)
            .map(|at| match at % 2 {
                0 => random.v4(),
                _ => loop {
                    let address = pick(&mut random);
                    if address.is_ipv4() {
                        break address;
                    }
                },
            })
            .collect();
        let v6: Vec<IpAddr> = (0..LOOKUPS)
            .map(|at| if at % 2 == 0 { random.v6() } else { IpAddr::V6(v6_of(pick(&mut random))) })
            .collect();
        for (family, addresses) in [("IPv4", v4), ("IPv6", v6)] {
            println!("  {family} lookup {:6.1} ns", median(&list, &addresses));
        }
    }
}

fn median(list: &AddressList, addresses: &[IpAddr]) -> f64 {
    let mut times: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let started = Instant::now();
            for &address in addresses {
                black_box(list.contains(address, 1_000_000_000));
            }
            started.elapsed().as_secs_f64() * 1e9 / addresses.len() as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[BATCHES / 2]
}

fn v6_of(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(address) => address,
        IpAddr::V4(address) => address.to_ipv6_compatible(),
    }
}

/// xorshift: the same lists on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn v4(&mut self) -> IpAddr {
        Ipv4Addr::from_bits((self.next() >> 32) as u32).into()
    }

    fn v6(&mut self) -> IpAddr {
        let low = u128::from(self.next());
        Ipv6Addr::from_bits(u128::from(self.next() >> 3 | 1 << 61) << 64 | low).into()
    }
}
