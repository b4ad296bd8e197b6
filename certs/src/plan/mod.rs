//! A dry run: which names would be ordered, and what keeps one from being had. Nothing is ordered
//! and no record is changed; this node is looked at as an authority would, from where it stands.

mod addresses;
mod caa;
mod http01;
mod probe;
mod tls_alpn;

use crate::{
    Inner,
    acme::{Verdict, kinds},
    challenges::ChallengeKind,
    clock::rfc3339,
    drive::{Reason, reason},
    job::renews_at,
};
use addresses::Addresses;
use caa::Caa;
use probe::Probe;
use serde::Serialize;
use std::sync::Arc;
use tidegate_config::{Acme, ValidationPorts};
use tidegate_dns::Resolver;
use time::OffsetDateTime;
use tokio::{sync::Semaphore, task::JoinSet};

/// Names looked at in one run.
const MAX_NAMES: usize = 200;
/// Names looked at together; each has two challenges open, and there is room for 256.
const AT_ONCE: usize = 32;

/// What would be ordered now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Every name that would be ordered, or was asked for.
    pub names: Vec<PlannedName>,
    /// How many more there are: at most 200 are looked at in one run.
    pub left_out: usize,
    /// The issuers, in the order they are asked.
    pub issuers: Vec<PlanCheck>,
}

/// What would become of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedName {
    /// A host name or a wildcard.
    pub name: String,
    /// Why it would be ordered; without, it would not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// When it would be ordered (RFC 3339): the past means at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The issuer that would be had it from: the first that nothing speaks against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Whether it can be had, as far as can be seen from here.
    pub obtainable: bool,
    /// What was looked at.
    pub checks: Vec<PlanCheck>,
}

/// One look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanCheck {
    /// At what: an issuer's name, `addresses`, `caa` or a challenge.
    pub check: String,
    /// Whether nothing speaks against an order.
    pub passed: bool,
    /// What was found, and if it did not pass, what to do.
    pub found: String,
}

impl PlanCheck {
    fn of(check: &str, found: Result<String, String>) -> Self {
        let passed = found.is_ok();
        Self { check: check.to_owned(), passed, found: found.unwrap_or_else(|why| why) }
    }
}

/// What the looks at all names share.
struct Tools {
    inner: Arc<Inner>,
    acme: Arc<Acme>,
    resolver: Resolver,
    ports: ValidationPorts,
    verdicts: Vec<Verdict>,
}

/// See [`crate::Certs::plan`].
pub(crate) async fn plan(inner: &Arc<Inner>, asked: &[String]) -> Plan {
    // One at a time: each opens challenges. Nobody closes it.
    let _turn = inner.planning.acquire().await;
    let (mut names, wanted) = names(inner, asked);
    let left_out = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    let Some(acme) = wanted.acme.clone().filter(|_| !names.is_empty()) else {
        return Plan { names, left_out, issuers: Vec::new() };
    };
    let mut verdicts = Vec::new();
    for issuer in &acme.issuers {
        verdicts.push(Box::pin(inner.orders.judge(issuer)).await);
    }
    let issuers =
        verdicts.iter().map(|verdict| PlanCheck::of(&verdict.issuer, verdict.outcome.clone()));
    let issuers = issuers.collect();
    let tools = Arc::new(Tools {
        inner: Arc::clone(inner),
        resolver: Resolver::new(&wanted.nameservers),
        ports: acme.validation_ports.clone(),
        acme,
        verdicts,
    });
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut looks = JoinSet::new();
    for name in names {
        let (tools, permits) = (Arc::clone(&tools), Arc::clone(&permits));
        looks.spawn(async move {
            // Nobody closes it.
            let _permit = permits.acquire().await;
            tools.look(name).await
        });
    }
    let mut names = looks.join_all().await;
    names.sort_by(|one, other| one.name.cmp(&other.name));
    Plan { names, left_out, issuers }
}

/// The names to look at: those asked for, else those that would be ordered; and what is wanted.
fn names(inner: &Inner, asked: &[String]) -> (Vec<PlannedName>, Arc<crate::wanted::Wanted>) {
    let now = inner.clock.now();
    let table = inner.managed.load();
    let state = inner.state.lock();
    let wanted = Arc::clone(&state.wanted);
    let mut names = Vec::new();
    for name in state.ordered(now) {
        let Some(acme) = &wanted.acme else { break };
        let reason = reason(&state, &table, acme, name, now);
        let is_asked = asked.contains(name);
        if !is_asked && (reason.is_none() || !asked.is_empty()) {
            continue;
        }
        let held = state.shown_for(&table, name).0;
        let due = held
            .filter(|_| reason.is_none())
            .map_or(now, |held| renews_at(&held.certificate, acme, state.renewals.get(name)));
        let attempt = state.attempts.get(name).and_then(|attempt| attempt.next);
        let at = attempt.map_or(due, |next: OffsetDateTime| next.max(due));
        names.push(PlannedName {
            name: name.clone(),
            reason,
            at: Some(rfc3339(at)),
            issuer: None,
            obtainable: false,
            checks: Vec::new(),
        });
    }
    for (name, why) in &wanted.impossible {
        if asked.is_empty() || asked.contains(name) {
            let check = PlanCheck::of("configuration", Err((*why).to_owned()));
            names.push(PlannedName {
                name: name.clone(),
                reason: None,
                at: None,
                issuer: None,
                obtainable: false,
                checks: vec![check],
            });
        }
    }
    (names, wanted)
}

impl Tools {
    async fn look(&self, mut planned: PlannedName) -> PlannedName {
        if !planned.checks.is_empty() {
            // The configuration rules it out.
            return planned;
        }
        let name = planned.name.clone();
        let (addresses, caa) =
            tokio::join!(Addresses::of(&self.resolver, &name), Caa::of(&self.resolver, &name));
        let proofs = self.prove(&name, &addresses).await;
        let permits = |verdict: &&Verdict| {
            verdict.outcome.is_ok() && caa.permits(&verdict.identities).is_ok()
        };
        let issuer = self.verdicts.iter().find(permits);
        let is_proved = proofs.iter().any(|proof| proof.passed);
        planned.obtainable = issuer.is_some() && is_proved;
        planned.issuer = issuer.map(|issuer| issuer.issuer.clone());
        // Of several issuers the first one's view is told.
        let identities = issuer.or(self.verdicts.first());
        let identities = identities.map_or(&[][..], |verdict| &verdict.identities);
        if !name.starts_with("*.") {
            planned.checks.push(PlanCheck::of("addresses", addresses.told()));
        }
        planned.checks.push(PlanCheck::of("caa", caa.permits(identities)));
        planned.checks.extend(proofs);
        planned
    }

    /// Tries each challenge that would be.
    async fn prove(&self, name: &str, addresses: &Addresses) -> Vec<PlanCheck> {
        let kinds = kinds(name, &self.acme);
        let mut proofs = Vec::new();
        let probe = Probe::open(&self.inner, name).await;
        for kind in kinds {
            let (word, found) = match kind {
                ChallengeKind::Http01 => {
                    ("http-01", http01::look(&probe, name, addresses, self.ports.http).await)
                }
                ChallengeKind::TlsAlpn01 => {
                    ("tls-alpn-01", tls_alpn::look(&probe, name, addresses, self.ports.tls).await)
                }
                ChallengeKind::Dns01 => ("dns-01", self.inner.orders.dns01().rehearse(name).await),
            };
            proofs.push(PlanCheck::of(word, found));
        }
        probe.close(&self.inner).await;
        proofs
    }
}
