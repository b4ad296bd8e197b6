//! A whole exchange through rules of many kinds: `METHOD TARGET`, header lines, an empty line, a
//! body. Holds: the prefilter misses no match, and with it, without it, in pieces or a second
//! time the outcome is the same, to the text of every report; detecting tells what blocking
//! does; work stays near its budget.

#![no_main]

use std::{path::Path, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tidegate_waf::{
    Cause, Interner, Limit, Limits, Memory, Mode, Policy, PolicyOptions, Prefiltering, Ruleset,
};
use tidegate_waf_fuzz::Exchange;

const WORK: u64 = 1 << 20;
/// What one rule may do beyond the budget before it is looked at: all values of a body.
const SLACK: u64 = 8 << 20;

static POLICIES: LazyLock<[Policy; 4]> = LazyLock::new(|| {
    let files = Memory([("rules.conf".into(), include_bytes!("../rules.conf").to_vec())].into());
    let rules = Ruleset::load(&files, &[Path::new("rules.conf")], &Interner::default())
        .unwrap_or_else(|faults| panic!("{faults}"));
    let policy = |mode, prefiltering| {
        let limits =
            Limits { work: WORK, arguments: 60, depth: 20, parts: 20, ..Limits::default() };
        let options = PolicyOptions {
            mode,
            prefiltering,
            limits,
            response_bodies: true,
            ..PolicyOptions::default()
        };
        Policy::new(rules.clone(), options).expect("options without a pattern")
    };
    [
        policy(Mode::Block, Prefiltering::On),
        policy(Mode::Block, Prefiltering::Off),
        policy(Mode::Block, Prefiltering::Check),
        policy(Mode::Detect, Prefiltering::On),
    ]
});

fuzz_target!(|data: &[u8]| {
    let [policy, off, check, detect] = &*POLICIES;
    let exchange = Exchange::parse(data);
    let outcome = exchange.run(policy, u64::MAX);
    assert!(outcome.work <= WORK + SLACK, "work {}", outcome.work);
    assert_eq!(exchange.run(policy, 1), outcome, "in pieces it ends differently");

    let checked = exchange.run(check, u64::MAX);
    assert_eq!(checked.missed, [0; 0], "the prefilter misses matches");
    // What the prefilter saves is work, so only with budget left must all end alike.
    let out_of_work = Cause::Limit(Limit::Work);
    let unfiltered = exchange.run(off, u64::MAX);
    if [&outcome, &checked, &unfiltered].iter().all(|o| o.cause() != Some(out_of_work)) {
        assert_eq!(
            (&unfiltered.verdict, &unfiltered.matches),
            (&outcome.verdict, &outcome.matches)
        );
        assert_eq!((&checked.verdict, &checked.matches), (&outcome.verdict, &outcome.matches));
    }
    let detected = exchange.run(detect, u64::MAX);
    assert!(detected.verdict.is_pass());
    if outcome.cause() != Some(out_of_work) {
        assert_eq!(detected.would_be, outcome.verdict);
    }
});
