//! What a compiled rule set, a worker, a second policy and reloads take:
//! `TIDEGATE_SHARED=../shared cargo bench -p tidegate-waf --bench memory`.
//!
//! Bytes are those that were asked for, exactly; resident memory is what the system says, with
//! what its allocator keeps for later. `BENCH_REQUESTS` (100,000) are the requests of each
//! worker at paranoia 4, made of pieces of CRS's own regression tests; `BENCH_THREADS` ("1 2 4") the
//! workers; `BENCH_RELOADS` (100) the reloads.

use std::{env, time::Instant};

use tidegate_waf::Interner;

#[path = "../tests/support/memory.rs"]
mod memory;

use memory::{Random, allocated, crs, load, policy, resident};

fn main() {
    let Some(crs) = crs() else { return };
    let number = |name: &str, default: u64| {
        env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (requests, reloads) = (number("BENCH_REQUESTS", 100_000), number("BENCH_RELOADS", 100));
    let threads = env::var("BENCH_THREADS").unwrap_or_else(|_| "1 2 4".to_owned());
    // What reading files and compiling leave behind is no part of a set.
    drop(load(&crs, &Interner::default()));
    let texts = memory::texts(&crs);

    let empty = allocated();
    let interner = Interner::default();
    let rules = load(&crs, &interner);
    println!("compiled: {}, resident {}", mib(allocated() - empty), mib(resident()));
    let before = allocated();
    let first = policy(&rules, 4);
    let one = allocated();
    let second = policy(&rules, 1);
    println!("first policy {} KiB, second {} KiB", (one - before) >> 10, (allocated() - one) >> 10);
    drop((first, second, rules, interner));

    for count in threads.split_ascii_whitespace().filter_map(|text| text.parse::<u64>().ok()) {
        let before = allocated();
        let rules = load(&crs, &Interner::default());
        let compiled = allocated();
        let policy = policy(&rules, 4);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..count {
                let (policy, texts) = (&policy, &texts);
                scope.spawn(move || {
                    let mut random = Random::new(thread);
                    (0..requests).for_each(|_| memory::serve(policy, texts, &mut random));
                });
            }
        });
        println!(
            "{count} workers of {requests} requests in {:.1} s: {} beside {} compiled, resident {}",
            started.elapsed().as_secs_f64(),
            mib(allocated() - compiled),
            mib(compiled - before),
            mib(resident()),
        );
    }

    let interner = Interner::default();
    let mut kept = load(&crs, &interner);
    for reload in 0..=reloads {
        // One that finds its patterns already compiled, one that compiles all.
        drop(load(&crs, &Interner::default()));
        kept = load(&crs, &interner);
        if reload % (reloads / 20).max(1) == 0 {
            let (allocated, resident) = (mib(allocated() - empty), mib(resident()));
            println!("reload {reload}: {allocated}, resident {resident}");
        }
    }
    drop(kept);
}

fn mib(bytes: usize) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
