//! Our account at an authority: its key is in the store before the authority hears of it.

use super::{
    failure::{Failure, Scope},
    http::Transport,
    register,
};
use crate::stored::{self, StoredAccount, Unreadable};
use base64::prelude::{BASE64_STANDARD as BASE64, Engine};
use instant_acme::{Account, Key};
use rustls_pki_types::PrivatePkcs8KeyDer;
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use tidegate_config::Issuer;
use tidegate_store::{Committed, Compare, Op, Revision, Store, StoreError};

/// Turns of the loop below: registered, stored and found again.
const TURNS: u32 = 4;

/// Where an authority's account is kept: its name for people, and what tells directories and
/// external accounts apart.
pub(super) fn slug(issuer: &Issuer) -> String {
    let mut digest = Sha256::new();
    digest.update(&issuer.directory);
    digest.update([0]);
    digest.update(issuer.eab.as_ref().map(|eab| eab.kid.as_str()).unwrap_or_default());
    format!("{}-{}", issuer.name, hex::encode(&digest.finalize()[..6]))
}

/// The account at `issuer`, made and registered as far as it is not. `forget` is a URL the
/// authority no longer knows.
pub(super) async fn account(
    store: &Arc<dyn Store>,
    transport: &Transport,
    issuer: &Issuer,
    email: Option<&str>,
    call: Duration,
    forget: Option<&str>,
) -> Result<Account, Failure> {
    let key = stored::account_key(&slug(issuer));
    for _ in 0..TURNS {
        let Some((mut found, revision)) = read(store, &key).await? else {
            create(store, &key, issuer, email).await?;
            continue;
        };
        let secret = BASE64.decode(&found.key).map_err(|_| {
            Failure::new(Scope::Authority, format!("the account stored as `{key}` is broken"))
        })?;
        match &found.url {
            Some(url) if Some(url.as_str()) != forget => {
                let account = open(transport, issuer, url, secret, call).await?;
                if found.email.as_deref() != email {
                    contact(&account, email, call).await?;
                    found.email = email.map(str::to_owned);
                    write(store, &key, &found, revision).await?;
                }
                return Ok(account);
            }
            _ => {
                let register = register::register(
                    transport,
                    &issuer.directory,
                    &secret,
                    email,
                    issuer.eab.as_ref(),
                );
                let url = timed(call, register).await??;
                tracing::info!(authority = issuer.name, "ACME account registered");
                found.url = Some(url);
                found.email = email.map(str::to_owned);
                write(store, &key, &found, revision).await?;
                if forget.is_some() && found.url.as_deref() == forget {
                    // The same URL again: it is good now.
                    let url = forget.unwrap_or_default();
                    return open(transport, issuer, url, secret, call).await;
                }
            }
        }
    }
    Err(Failure::new(Scope::Node, "another process keeps changing the ACME account"))
}

/// Bounds a call of the authority.
pub(super) async fn timed<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(limit, call).await.map_err(|_| {
        let seconds = limit.as_secs();
        Failure::new(Scope::Authority, format!("the authority did not answer within {seconds} s"))
    })
}

/// What the store's refusal means for an order.
pub(super) fn store_failure(error: &StoreError) -> Failure {
    Failure::new(Scope::Node, error.to_string())
}

async fn open(
    transport: &Transport,
    issuer: &Issuer,
    url: &str,
    key: Vec<u8>,
    call: Duration,
) -> Result<Account, Failure> {
    let builder = Account::builder_with_http(Box::new(transport.clone()));
    let key = PrivatePkcs8KeyDer::from(key);
    let account = builder.from_parts(url.to_owned(), key, issuer.directory.clone());
    timed(call, account).await?.map_err(|error| Failure::of(&error, None))
}

async fn contact(account: &Account, email: Option<&str>, call: Duration) -> Result<(), Failure> {
    let mail = email.map(|email| format!("mailto:{email}"));
    let contacts: Vec<&str> = mail.iter().map(String::as_str).collect();
    timed(call, account.update_contacts(&contacts))
        .await?
        .map_err(|error| Failure::of(&error, None))
}

async fn create(
    store: &Arc<dyn Store>,
    key: &str,
    issuer: &Issuer,
    email: Option<&str>,
) -> Result<(), Failure> {
    let (_, secret) = Key::generate_pkcs8()
        .map_err(|_| Failure::new(Scope::Node, "no key could be made for the ACME account"))?;
    let fresh = StoredAccount {
        directory: issuer.directory.clone(),
        url: None,
        email: email.map(str::to_owned),
        key: BASE64.encode(secret.secret_pkcs8_der()),
    };
    write(store, key, &fresh, Revision(0)).await
}

async fn read(
    store: &Arc<dyn Store>,
    key: &str,
) -> Result<Option<(StoredAccount, Revision)>, Failure> {
    let Some(entry) = store.get(key).await.map_err(|error| store_failure(&error))? else {
        return Ok(None);
    };
    match stored::decode(&entry.value) {
        Ok(account) => Ok(Some((account, entry.revision))),
        // Broken ones were kept aside when the store was opened.
        Err(cause @ (Unreadable::Newer(_) | Unreadable::Broken(_))) => {
            Err(Failure::new(Scope::Authority, format!("the account stored as `{key}`: {cause}")))
        }
    }
}

/// Writes unless another process was quicker; then the caller reads again.
async fn write(
    store: &Arc<dyn Store>,
    key: &str,
    account: &StoredAccount,
    revision: Revision,
) -> Result<(), Failure> {
    let compare = Compare::Revision { key: key.to_owned(), is: revision };
    let put = Op::Put { key: key.to_owned(), value: stored::encode(account) };
    match store.txn(vec![compare], vec![put]).await {
        Ok(Committed::Yes(_) | Committed::No) => Ok(()),
        Err(error) => Err(store_failure(&error)),
    }
}
