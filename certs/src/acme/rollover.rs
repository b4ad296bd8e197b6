//! Another key for the account (RFC 8555 section 7.3.5), without a moment at which a crash loses
//! it: both keys are in the store before the authority is asked, and which one is in force is
//! asked of the authority whenever both are found.

use super::{
    account::Registrar,
    client::{Directory, WireError},
    failure::{Failure, Scope},
    jws::{self, Signer, SigningKey},
};
use crate::stored::StoredAccount;
use base64::prelude::{BASE64_STANDARD as BASE64, Engine};
use serde_json::json;
use tidegate_store::Revision;

impl Registrar<'_> {
    /// Replaces the account's key.
    pub(super) async fn roll_over(&self) -> Result<(), Failure> {
        self.account(None).await?;
        let directory = self.client.directory().await;
        let directory = directory.map_err(|error| Failure::of(&error, None))?;
        if directory.key_change.is_none() {
            return Err(Failure::new(Scope::Authority, "the authority changes no keys"));
        }
        let Some((mut found, revision)) = self.read().await? else {
            return Err(Failure::new(Scope::Node, "the ACME account is gone from the store"));
        };
        let old = found.key.clone();
        let next = SigningKey::generate()
            .map_err(|_| Failure::new(Scope::Node, "no key could be made for the ACME account"))?;
        found.next_key = Some(BASE64.encode(next));
        self.write(&found, revision).await?;
        // Settles what lies there now, ours or another process's.
        self.account(None).await?;
        match self.read().await? {
            Some((found, _)) if found.key != old => Ok(()),
            _ => Err(Failure::new(Scope::Node, "another process keeps changing the ACME account")),
        }
    }

    /// Finds out which of two keys is in force, changes to the next one if it is not that, and
    /// forgets the other.
    pub(super) async fn settle(
        &self,
        mut found: StoredAccount,
        revision: Revision,
    ) -> Result<(), Failure> {
        let Some(next_text) = found.next_key.clone() else { return Ok(()) };
        let Some(url) = found.url.clone() else {
            // Never registered: there is nothing to change.
            found.next_key = None;
            return self.write(&found, revision).await;
        };
        let failed = |error: WireError| Failure::of(&error, None);
        let (old, next) = (self.key(&found.key)?, self.key(&next_text)?);
        let directory = self.client.directory().await.map_err(failed)?;
        let existing = json!({ "onlyReturnExisting": true });
        let asked =
            self.client.post(&Signer::Key(&next), &directory.new_account, Some(&existing)).await;
        let refused = match asked {
            // It was changed, and we did not hear of it.
            Ok(answer) if answer.location.as_ref() == Some(&url) => None,
            Ok(_) => {
                let text = "the next key of the account belongs to another account there";
                Some(Failure::new(Scope::Authority, text))
            }
            // It is the account's key, and the account is closed: orders find out. Unless the old
            // one still is.
            Err(error) if error.kind() == "unauthorized" => {
                let signer = Signer::Account { key: &old, url: &url };
                let held = self.client.post(&signer, &url, None).await;
                held.is_ok().then(|| failed(error))
            }
            Err(error) if error.kind() == "accountDoesNotExist" => {
                self.change(&old, &next, &url, &directory).await?
            }
            Err(error) => return Err(failed(error)),
        };
        if let Some(failure) = refused {
            // The old key stays; orders must not fail for a change that cannot be.
            found.next_key = None;
            self.write(&found, revision).await?;
            return Err(failure);
        }
        found.key = next_text;
        found.next_key = None;
        self.write(&found, revision).await?;
        self.tell("the ACME account has another key");
        Ok(())
    }

    /// Has the authority change the key; gives back why it will not. An error is one that may be
    /// none the next time.
    async fn change(
        &self,
        old: &SigningKey,
        next: &SigningKey,
        account: &str,
        directory: &Directory,
    ) -> Result<Option<Failure>, Failure> {
        let failed = |error: WireError| Failure::of(&error, None);
        let Some(url) = &directory.key_change else {
            return Ok(Some(Failure::new(Scope::Authority, "the authority changes no keys")));
        };
        let word =
            jws::key_change(next, old, account, url).map_err(|error| failed(error.into()))?;
        let signer = Signer::Account { key: old, url: account };
        match self.client.post(&signer, url, Some(&word)).await {
            Ok(_) => Ok(None),
            // What failed on their side may have been done.
            Err(WireError::Problem { problem, hold })
                if matches!(problem.status, Some(400..=428 | 430..=499)) =>
            {
                Ok(Some(failed(WireError::Problem { problem, hold })))
            }
            Err(error) => Err(failed(error)),
        }
    }
}
