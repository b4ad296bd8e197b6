//! Certificates from certificate authorities (RFC 8555).

mod account;
mod failure;
mod http;
mod order;
mod register;

pub(crate) use failure::Failure;
pub(crate) use http::roots;

use crate::{
    certificate::Certificate,
    challenges::{ChallengeKind, Challenges},
    clock::{Clock, after, rfc3339},
    dns01::Dns01,
    metrics::Metrics,
    schedule::Schedule,
    stored::StoredCertificate,
};
use arc_swap::ArcSwap;
use failure::Scope;
use http::Transport;
use order::Desk;
use parking_lot::Mutex;
use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};
use tidegate_config::{Acme, Challenge, Issuer};
use tidegate_store::{Lease, Store};
use time::OffsetDateTime;

/// Orders certificates: issuer by issuer, challenge by challenge.
#[derive(Debug)]
pub(crate) struct Orders {
    store: Arc<dyn Store>,
    challenges: Arc<Challenges>,
    clock: Clock,
    schedule: Schedule,
    metrics: Arc<Metrics>,
    /// One client per directory and roots; as many as the configuration has ever named.
    transports: Mutex<HashMap<(String, Option<PathBuf>), Transport>>,
    /// Who proves names by records, as the configuration in force says.
    dns01: ArcSwap<Dns01>,
}

/// A certificate just issued, checked.
pub(crate) struct Issued {
    pub(crate) stored: StoredCertificate,
    pub(crate) certificate: Certificate,
}

impl Orders {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        challenges: Arc<Challenges>,
        clock: Clock,
        schedule: Schedule,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            challenges,
            clock,
            schedule,
            metrics,
            transports: Mutex::default(),
            dns01: ArcSwap::default(),
        }
    }

    /// Who proves names by records.
    pub(crate) fn dns01(&self) -> Arc<Dns01> {
        self.dns01.load_full()
    }

    /// Puts others in force.
    pub(crate) fn set_dns01(&self, dns01: &Arc<Dns01>) {
        self.dns01.store(Arc::clone(dns01));
    }

    /// Obtains a certificate for `name`, or says why every issuer failed.
    pub(crate) async fn obtain(
        &self,
        name: &str,
        acme: &Acme,
        lease: &Lease,
    ) -> Result<Issued, Failure> {
        let mut texts = Vec::new();
        let mut retry_after = None;
        for issuer in &acme.issuers {
            match self.obtain_from(name, acme, issuer, lease).await {
                Ok(issued) => {
                    self.metrics.ordered(&issuer.name, "issued");
                    return Ok(issued);
                }
                Err(failure) => {
                    self.metrics.ordered(&issuer.name, "failed");
                    if failure.scope == Scope::Node {
                        return Err(failure);
                    }
                    tracing::warn!(
                        name,
                        authority = issuer.name,
                        error = failure.text,
                        "no certificate"
                    );
                    texts.push(format!("{}: {}", issuer.name, failure.text));
                    // The soonest that any of them wants to be asked again.
                    retry_after = match (retry_after, failure.retry_after) {
                        _ if texts.len() == 1 => failure.retry_after,
                        (Some(one), Some(other)) => Some(std::cmp::min(one, other)),
                        _ => None,
                    };
                }
            }
        }
        Err(Failure { text: texts.join("; "), scope: Scope::Authority, retry_after })
    }

    async fn obtain_from(
        &self,
        name: &str,
        acme: &Acme,
        issuer: &Issuer,
        lease: &Lease,
    ) -> Result<Issued, Failure> {
        let transport = self.transport(issuer).await?;
        if let Some(wait) = transport.held_back() {
            let text = format!(
                "asked to be left alone for another {} s: wait, nothing is lost",
                wait.as_secs()
            );
            let scope = Scope::Authority;
            return Err(Failure { text, scope, retry_after: Some(wait) });
        }
        let outcome = match self.try_challenges(name, acme, issuer, lease, &transport, None).await {
            Err((failure, Some(url))) if failure.scope == Scope::Account => {
                tracing::warn!(
                    authority = issuer.name,
                    "the ACME account is unknown there; it is made anew"
                );
                let again =
                    self.try_challenges(name, acme, issuer, lease, &transport, Some(&url)).await;
                again.map_err(|(failure, _)| failure)
            }
            other => other.map_err(|(failure, _)| failure),
        };
        outcome.map_err(|failure| Failure { retry_after: transport.held_back(), ..failure })
    }

    /// Tries each kind of challenge; with a failure comes the account's URL, if there was one.
    async fn try_challenges(
        &self,
        name: &str,
        acme: &Acme,
        issuer: &Issuer,
        lease: &Lease,
        transport: &Transport,
        forget: Option<&str>,
    ) -> Result<Issued, (Failure, Option<String>)> {
        let transport = transport.for_order();
        let call = self.schedule.call;
        let email = acme.email.as_deref();
        let account = account::account(&self.store, &transport, issuer, email, call, forget)
            .await
            .map_err(|failure| (failure, None))?;
        let dns01 = self.dns01();
        let desk = Desk {
            store: &self.store,
            challenges: &self.challenges,
            dns01: &dns01,
            clock: &self.clock,
            schedule: &self.schedule,
            transport: &transport,
            account: &account,
            authority: &issuer.name,
            name,
            lease,
        };
        let known = |failure| (failure, Some(account.id().to_owned()));
        if let Some(stored) = desk.resume().await.map_err(known)? {
            return check(name, stored, self.clock.now()).map_err(known);
        }
        let mut texts: Vec<String> = Vec::new();
        for kind in kinds(name, acme) {
            match desk.place(kind).await {
                Ok(stored) => {
                    return check(name, stored, self.clock.now()).map_err(known);
                }
                Err(failure) if failure.scope == Scope::Challenge => texts.push(failure.text),
                Err(failure) => return Err(known(failure)),
            }
        }
        Err(known(Failure::new(Scope::Authority, texts.join("; "))))
    }

    async fn transport(&self, issuer: &Issuer) -> Result<Transport, Failure> {
        let key = (issuer.directory.clone(), issuer.ca.clone());
        if let Some(transport) = self.transports.lock().get(&key) {
            return Ok(transport.clone());
        }
        let ca = issuer.ca.clone();
        let made = tokio::task::spawn_blocking(move || Transport::new(ca.as_deref())).await;
        let made = made.unwrap_or_else(|error| Err(error.to_string()));
        let transport = made.map_err(|text| Failure::new(Scope::Authority, text))?;
        self.transports.lock().insert(key, transport.clone());
        Ok(transport)
    }

    /// Drops clients, so that changed `ca` files are read again.
    pub(crate) fn reset(&self) {
        self.transports.lock().clear();
    }
}

