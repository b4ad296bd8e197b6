//! What rules and their work take of memory, counted to the byte; `benches/memory.rs` measures
//! more of it. One test: all count in the same allocator.

#[path = "support/memory.rs"]
mod memory;

use memory::{Random, allocated, crs, load, policy, serve};
use tidegate_waf::Interner;

const MIB: usize = 1 << 20;

#[test]
fn rules_share_reloads_leave_nothing_and_caches_are_bounded() {
    let Some(crs) = crs() else { return };
    let interner = Interner::default();
    // What reading files and compiling leave behind is no part of a set.
    drop(load(&crs, &interner));
    let texts = memory::texts(&crs);

    let empty = allocated();
    let rules = load(&crs, &interner);
    let compiled = allocated() - empty;
    assert!(compiled <= 60 * MIB, "the rules take {compiled} bytes");

    let first = policy(&rules, 4);
    let one = allocated();
    let second = policy(&rules, 1);
    let more = allocated() - one;
    assert!(more <= MIB, "a second policy takes {more} bytes");
    drop(second);

    let before = allocated();
    for reload in 0..5 {
        drop(load(&crs, &interner));
        let now = allocated();
        assert!(now <= before + MIB / 64, "{now} bytes after reload {reload}, {before} before");
    }

    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for _ in 0..500 {
        serve(&first, &texts, &mut random);
    }
    let worker = allocated() - before;
    assert!(worker <= 60 * MIB, "what one worker keeps for itself is {worker} bytes");

    drop((first, rules, interner));
    let left = allocated().saturating_sub(empty);
    assert!(left <= MIB, "{left} bytes are left when the rules are gone");
}
