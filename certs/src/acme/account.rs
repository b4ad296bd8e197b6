//! Our account at an authority: its key is in the store before the authority hears of it.

use super::{
    client::{Answer, Client, WireError},
    failure::{Failure, Scope},
    jws::{self, Signer, SigningKey},
    throttle::Throttles,
};
use crate::{
    event::{EventKind, Events},
    stored::{self, StoredAccount},
};
use base64::prelude::{BASE64_STANDARD as BASE64, Engine};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tidegate_config::Issuer;
use tidegate_store::{Committed, Compare, Op, Revision, Store, StoreError};

/// Turns of the loop below: registered, stored and found again.
const TURNS: u32 = 5;

/// Where an authority's account is kept: its name for people, and what tells directories and
/// external accounts apart.
pub(super) fn slug(issuer: &Issuer) -> String {
    let mut digest = Sha256::new();
    digest.update(&issuer.directory);
    digest.update([0]);
    digest.update(issuer.eab.as_ref().map(|eab| eab.kid.as_str()).unwrap_or_default());
    format!("{}-{}", issuer.name, hex::encode(&digest.finalize()[..6]))
}

/// An account that can sign.
pub(super) struct Account {
    pub(super) client: Arc<Client>,
    pub(super) url: String,
    key: SigningKey,
}

impl Account {
    /// A signed request; without a payload a POST-as-GET (RFC 8555 section 6.3).
    pub(super) async fn post(
        &self,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Answer, WireError> {
        let signer = Signer::Account { key: &self.key, url: &self.url };
        self.client.post(&signer, url, payload).await
    }

    /// What proves control over `token`'s name (section 8.1).
    pub(super) fn key_authorization(&self, token: &str) -> String {
        self.key.key_authorization(token)
    }

    /// Whether the authority has closed it: it can do nothing any more.
    pub(super) async fn is_closed(&self) -> bool {
        match self.post(&self.url, None).await {
            Ok(answer) => {
                let body: Option<Value> = answer.read(&self.url).ok();
                let status = body.as_ref().and_then(|body| body["status"].as_str());
                status.is_some_and(|status| status != "valid")
            }
            Err(error) => error.kind() == "unauthorized",
        }
    }
}

/// What is wrong with the account of an earlier attempt, by its URL.
pub(super) enum Gone {
    /// The authority has forgotten it; its key may come again.
    Forgotten(String),
    /// It was deactivated or revoked (RFC 8555 section 7.3.6), and its key with it.
    Closed(String),
}

/// Finds and makes the account at one authority.
pub(super) struct Registrar<'a> {
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) events: &'a Events,
    pub(super) throttles: &'a Throttles,
    pub(super) client: &'a Arc<Client>,
    pub(super) issuer: &'a Issuer,
    pub(super) email: Option<&'a str>,
}

