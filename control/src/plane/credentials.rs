//! Making and revoking API tokens.

use super::{Plane, patiently};
use crate::{
    clock::Moment,
    role::Role,
    tokens::{self, MOST, Token},
};
use serde::Serialize;
use tidegate_config::Name;
use tidegate_store::{Op, StoreError};

/// A token just made. The only time its secret is shown.
#[derive(Serialize)]
pub struct NewToken {
    /// The token as it will be listed.
    pub token: Token,
    /// What its holder sends as `Authorization: Bearer`.
    pub secret: String,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There are 1,000 already.
    #[error("there are {MOST} tokens already; revoke some")]
    TooMany,
    /// The system has no randomness to give.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// It could not be made durable.
    #[error("the store does not take the token: {0}")]
    Store(#[from] StoreError),
}

impl Plane {
    /// Makes a token; it is on disk when this returns.
    pub async fn create_token(
        &self,
        name: &Name,
        role: Role,
        expires: Option<Moment>,
        author: &str,
    ) -> Result<NewToken, TokenError> {
        let _turn = self.turn.lock().await;
        if self.tokens.len() >= MOST {
            return Err(TokenError::TooMany);
        }
        let minted = tokens::mint(name.as_str(), role, author, expires)?;
        let token = minted.kept.token.clone();
        let put = Op::Put { key: token.key(), value: minted.kept.encode() };
        patiently(self.store.txn(Vec::new(), vec![put])).await?;
        self.tokens.insert(minted.kept);
        tracing::info!(id = token.id, %name, %role, author, "token made");
        Ok(NewToken { token, secret: minted.secret })
    }

    /// Revokes a token, at once; written after. `None` if there is no such token, else whether
    /// the revocation is on disk.
    pub async fn revoke_token(&self, id: &str, author: &str) -> Option<bool> {
        let _turn = self.turn.lock().await;
        let token = self.tokens.revoke(id)?;
        tracing::info!(id, name = token.name, author, "token revoked");
        self.owe(Op::Delete { key: token.key() }).await;
        Some(!self.backlog.owes(&token.key()))
    }

    /// Every token, by creation.
    pub fn list_tokens(&self) -> Vec<Token> {
        self.tokens.list()
    }
}
