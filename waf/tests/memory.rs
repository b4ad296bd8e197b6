//! What rules and their work take of memory, counted to the byte; `benches/memory.rs` measures
//! more of it. One test: all count in the same allocator.

#[path = "support/memory.rs"]
mod memory;

use memory::{Random, allocated, crs, load, policy, serve};
use tidegate_waf::{Connection, Interner, Policy, Transaction};

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
    what_a_transaction_takes_is_what_it_says(&first);
    assert!(worker <= 60 * MIB, "what one worker keeps for itself is {worker} bytes");

    drop((first, rules, interner));
    let left = allocated().saturating_sub(empty);
    assert!(left <= MIB, "{left} bytes are left when the rules are gone");
}

/// A thousand values, then a long one: with every rule of CRS at paranoia 4.
fn what_a_transaction_takes_is_what_it_says(policy: &Policy) {
    let many = vec!["A='1"; 900].join("&");
    let long = format!("a={}", "%41B<\"".repeat(20_000));
    for body in [many, long] {
        let run = || {
            let mut transaction = Transaction::new(policy, &Connection::default());
            transaction.request_line(b"POST", b"/", b"HTTP/1.1");
            transaction.request_header(b"Content-Type", b"application/x-www-form-urlencoded");
            transaction.request_headers();
            let empty = (allocated(), transaction.bytes());
            transaction.request_body(body.as_bytes());
            (transaction, empty)
        };
        // What a worker keeps for the patterns is no request's.
        drop(run());
        let (mut transaction, (before, base)) = run();
        for what in ["evaluated", "at rest"] {
            // Reports of matches are apart.
            let reports = 4_096 * transaction.matches().len();
            let (told, taken) = (transaction.bytes() - base, allocated() - before);
            println!("{what}: {told} of {taken} bytes, {} of them reports", taken.min(reports));
            assert!(told <= taken && taken <= told + told / 8 + reports, "{what}: {told}, {taken}");
            transaction.rest();
        }
        let rest = transaction.bytes();
        assert!(rest < 64 * 1024 + 4 * body.len() + 1_000 * 3 * 256, "{rest} are left");
    }
}