impl Registrar<'_> {
    /// The account, made and registered as far as it is not.
    pub(super) async fn account(&self, gone: Option<&Gone>) -> Result<Account, Failure> {
        // Orders that begin together register once.
        let _turn = self.client.registering.lock().await;
        let mut registered = None;
        for _ in 0..TURNS {
            let Some((mut found, revision)) = self.read().await? else {
                self.write(&self.fresh()?, Revision(0)).await?;
                continue;
            };
            if let Some(Gone::Closed(url)) = gone
                && found.url.as_ref() == Some(url)
            {
                self.tell("the ACME account is closed; a new one is made");
                self.write(&self.fresh()?, revision).await?;
                continue;
            }
            if found.next_key.is_some() {
                self.settle(found, revision).await?;
                continue;
            }
            let key = self.key(&found.key)?;
            let forgotten = |url: &String| match gone {
                Some(Gone::Forgotten(gone)) => gone == url && registered.as_ref() != Some(url),
                _ => false,
            };
            match found.url.clone().filter(|url| !forgotten(url)) {
                Some(url) => {
                    let account = Account { client: Arc::clone(self.client), url, key };
                    if found.email.as_deref() != self.email {
                        match self.contact(&account).await {
                            Ok(()) => {
                                found.email = self.email.map(str::to_owned);
                                self.write(&found, revision).await?;
                            }
                            // Forgotten or closed: the order finds out and comes back.
                            Err(failure)
                                if matches!(
                                    failure.scope,
                                    Scope::Account | Scope::Unauthorized
                                ) => {}
                            Err(failure) => return Err(failure),
                        }
                    }
                    return Ok(account);
                }
                None => {
                    self.throttles.admit_account(&slug(self.issuer)).await?;
                    let url = self.register(&key).await?;
                    self.tell("an ACME account is registered");
                    registered = Some(url.clone());
                    found.url = Some(url);
                    found.email = self.email.map(str::to_owned);
                    self.write(&found, revision).await?;
                }
            }
        }
        Err(Failure::new(Scope::Node, "another process keeps changing the ACME account"))
    }

    /// Registers the key, or finds the account it has (RFC 8555 section 7.3.1).
    async fn register(&self, key: &SigningKey) -> Result<String, Failure> {
        let failed = |error: WireError| Failure::of(&error, None);
        let directory = self.client.directory().await.map_err(failed)?;
        let mut payload = json!({ "contact": self.contacts(), "termsOfServiceAgreed": true });
        if let Some(external) = &self.issuer.eab {
            payload["externalAccountBinding"] = jws::bind(key, external, &directory.new_account)
                .map_err(|text| Failure::new(Scope::Authority, text))?;
        }
        let url = &directory.new_account;
        let answer = self.client.post(&Signer::Key(key), url, Some(&payload)).await;
        answer
            .map_err(failed)?
            .location
            .ok_or_else(|| Failure::new(Scope::Authority, "the authority names no account URL"))
    }

    async fn contact(&self, account: &Account) -> Result<(), Failure> {
        let payload = json!({ "contact": self.contacts() });
        let answer = account.post(&account.url, Some(&payload)).await;
        answer.map(|_| ()).map_err(|error| Failure::of(&error, None))
    }

    fn contacts(&self) -> Vec<String> {
        self.email.iter().map(|email| format!("mailto:{email}")).collect()
    }

    fn fresh(&self) -> Result<StoredAccount, Failure> {
        let key = SigningKey::generate()
            .map_err(|_| Failure::new(Scope::Node, "no key could be made for the ACME account"))?;
        Ok(StoredAccount {
            directory: self.issuer.directory.clone(),
            url: None,
            email: self.email.map(str::to_owned),
            key: BASE64.encode(key),
            next_key: None,
        })
    }

    pub(super) fn key(&self, text: &str) -> Result<SigningKey, Failure> {
        let key = BASE64.decode(text).ok().and_then(|der| SigningKey::from_pkcs8(&der).ok());
        key.ok_or_else(|| {
            let entry = self.entry();
            Failure::new(Scope::Authority, format!("the account stored as `{entry}` is broken"))
        })
    }

    pub(super) async fn read(&self) -> Result<Option<(StoredAccount, Revision)>, Failure> {
        let key = self.entry();
        let found = self.store.get(&key).await.map_err(|error| store_failure(&error))?;
        let Some(entry) = found else { return Ok(None) };
        match stored::decode(&entry.value) {
            Ok(account) => Ok(Some((account, entry.revision))),
            // Broken ones were kept aside when the store was opened.
            Err(cause) => {
                let text = format!("the account stored as `{key}`: {cause}");
                Err(Failure::new(Scope::Authority, text))
            }
        }
    }

    /// Writes unless another process was quicker; then the caller reads again.
    pub(super) async fn write(
        &self,
        account: &StoredAccount,
        revision: Revision,
    ) -> Result<(), Failure> {
        let key = self.entry();
        let compare = Compare::Revision { key: key.clone(), is: revision };
        let put = Op::Put { key, value: stored::encode(account) };
        match self.store.txn(vec![compare], vec![put]).await {
            Ok(Committed::Yes(_) | Committed::No) => Ok(()),
            Err(error) => Err(store_failure(&error)),
        }
    }

    pub(super) fn tell(&self, text: &str) {
        self.events.tell(EventKind::Account, "", format!("{}: {text}", self.issuer.name));
    }

    fn entry(&self) -> String {
        stored::account_key(&slug(self.issuer))
    }
}

/// What the store's refusal means for an order.
pub(super) fn store_failure(error: &StoreError) -> Failure {
    Failure::new(Scope::Node, error.to_string())
}
