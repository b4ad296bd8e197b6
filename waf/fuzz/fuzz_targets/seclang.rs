//! Rule files. Holds: they load or are refused with faults that have a file and a line of it;
//! ids are unique; the same files load alike a second time; what loads ends on a request, within
//! its budget of work, and its prefilter misses nothing.

#![no_main]

use std::{collections::HashSet, path::Path};

use libfuzzer_sys::fuzz_target;
use tidegate_waf::{Interner, Limits, Memory, Policy, PolicyOptions, Prefiltering, Ruleset};
use tidegate_waf_fuzz::Exchange;

const REQUEST: &[u8] = b"POST /a/../b.php?q=%3Cscript%3Ealert(1)&q=1'%20or%201=1--&n=%u0041\n\
Host: example.com\nCookie: a=b; c=%27\nContent-Type: application/x-www-form-urlencoded\n\
X-Y: select 1 /* x */ from dual\n\nx=1+union+select&y=cat%20/etc/passwd&z=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";

/// What rules may read beside themselves, or include as if it were rules.
const WORDS: &[u8] = b"# words\nselect\nunion\n<script\n/etc/passwd\n";

fuzz_target!(|text: &[u8]| {
    let files = Memory(
        [
            ("/r/rules.conf".into(), text.to_vec()),
            ("/r/words.data".into(), WORDS.to_vec()),
            ("/r/more/a.conf".into(), b"SecMarker A\n".to_vec()),
        ]
        .into(),
    );
    let interner = Interner::default();
    let roots = [Path::new("/r/rules.conf")];
    let lines_of = |text: &[u8]| text.split(|byte| *byte == b'\n').count();
    let lines = lines_of(text).max(lines_of(WORDS));
    let rules = match Ruleset::load(&files, &roots, &interner) {
        Ok(rules) => rules,
        Err(faults) => {
            assert!(!faults.0.is_empty());
            for fault in &faults.0 {
                assert!(fault.at.line as usize <= lines, "{fault}");
                assert!(!fault.what.is_empty());
            }
            return;
        }
    };
    let ids: Vec<u64> = rules.ids().collect();
    assert_eq!(ids.len(), ids.iter().collect::<HashSet<_>>().len(), "an id twice");
    assert!(rules.len() <= lines);
    assert!(rules.notices().iter().all(|notice| notice.at.line as usize <= lines));
    let again = Ruleset::load(&files, &roots, &interner).expect("it loaded before");
    assert_eq!(again.ids().collect::<Vec<_>>(), ids);

    let options = PolicyOptions {
        prefiltering: Prefiltering::Check,
        limits: Limits { work: 1 << 20, ..Limits::default() },
        response_bodies: true,
        ..PolicyOptions::default()
    };
    let policy = Policy::new(rules, options).expect("options without a pattern");
    assert!(policy.rules_in_force() <= ids.len());
    let exchange = Exchange::parse(REQUEST);
    let whole = exchange.run(&policy, u64::MAX);
    assert_eq!(whole.missed, [0; 0], "the prefilter misses matches");
    assert!(whole.matches.iter().all(|found| ids.contains(&found.id)));
    assert_eq!(exchange.run(&policy, 64), whole, "in pieces it ends differently");
});
