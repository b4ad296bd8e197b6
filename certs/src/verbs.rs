//! What an operator asks of authorities by hand.

use crate::{
    CertsError, Inner,
    acme::{Failure, RevocationReason},
    open::read,
    stored::{self, StoredRenewal, certificate_key},
    table::Origin,
};
use std::sync::Arc;
use tidegate_config::{Acme, Issuer};
use tidegate_store::Op;

/// See [`crate::Certs::renew`].
pub(crate) fn renew(inner: &Inner, name: &str) -> Result<(), CertsError> {
    let mut state = inner.state.lock();
    if !state.wanted_from(Origin::Acme).any(|wanted| wanted == name) {
        let what = "is not a name that a listener has by ACME".to_owned();
        return Err(CertsError::Name { name: name.to_owned(), what });
    }
    state.attempts.remove(name);
    state.renew.insert(name.to_owned());
    drop(state);
    tracing::info!(name, "a certificate is ordered anew, as asked");
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
    let (acme, issuer) = configured(inner, &stored.authority)?;
    let leaf = certificate.key.cert.first().map(AsRef::as_ref).unwrap_or_default();
    let revoked = inner.orders.revoke(&acme, &issuer, leaf, &stored.key, reason).await;
    let remedy = "the certificate is still good and still served";
    revoked.map_err(|failure| failed(&issuer.name, &failure, remedy))?;
    tracing::info!(name, serial = certificate.serial, ?reason, "a certificate was revoked");
    if let Some(id) = certificate.renewal_id {
        let renewal = StoredRenewal::revoked(id);
        let put = Op::Put { key: stored::renewal_key(name), value: stored::encode(&renewal) };
        let kept = inner.store.txn(vec![], vec![put]).await;
        inner.state.lock().renewals.insert(name.to_owned(), renewal);
        inner.wake.notify_one();
        kept?;
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
