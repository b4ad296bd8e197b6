//! A listener's ways to speak TLS, by the name a client asks for.

use crate::{
    client_auth::ClientAuth,
    names::parent,
    policy::{Policy, Terms},
    tickets::Ring,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tidegate_config::{HostPattern, Listener, Name, Tls};

/// Hosts under the same terms share one policy object.
#[derive(Debug)]
pub(crate) struct Policies {
    listener: Arc<Policy>,
    exact: HashMap<Box<str>, Arc<Policy>>,
    /// By what follows the `*`, with its dot.
    patterns: HashMap<Box<str>, Arc<Policy>>,
}

impl Policies {
    /// Goes on with policies of `old` where nothing of them differs.
    pub(crate) fn build(
        listener: &Listener,
        tls: &Tls,
        auths: &BTreeMap<Name, Arc<ClientAuth>>,
        tickets: &Arc<Ring>,
        old: Option<&Self>,
    ) -> Result<Self, rustls::Error> {
        let mut made: Vec<Arc<Policy>> = old.into_iter().flat_map(Self::all).cloned().collect();
        let mut policy = |policy, client_auth: Option<&Name>| -> Result<_, rustls::Error> {
            let terms = Terms {
                policy,
                min_version: tls.min_version,
                protocols: listener.protocols,
                // One whose files have a fault is missing; then nothing comes into force.
                auth: client_auth.and_then(|name| auths.get(name)).cloned(),
            };
            if let Some(same) = made.iter().find(|made| made.terms == terms) {
                return Ok(Arc::clone(same));
            }
            let policy = Arc::new(Policy::new(terms, tickets)?);
            made.push(Arc::clone(&policy));
            Ok(policy)
        };
        let default = policy(tls.policy, tls.client_auth.as_ref())?;
        let (mut exact, mut patterns) = (HashMap::new(), HashMap::new());
        for host in &tls.hosts {
            let auth = host.client_auth.as_ref().or(tls.client_auth.as_ref());
            let policy = policy(host.policy.unwrap_or(tls.policy), auth)?;
            for name in &host.names {
                match name {
                    HostPattern::Exact(name) => {
                        exact.insert(name.as_str().into(), Arc::clone(&policy));
                    }
                    HostPattern::Wildcard(suffix) => {
                        patterns.insert(suffix.as_str().into(), Arc::clone(&policy));
                    }
                    HostPattern::Regex(_) => {} // refused by the document
                }
            }
        }
        Ok(Self { listener: default, exact, patterns })
    }

    /// The policy of a host in lower case.
    pub(crate) fn find(&self, host: &str) -> &Arc<Policy> {
        if self.exact.is_empty() && self.patterns.is_empty() {
            return &self.listener; // as nearly always
        }
        if let Some(policy) = self.exact.get(host) {
            return policy;
        }
        let mut rest = host;
        while let Some(suffix) = parent(rest) {
            if let Some(policy) = self.patterns.get(suffix) {
                return policy;
            }
            rest = &suffix[1..];
        }
        &self.listener
    }

    /// Whether every host has the very same policy in both.
    pub(crate) fn are_the_same_as(&self, other: &Self) -> bool {
        let same = |one: &HashMap<Box<str>, Arc<Policy>>, other: &HashMap<Box<str>, _>| {
            let found = |(name, policy)| other.get(name).is_some_and(|o| Arc::ptr_eq(o, policy));
            one.len() == other.len() && one.iter().all(found)
        };
        Arc::ptr_eq(&self.listener, &other.listener)
            && same(&self.exact, &other.exact)
            && same(&self.patterns, &other.patterns)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Policy>> {
        [&self.listener].into_iter().chain(self.exact.values()).chain(self.patterns.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn the_exact_name_counts_before_the_longer_pattern_before_the_shorter() {
        let text = r#"
            [listeners.a]
            address = "127.0.0.1:0"
            [listeners.a.tls]
            issuer = "internal"
            hosts = [
              { names = ["*.example.com"], policy = "modern" },
              { names = ["*.b.example.com", "same.test"], policy = "intermediate" },
              { names = ["x.b.example.com"], policy = "modern" },
            ]
        "#;
        let config = tidegate_config::parse(text, "test.toml").unwrap().config;
        let listener = config.listeners.values().next().unwrap();
        let tls = listener.tls.as_ref().unwrap();
        let (auths, tickets) = (BTreeMap::new(), Arc::new(Ring::new(Clock::default(), [])));
        let build =
            |old: Option<&Policies>| Policies::build(listener, tls, &auths, &tickets, old).unwrap();
        let policies = build(None);
        let modern = |host| !Arc::ptr_eq(policies.find(host), &policies.listener);
        for host in ["example.com", "same.test", "a.b.example.com", "y.x.b.example.com"] {
            assert!(!modern(host), "{host}");
        }
        for host in ["a.example.com", "c.a.example.com", "x.b.example.com"] {
            assert!(modern(host), "{host}");
        }
        assert!(build(Some(&policies)).are_the_same_as(&policies));
        assert!(!build(None).are_the_same_as(&policies));
    }
}
