//! What the tests of this folder share.
#![expect(dead_code, reason = "each test file is a crate of its own and uses some of it")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use tidegate_waf::{
    Connection, Faults, Interner, Match, Memory, Policy, PolicyOptions, Ruleset, Transaction,
    Verdict,
};

/// Loads rules from text.
pub(crate) fn load(text: &str) -> Result<Arc<Ruleset>, Faults> {
    let files = Memory(BTreeMap::from([("rules.conf".into(), text.as_bytes().to_vec())]));
    Ruleset::load(&files, &[Path::new("rules.conf")], &Interner::default())
}

/// A policy of rules that load.
pub(crate) fn policy(text: &str, options: PolicyOptions) -> Policy {
    let rules = load(text).unwrap_or_else(|faults| panic!("{faults}"));
    Policy::new(rules, options).unwrap_or_else(|error| panic!("{error}"))
}

/// A request, told in a few words.
#[derive(Clone, Default)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    pub(crate) fn get(target: &'a str) -> Self {
        Self { method: "GET", target, ..Self::default() }
    }

    pub(crate) fn post(target: &'a str, kind: &'a [(&'a str, &'a str)], body: &'a [u8]) -> Self {
        Self { method: "POST", target, headers: kind, body }
    }

    /// Tells it to a new transaction, up to phase 2, and logs.
    pub(crate) fn run<'p>(&self, policy: &'p Policy) -> (Transaction<'p>, Verdict) {
        let mut transaction = Transaction::new(policy, &Connection::default());
        transaction.request_line(self.method.as_bytes(), self.target.as_bytes(), b"HTTP/1.1");
        for (name, value) in self.headers {
            transaction.request_header(name.as_bytes(), value.as_bytes());
        }
        transaction.request_headers();
        let verdict = transaction.request_body(self.body);
        transaction.log();
        (transaction, verdict)
    }

    /// The ids of the rules that matched and log.
    pub(crate) fn ids(&self, policy: &Policy) -> Vec<u64> {
        self.run(policy).0.matches().iter().map(|m: &Match| m.id).collect()
    }
}

/// Where rule sets for tests are, if they are there.
pub(crate) fn shared() -> Option<PathBuf> {
    let path = std::env::var_os("TIDEGATE_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
        PathBuf::from,
    );
    let found = path.join("crs4").is_dir();
    if !found {
        eprintln!("skipped: no {}", path.join("crs4").display());
    }
    found.then_some(path)
}
