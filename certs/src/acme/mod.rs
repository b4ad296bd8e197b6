//! Certificates from certificate authorities (RFC 8555).

mod account;
mod client;
mod failure;
mod issued;
mod jws;
mod order;
mod prove;
mod renewal;
mod revoke;
mod rollover;
mod solve;
mod throttle;
mod transport;
mod verdict;

pub(crate) use failure::{Failure, Scope};
pub(crate) use issued::Issued;
pub use revoke::RevocationReason;
pub(crate) use transport::MAX_RETRY_AFTER;
pub(crate) use verdict::Verdict;

use crate::{
    challenges::{ChallengeKind, Challenges},
    clock::Clock,
    dns01::Dns01,
    event::{EventKind, Events},
    metrics::Metrics,
    schedule::Schedule,
    stored,
};
use account::{Gone, Registrar, slug};
use arc_swap::ArcSwap;
use client::Client;
use order::Desk;
use parking_lot::Mutex;
use std::{collections::HashMap, path::PathBuf, sync::Arc};
use throttle::{Lane, Throttles};
use tidegate_config::{Acme, Challenge, Issuer};
use tidegate_store::{Lease, Op, Store};
use transport::Transport;

/// A directory, and the file of roots it is trusted by.
type Reached = (String, Option<PathBuf>);

/// Orders certificates: issuer by issuer, challenge by challenge.
pub(crate) struct Orders {
    store: Arc<dyn Store>,
    challenges: Arc<Challenges>,
    clock: Clock,
    schedule: Schedule,
    metrics: Arc<Metrics>,
    events: Arc<Events>,
    throttles: Throttles,
    /// As many as the configuration names.
    clients: Mutex<HashMap<Reached, Arc<Client>>>,
    /// Who proves names by records, as the configuration in force says.
    dns01: ArcSwap<Dns01>,
}

/// What is ordered.
pub(crate) struct Request<'a> {
    pub(crate) name: &'a str,
    pub(crate) acme: &'a Acme,
    /// The right to order for the name.
    pub(crate) lease: &'a Lease,
    /// An attempt has failed: prove the name at an issuer's staging directory first, which
    /// spares the limits of the real one.
    pub(crate) rehearse: bool,
    /// It is had on demand.
    pub(crate) demanded: bool,
    /// The certificate in force: its authority and how that calls it (RFC 9773 section 5).
    pub(crate) replaces: Option<(String, String)>,
}