/// Whether an issuer's settings can work, files included.
pub(crate) fn check_issuer(issuer: &Issuer) -> Result<(), String> {
    if issuer.ca.is_some() {
        Transport::new(issuer.ca.as_deref())?;
    }
    if let Some(eab) = &issuer.eab {
        register::hmac_key(eab)?;
    }
    Ok(())
}

/// Whether what the authority sent is what was ordered.
fn check(
    name: &str,
    mut stored: StoredCertificate,
    now: OffsetDateTime,
) -> Result<Issued, Failure> {
    let wrong = |cause: String| {
        Failure::new(
            Scope::Authority,
            format!("the authority's certificate is not usable: {cause}"),
        )
    };
    let certificate = stored.read().map_err(|error| wrong(error.to_string()))?;
    if !certificate.names.iter().any(|covered| crate::names::covers(covered, name)) {
        return Err(wrong("it does not name the host".to_owned()));
    }
    let (from, until) = (certificate.not_before, certificate.not_after);
    // Authorities backdate theirs, by an hour as a rule; clients are not always right either.
    if until <= now || from > after(now, Duration::from_secs(3600)) {
        let (from, until, now) = (rfc3339(from), rfc3339(until), rfc3339(now));
        let odd = format!(
            "it is valid from {from} to {until} and it is {now} here: is this machine's clock right?"
        );
        return Err(wrong(odd));
    }
    stored.issued = Some(now.unix_timestamp());
    Ok(Issued { stored, certificate })
}

/// The challenges to try, in order: authorities let a wildcard be proved by a record only
/// (CA/Browser Forum, Baseline Requirements section 3.2.2.4).
fn kinds(name: &str, acme: &Acme) -> Vec<ChallengeKind> {
    if name.starts_with("*.") {
        return vec![ChallengeKind::Dns01];
    }
    let provided = acme.dns_provider(name).is_some();
    let kinds = acme.challenges.iter().map(|challenge| kind(*challenge));
    kinds.filter(|kind| provided || *kind != ChallengeKind::Dns01).collect()
}

fn kind(challenge: Challenge) -> ChallengeKind {
    match challenge {
        Challenge::Dns01 => ChallengeKind::Dns01,
        Challenge::Http01 => ChallengeKind::Http01,
        Challenge::TlsAlpn01 => ChallengeKind::TlsAlpn01,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::tests::pem;

    #[test]
    fn a_certificate_whose_dates_are_odd_here_is_refused_with_a_word_on_the_clock() {
        let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let at = |now: OffsetDateTime| {
            let (chain, key) = pem(&["a.example.com"], start, 90);
            let stored = StoredCertificate { authority: "ca".into(), chain, key, issued: None };
            check("a.example.com", stored, now).map_err(|failure| failure.text)
        };
        let days = time::Duration::days;
        assert_eq!(at(start).ok().unwrap().stored.issued, Some(1_800_000_000));
        for odd in [start - days(1), start + days(90)] {
            let text = at(odd).err().unwrap();
            assert!(text.contains("clock") && text.contains("2027-"), "{text}");
        }
    }
}
