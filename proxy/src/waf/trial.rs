//! Policies without a data path: for checking a configuration, and for trying requests.

use super::{
    Decision, Geo, Rulesets, Shared, Waf, compile, compile_lists,
    inspection::{reason, tell_path},
    judge,
};
use crate::normalise;
use http::{HeaderMap, Method};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};
use tidegate_config::{Config, Name, WafMode};
use tidegate_waf::{Cause, Connection, Interner, Policy, Transaction};

/// A policy to try requests on.
pub struct Trial {
    waf: Arc<Waf>,
}

/// What a policy's checks say of a request's head before any rule is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The policy leaves the request alone.
    Bypassed,
    /// The rules have their turn.
    Passed,
    /// A check would refuse it, for this reason: `deny (list abusers)`.
    Refused(String),
}

/// Compiles every policy of a configuration as a process that comes into service does: rule
/// files, lists of addresses and databases are read.
///
/// # Errors
/// Everything that would keep the configuration out of force, as fragments.
pub fn trials(config: &Config) -> Result<BTreeMap<Name, Trial>, Vec<String>> {
    let mut faults = Vec::new();
    let lists = compile_lists(config, &BTreeMap::new(), &mut faults);
    let geo = Geo::load(&config.geo, &Arc::default()).unwrap_or_else(|more| {
        faults.extend(more);
        Arc::default()
    });
    let interner = Interner::default();
    let mut rulesets = Rulesets::new(&interner, std::iter::empty(), false);
    let shared = Shared { lists: &lists, geo: &geo };
    let mut trials = BTreeMap::new();
    for (name, document) in &config.waf {
        match compile(name, document, None, &mut rulesets, &shared) {
            Ok(waf) => drop(trials.insert(name.clone(), Trial { waf })),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(trials) } else { Err(faults) }
}

impl Trial {
    /// Its rules.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.waf.policy
    }

    /// A transaction of its rules; `path` is one that [`route_path`] gives.
    #[must_use]
    pub fn transaction(&self, connection: &Connection<'_>, path: Option<&str>) -> Transaction<'_> {
        let mut transaction = Transaction::new(self.policy(), connection);
        if let Some(path) = path {
            tell_path(&mut transaction, path);
        }
        transaction
    }

    /// What is suspicious about it, as fragments.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let name = &self.waf.name;
        let idle = self.policy().idle_exclusions().iter();
        idle.map(move |idle| {
            format!("WAF policy `{name}`: an exclusion is about {idle}, and there is no such rule")
        })
    }

    /// Whether it refuses what it finds.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.waf.document.mode == WafMode::Block
    }

    /// What the checks before the rules say; crawlers apart, whose names are looked up. `path`
    /// is one that [`route_path`] gives.
    #[must_use]
    pub fn check(
        &self,
        client: IpAddr,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        has_body: bool,
    ) -> Checked {
        match judge(&self.waf, client, method, path, headers, has_body) {
            Decision::Bypass => Checked::Bypassed,
            Decision::Pass => Checked::Passed,
            Decision::Refuse(finding) => Checked::Refused(finding.told()),
        }
    }
}

/// The status of the answer in place of what a policy refuses.
#[must_use]
pub fn status(cause: Cause) -> u16 {
    reason(cause).status().as_u16()
}

/// The path of a target as routes match it, which is what checks and exclusions are about;
/// `None` if the proxy refuses it.
#[must_use]
pub fn route_path(target: &str) -> Option<String> {
    let path = target.split('?').next().unwrap_or_default();
    normalise::path(path).ok().map(std::borrow::Cow::into_owned)
}
