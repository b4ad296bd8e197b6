//! Challenges of our own, answered like an authority's: whoever gives the answer is this node, or
//! another one that shares the store.

use crate::{
    Inner,
    challenges::{Challenge, ChallengeKind, PROBE},
    clock::after,
    stored,
};
use std::time::Duration;
use tidegate_store::Op;

/// Long enough for all looks at a name.
const LIVES: Duration = Duration::from_secs(30);

/// What is open for one name.
pub(super) struct Probe {
    challenges: [Challenge; 2],
}

impl Probe {
    /// Opens a challenge of each kind, here and where other processes see it.
    pub(super) async fn open(inner: &Inner, name: &str) -> Self {
        let expires = after(inner.clock.now(), LIVES).unix_timestamp();
        let challenge = |kind| {
            let token = format!("{PROBE}{:032x}", rand::random::<u128>());
            let key_authorization = format!("{token}.{:032x}", rand::random::<u128>());
            Challenge { kind, name: name.to_owned(), token, key_authorization, expires }
        };
        let challenges = [ChallengeKind::Http01, ChallengeKind::TlsAlpn01].map(challenge);
        let put = |challenge: &Challenge| Op::Put {
            key: stored::challenge_key(&challenge.token),
            value: stored::encode(challenge),
        };
        let stored = inner.store.txn(vec![], challenges.iter().map(put).collect()).await;
        if let Err(error) = stored {
            tracing::debug!(%error, "only this node answers what a dry run asks");
        }
        for challenge in &challenges {
            if let Err(cause) = inner.challenges.open(challenge.clone()) {
                tracing::debug!(cause, "a dry run has one challenge less");
            }
        }
        tokio::time::sleep(inner.schedule.settle).await;
        Self { challenges }
    }

    pub(super) async fn close(self, inner: &Inner) {
        let delete = |challenge: &Challenge| {
            inner.challenges.close(&challenge.token);
            Op::Delete { key: stored::challenge_key(&challenge.token) }
        };
        let gone = inner.store.txn(vec![], self.challenges.iter().map(delete).collect()).await;
        if let Err(error) = gone {
            // They expire.
            tracing::debug!(%error, "challenges of a dry run stay in the store");
        }
    }

    /// The token and what answers it.
    pub(super) fn of(&self, kind: ChallengeKind) -> (String, String) {
        let found = self.challenges.iter().find(|challenge| challenge.kind == kind);
        found.map_or_else(Default::default, |found| {
            (found.token.clone(), found.key_authorization.clone())
        })
    }
}
