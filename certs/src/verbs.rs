//! What an operator asks of authorities by hand.

use crate::{
    CertsError, Inner,
    acme::{Failure, RevocationReason},
    clock::after,
    event::EventKind,
    import::IMPORTED,
    open::read,
    stored::{self, StoredRenewal, certificate_key},
    table::Origin,
};
use std::{sync::Arc, time::Duration};
use tidegate_config::{Acme, Issuer};
use tidegate_store::Op;

/// A name that has just had a certificate gets another only for who insists: authorities allow a few
/// a week.
const REST: Duration = Duration::from_secs(3600);

/// See [`crate::Certs::renew`].
pub(crate) fn renew(inner: &Inner, name: &str, insist: bool) -> Result<(), CertsError> {
    let now = inner.clock.now();
    let mut state = inner.state.lock();
    if !state.ordered(inner.clock.now()).any(|wanted| wanted == name) {
        let what = "is not a name that a listener has by ACME".to_owned();
        return Err(CertsError::Name { name: name.to_owned(), what });
    }
    let issued = state.issued.get(name).and_then(|issued| issued.at);
    if !insist && issued.is_some_and(|at| (at..after(at, REST)).contains(&now)) {
        let what = "had a certificate within the last hour, and authorities count them".to_owned();
        return Err(CertsError::Early { name: name.to_owned(), what });
    }
    if let Some(attempt) = state.attempts.get_mut(name) {
        // That it failed still counts: the next attempt is rehearsed.
        attempt.first = None;
        attempt.next = attempt.next.filter(|_| !insist);
    }
    state.renew.insert(name.to_owned());
    drop(state);
    inner.events.tell(EventKind::Asked, name, "to be ordered anew");
    inner.wake.notify_one();
    Ok(())
}

/// See [`crate::Certs::roll_account_over`].
pub(crate) async fn roll_account_over(inner: &Inner, issuer: &str) -> Result<(), CertsError> {
    if !inner.state.lock().ordering.is_empty() {
        let what = "orders are under way";
        return Err(refused(issuer, what, "try again when they are done"));
    }
    let (acme, issuer) = configured(inner, issuer)?;
    let rolled = inner.orders.roll_over(&acme, &issuer).await;
    let remedy = "ask again: no key is lost";
    rolled.map_err(|failure| failed(&issuer.name, &failure, remedy))
}

/// See [`crate::Certs::revoke`].
pub(crate) async fn revoke(
    inner: &Inner,
    name: &str,
    reason: RevocationReason,
) -> Result<(), CertsError> {
    let missing = |what: &str| CertsError::Name { name: name.to_owned(), what: what.to_owned() };
    let entry = inner.store.get(&certificate_key(Origin::Acme, name)).await?;
    let entry = entry.ok_or_else(|| missing("has no certificate of an authority"))?;
    let (stored, certificate) =
        read(&entry).map_err(|_| missing("has a stored certificate that is broken"))?;
    if stored.authority == IMPORTED {
        return Err(missing("has an imported certificate: revoke it where it was obtained"));
    }
    let (acme, issuer) = configured(inner, &stored.authority)?;
    let leaf = certificate.key.cert.first().map(AsRef::as_ref).unwrap_or_default();
    let revoked = inner.orders.revoke(&acme, &issuer, leaf, &stored.key, reason).await;
    let remedy = "the certificate is still good and still served";
    revoked.map_err(|failure| failed(&issuer.name, &failure, remedy))?;
    let text = format!("{} is revoked, {reason:?}", certificate.serial);
    inner.events.tell(EventKind::Revoked, name, text);
    let renewal = certificate.renewal_id.map(StoredRenewal::revoked);
    {
        let mut state = inner.state.lock();
        if let Some(renewal) = &renewal {
            state.renewals.insert(name.to_owned(), renewal.clone());
        }
        if let Some(attempt) = state.attempts.get_mut(name) {
            (attempt.first, attempt.next) = (None, None);
        }
        if state.ordered(inner.clock.now()).any(|wanted| wanted == name) {
            state.renew.insert(name.to_owned());
        }
    }
    inner.wake.notify_one();
    if let Some(renewal) = renewal {
        let put = Op::Put { key: stored::renewal_key(name), value: stored::encode(&renewal) };
        inner.store.txn(vec![], vec![put]).await?;
    }
    Ok(())
}

fn configured(inner: &Inner, name: &str) -> Result<(Arc<Acme>, Issuer), CertsError> {
    let acme = inner.state.lock().wanted.acme.clone();
    let found = acme.and_then(|acme| {
        let issuer = acme.issuers.iter().find(|issuer| issuer.name == name)?.clone();
        Some((acme, issuer))
    });
    found.ok_or_else(|| refused(name, "`[acme]` names no such issuer", "see `issuers` there"))
}

fn failed(issuer: &str, failure: &Failure, remedy: &str) -> CertsError {
    refused(issuer, &failure.text, remedy)
}

fn refused(issuer: &str, what: &str, remedy: &str) -> CertsError {
    CertsError::Issuer {
        issuer: issuer.to_owned(),
        what: what.to_owned(),
        remedy: remedy.to_owned(),
    }
}
