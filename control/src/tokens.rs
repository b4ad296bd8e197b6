//! API tokens: 256 random bits, shown once, kept as a SHA-256.
//!
//! A plain hash is enough for a secret that nobody chose: there is nothing to guess. All tokens
//! are held in memory, so that a caller is known also while the store is away.

use crate::{clock::Moment, keys::TOKENS, role::Role};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use subtle::ConstantTimeEq;
use tidegate_store::{Change, Entry};

/// Tokens that may exist at once.
pub(crate) const MOST: usize = 1_000;

/// What every token starts with, so that scanners recognise a leaked one.
const PREFIX: &str = "tgt_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A token as it is kept and listed; the secret is in neither.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Public, and part of the token itself.
    pub id: String,
    /// Who holds it: the author of what is done with it.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Since when it exists.
    pub created: Moment,
    /// Who made it.
    pub created_by: String,
    /// From when on it is refused; `None` = never.
    pub expires: Option<Moment>,
}

impl Token {
    /// Whether it is refused at `now`.
    pub fn expired(&self, now: Moment) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Where it lies in the store.
    pub(crate) fn key(&self) -> String {
        format!("{TOKENS}{}", self.id)
    }
}

/// A token just made: what is kept of it, and the text its holder gets.
pub(crate) struct Minted {
    pub(crate) kept: Kept,
    pub(crate) secret: String,
}

/// A token with the hash of its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) token: Token,
    hash: [u8; 32],
}

impl Kept {
    /// The bytes kept in the store.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let token = self.token.clone();
        serde_json::to_vec(&Json {
            name: token.name,
            role: token.role,
            created: token.created,
            created_by: token.created_by,
            expires: token.expires,
            sha256: hex::encode(self.hash),
        })
        .expect("strings are JSON")
    }
}

/// `tokens/{id}`
#[derive(Serialize, Deserialize)]
struct Json {
    name: String,
    role: Role,
    created: Moment,
    created_by: String,
    expires: Option<Moment>,
    sha256: String,
}

/// Makes a token. Fails only if the system has no randomness to give.
pub(crate) fn mint(
    name: &str,
    role: Role,
    created_by: &str,
    expires: Option<Moment>,
) -> Result<Minted, getrandom::Error> {
    let mut id = [0; ID_BYTES];
    let mut random = [0; SECRET_BYTES];
    getrandom::fill(&mut id)?;
    getrandom::fill(&mut random)?;
    let id = hex::encode(id);
    let secret = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(random));
    let token = Token {
        id,
        name: name.to_owned(),
        role,
        created: Moment::now(),
        created_by: created_by.to_owned(),
        expires,
    };
    Ok(Minted { kept: Kept { token, hash: hash(&secret) }, secret })
}

/// Every token that exists.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: BTreeMap<String, Kept>,
    /// Revoked here, until the watch has passed the deletion: the echo of their making must not
    /// bring them back.
    revoked: BTreeSet<String>,
}

impl Tokens {
    /// The tokens of a range over their prefix.
    pub(crate) fn read(entries: Vec<Entry>) -> Self {
        let tokens = Self::default();
        for entry in entries {
            tokens.absorb(Change::Put(entry));
        }
        tokens
    }

    /// Takes over a change seen by the watch.
    pub(crate) fn absorb(&self, change: Change) {
        match change {
            Change::Put(entry) => match decode(&entry) {
                Some(kept) => self.insert(kept),
                None => tracing::error!(key = entry.key, "a token cannot be read; ignored"),
            },
            Change::Delete { key, .. } => {
                if let Some(id) = key.strip_prefix(TOKENS) {
                    let mut known = self.known.write();
                    known.by_id.remove(id);
                    known.revoked.remove(id);
                }
            }
        }
    }

    /// Adds a token, unless it was revoked here.
    pub(crate) fn insert(&self, kept: Kept) {
        let mut known = self.known.write();
        if !known.revoked.contains(&kept.token.id) {
            known.by_id.insert(kept.token.id.clone(), kept);
        }
    }

    /// Refuses a token from now on. Ids are never used again.
    pub(crate) fn revoke(&self, id: &str) -> Option<Token> {
        let mut known = self.known.write();
        let kept = known.by_id.remove(id)?;
        known.revoked.insert(id.to_owned());
        Some(kept.token)
    }

    /// The keys of all tokens.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.known.read().by_id.values().map(|kept| kept.token.key()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.known.read().by_id.len()
    }

    /// All of them, by creation.
    pub(crate) fn list(&self) -> Vec<Token> {
        let mut tokens: Vec<_> =
            self.known.read().by_id.values().map(|kept| kept.token.clone()).collect();
        tokens.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        tokens
    }

    /// The token whose secret `presented` is, unless it has expired. The hash is compared in
    /// constant time; the id before it is no secret.
    pub(crate) fn verify(&self, presented: &str, now: Moment) -> Option<Token> {
        let id = presented.strip_prefix(PREFIX)?.split_once('_')?.0;
        let known = self.known.read();
        let kept = known.by_id.get(id)?;
        let same: bool = kept.hash.ct_eq(&hash(presented)).into();
        (same && !kept.token.expired(now)).then(|| kept.token.clone())
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn decode(entry: &Entry) -> Option<Kept> {
    let id = entry.key.strip_prefix(TOKENS)?.to_owned();
    let json: Json = serde_json::from_slice(&entry.value).ok()?;
    let hash = hex::decode(json.sha256).ok()?.try_into().ok()?;
    let token = Token {
        id,
        name: json.name,
        role: json.role,
        created: json.created,
        created_by: json.created_by,
        expires: json.expires,
    };
    Some(Kept { token, hash })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_store::Revision;

    fn minted(expires: Option<Moment>) -> Minted {
        mint("ci", Role::Deployer, "uid:0", expires).unwrap()
    }

    #[test]
    fn only_the_whole_secret_opens() {
        let tokens = Tokens::default();
        let Minted { kept, secret } = minted(None);
        tokens.insert(kept);
        assert_eq!(tokens.verify(&secret, Moment::now()).unwrap().name, "ci");
        let mut wrong = secret.clone();
        wrong.pop();
        for bad in [wrong.as_str(), "", "tgt_", "tgt__", &secret[4..], &format!("{secret}A")] {
            assert_eq!(tokens.verify(bad, Moment::now()), None, "{bad}");
        }
    }

    #[test]
    fn an_expired_token_opens_nothing() {
        let tokens = Tokens::default();
        let now = Moment::now();
        let Minted { kept, secret } = minted(Some(now.after(60)));
        tokens.insert(kept);
        assert!(tokens.verify(&secret, now.after(59)).is_some());
        assert!(tokens.verify(&secret, now.after(60)).is_none());
    }

    #[test]
    fn what_is_kept_does_not_contain_the_secret() {
        let Minted { kept, secret } = minted(None);
        let value = kept.encode();
        let text = String::from_utf8(value.clone()).unwrap();
        assert!(!text.contains(&secret[PREFIX.len() + 2 * ID_BYTES + 1..]));
        let entry = Entry { key: kept.token.key(), value, revision: Revision(1) };
        assert_eq!(decode(&entry).unwrap(), kept);
    }
}