impl Orders {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        challenges: Arc<Challenges>,
        clock: Clock,
        schedule: Schedule,
        metrics: Arc<Metrics>,
        events: Arc<Events>,
    ) -> Self {
        let throttles = Throttles::new(Arc::clone(&store), clock.clone());
        let clients = Mutex::default();
        let dns01 = ArcSwap::default();
        Self { store, challenges, clock, schedule, metrics, events, throttles, clients, dns01 }
    }

    /// Who proves names by records.
    pub(crate) fn dns01(&self) -> Arc<Dns01> {
        self.dns01.load_full()
    }

    /// Puts others in force.
    pub(crate) fn set_dns01(&self, dns01: &Arc<Dns01>) {
        self.dns01.store(Arc::clone(dns01));
    }

    /// Obtains a certificate, or says why every issuer failed.
    pub(crate) async fn obtain(&self, request: &Request<'_>) -> Result<Issued, Failure> {
        let name = request.name;
        let mut texts = Vec::new();
        let mut retry_after = None;
        let mut busy = None;
        for issuer in &request.acme.issuers {
            match self.obtain_from(request, issuer).await {
                Ok(issued) => {
                    self.metrics.ordered(&issuer.name, "issued");
                    return Ok(issued);
                }
                Err(failure) if failure.scope == Scope::Node => return Err(failure),
                // The next one may be had now.
                Err(failure) if failure.scope == Scope::Busy => {
                    busy.get_or_insert(Failure { scope: Scope::Turn, ..failure });
                }
                // Else an issuer has failed: to wait for this one's turn would hide that, and ask
                // the other again and again.
                Err(failure) if failure.scope == Scope::Turn && texts.is_empty() => {
                    return Err(failure);
                }
                Err(failure) => {
                    self.metrics.ordered(&issuer.name, "failed");
                    let text = format!("{}: {}", issuer.name, failure.text);
                    self.events.tell(EventKind::Refused, name, &text);
                    texts.push(text);
                    // The soonest that any of them wants to be asked again.
                    retry_after = match (retry_after, failure.retry_after) {
                        _ if texts.len() == 1 => failure.retry_after,
                        (Some(one), Some(other)) => Some(std::cmp::min(one, other)),
                        _ => None,
                    };
                }
            }
        }
        match busy.filter(|_| texts.is_empty()) {
            Some(busy) => Err(busy),
            None => Err(Failure { text: texts.join("; "), scope: Scope::Authority, retry_after }),
        }
    }

    async fn obtain_from(&self, request: &Request<'_>, issuer: &Issuer) -> Result<Issued, Failure> {
        if let Some(staging) = issuer.staging.as_ref().filter(|_| request.rehearse) {
            let twin = Issuer {
                name: staging_name(issuer),
                directory: staging.clone(),
                eab: None,
                orders: None,
                staging: None,
                ..issuer.clone()
            };
            match self.order(request, &twin).await {
                Ok(_) => {
                    // What was proved there is not to be taken for proof the next time.
                    let key = stored::pending_key(&twin.name, request.name);
                    let deleted = self.store.txn(vec![], vec![Op::Delete { key }]).await;
                    deleted.map_err(|error| account::store_failure(&error))?;
                    let text = format!("{}: the name is proved", twin.name);
                    self.events.tell(EventKind::Proved, request.name, text);
                }
                // Its verdict on the name would be the real one's too.
                Err(failure) if failure.scope == Scope::Name => {
                    let text = format!("at its staging directory: {}", failure.text);
                    return Err(Failure { text, ..failure });
                }
                Err(failure) if matches!(failure.scope, Scope::Node | Scope::Turn) => {
                    return Err(failure);
                }
                Err(failure) => {
                    let (issuer, error) = (&twin.name, &failure.text);
                    tracing::debug!(issuer, error, "staging is no help");
                }
            }
        }
        self.order(request, issuer).await
    }

    /// Orders at one directory.
    async fn order(&self, request: &Request<'_>, issuer: &Issuer) -> Result<Issued, Failure> {
        let slug = slug(issuer);
        let lane = Lane { slug: &slug, issuer, demanded: request.demanded };
        if let Some(failure) = self.throttles.held(&lane).await {
            return Err(failure);
        }
        let outcome = self.order_as(request, lane).await;
        if let Err(Failure { retry_after: Some(wait), scope, .. }) = &outcome
            && !matches!(scope, Scope::Turn | Scope::Busy)
        {
            self.throttles.hold(&lane, *wait).await;
        }
        outcome
    }

    /// Orders with our account, which is made anew if the authority no longer knows it.
    async fn order_as(&self, request: &Request<'_>, lane: Lane<'_>) -> Result<Issued, Failure> {
        let issuer = lane.issuer;
        let client = self.client(issuer).await?;
        let email = request.acme.email.as_deref();
        let registrar = self.registrar(&client, issuer, email);
        let (kinds, dns01) = (kinds(request.name, request.acme), self.dns01());
        let replaces = request.replaces.as_ref();
        let replaces = replaces.filter(|(authority, _)| *authority == issuer.name);
        let replaces = replaces.map(|(_, id)| id.as_str());
        let mut gone = None;
        loop {
            let account = registrar.account(gone.as_ref()).await?;
            let desk = Desk {
                store: &self.store,
                events: &self.events,
                challenges: &self.challenges,
                dns01: &dns01,
                clock: &self.clock,
                schedule: &self.schedule,
                throttles: &self.throttles,
                account: &account,
                issuer,
                lane,
                kinds: &kinds,
                name: request.name,
                replaces,
                lease: request.lease,
            };
            let failure = match Box::pin(desk.run()).await {
                Ok(issued) => return Ok(issued),
                Err(failure) if gone.is_some() => return Err(failure),
                Err(failure) => failure,
            };
            gone = match failure.scope {
                Scope::Account => Some(Gone::Forgotten(account.url)),
                Scope::Unauthorized if account.is_closed().await => Some(Gone::Closed(account.url)),
                _ => return Err(failure),
            };
        }
    }

    fn registrar<'a>(
        &'a self,
        client: &'a Arc<Client>,
        issuer: &'a Issuer,
        email: Option<&'a str>,
    ) -> Registrar<'a> {
        let (store, events, throttles) = (&self.store, &*self.events, &self.throttles);
        Registrar { store, events, throttles, client, issuer, email }
    }

    /// Gives the account at `issuer` another key.
    pub(crate) async fn roll_over(&self, acme: &Acme, issuer: &Issuer) -> Result<(), Failure> {
        let client = self.client(issuer).await?;
        let email = acme.email.as_deref();
        self.registrar(&client, issuer, email).roll_over().await
    }

    async fn client(&self, issuer: &Issuer) -> Result<Arc<Client>, Failure> {
        let key = (issuer.directory.clone(), issuer.ca.clone());
        if let Some(client) = self.clients.lock().get(&key) {
            return Ok(Arc::clone(client));
        }
        let ca = issuer.ca.clone();
        let made = tokio::task::spawn_blocking(move || Transport::new(ca.as_deref())).await;
        let made = made.unwrap_or_else(|error| Err(error.to_string()));
        let transport = made.map_err(|text| Failure::new(Scope::Authority, text))?;
        let client = Arc::new(Client::new(transport, &issuer.directory, self.schedule.call));
        // Another order may have been quicker: nonces are better shared.
        Ok(Arc::clone(self.clients.lock().entry(key).or_insert(client)))
    }

    /// Drops clients, so that changed `ca` files are read again. What authorities asked for is
    /// kept elsewhere.
    pub(crate) fn reset(&self) {
        self.clients.lock().clear();
    }
}

/// What the staging directory of an issuer is called.
pub(crate) fn staging_name(issuer: &Issuer) -> String {
    format!("{}-staging", issuer.name)
}

/// Whether an issuer's settings can work, files included.
pub(crate) fn check_issuer(issuer: &Issuer) -> Result<(), String> {
    if issuer.ca.is_some() {
        Transport::new(issuer.ca.as_deref())?;
    }
    if let Some(eab) = &issuer.eab {
        jws::hmac_key(eab)?;
    }
    Ok(())
}

/// The challenges to try, in order: authorities let a wildcard be proved by a record only
/// (CA/Browser Forum, Baseline Requirements section 3.2.2.4).
pub(crate) fn kinds(name: &str, acme: &Acme) -> Vec<ChallengeKind> {
    if name.starts_with("*.") {
        return vec![ChallengeKind::Dns01];
    }
    let provided = acme.dns_provider(name).is_some();
    let kinds = acme.challenges.iter().map(kind);
    kinds.filter(|kind| provided || *kind != ChallengeKind::Dns01).collect()
}

fn kind(challenge: &Challenge) -> ChallengeKind {
    match challenge {
        Challenge::Dns01 => ChallengeKind::Dns01,
        Challenge::Http01 => ChallengeKind::Http01,
        Challenge::TlsAlpn01 => ChallengeKind::TlsAlpn01,
    }
}
