//! A SecLang engine: pure functions over bytes that run the OWASP Core Rule Set.
//!
//! Nothing here knows a network, a runtime or a clock; what a request looks like is told to a
//! [`Transaction`], what to do about it comes back as a [`Verdict`]. Client data is bytes from
//! beginning to end.
//!
//! 1. A [`Ruleset`] is compiled from files, once. Whatever the engine does not know is a
//!    [`Fault`] with file and line; what it knows and leaves to the policy is a notice.
//! 2. A [`Policy`] is a ruleset with a mode, a paranoia level, thresholds, exclusions and
//!    [`Limits`]. Many policies share one ruleset.
//! 3. A [`Transaction`] takes one request through the five phases.
//!
//! ```
//! use std::{collections::BTreeMap, path::Path};
//! use tidegate_waf::{Connection, Interner, Memory, Policy, PolicyOptions, Ruleset, Transaction};
//!
//! let rules = b"SecRule ARGS:q \"@contains <script\" \"id:1,phase:1,deny,t:lowercase,msg:'XSS'\"";
//! let files = Memory(BTreeMap::from([("rules.conf".into(), rules.to_vec())]));
//! let rules = Ruleset::load(&files, &[Path::new("rules.conf")], &Interner::default()).unwrap();
//! let policy = Policy::new(rules, PolicyOptions::default()).unwrap();
//!
//! let mut transaction = Transaction::new(&policy, &Connection::default());
//! transaction.request_line(b"GET", b"/?q=%3CSCRIPT", b"HTTP/1.1");
//! transaction.request_header(b"Host", b"example.com");
//! let verdict = transaction.request_headers();
//! assert_eq!(verdict.status(), Some(403));
//! assert_eq!(transaction.matches()[0].id, 1);
//! ```

mod addresses;
pub mod body;
mod compile;
mod interner;
pub mod libinjection;
pub mod message;
mod operator;
mod path;
mod policy;
mod report;
mod seclang;
mod transaction;
pub mod transform;

pub use addresses::{AddressList, Entries, ListFaults};
pub use compile::Ruleset;
pub use interner::Interner;
pub use path::PathTest;
pub use policy::{
    Exclude, ExcludeTarget, Limits, Mode, OnLimit, Policy, PolicyError, PolicyOptions,
    Prefiltering, RuleChoice, UnknownVariable,
};
pub use report::{Cause, Escaped, Limit, Match, MatchedValue, Scores, Verdict};
pub use seclang::{Collection, Disk, Fault, Faults, Files, Memory, Position};
pub use transaction::{Connection, Transaction};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_policies_are_shared_and_transactions_move_between_threads() {
        fn shared<T: Send + Sync>() {}
        fn moved<T: Send>() {}
        shared::<Ruleset>();
        shared::<Policy>();
        shared::<Interner>();
        moved::<Transaction<'_>>();
    }
}
