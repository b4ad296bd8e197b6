//! Answers to challenges: in memory, and in the store for the other processes.

use super::{
    failure::{Failure, Scope},
    order::Desk,
};
use crate::{
    challenges::{Challenge, ChallengeKind},
    stored,
};
use tidegate_store::Op;

impl Desk<'_> {
    /// Publishes an answer, and waits long enough for the other processes to see it.
    pub(super) async fn open(&self, kind: ChallengeKind, token: &str) -> Result<(), Failure> {
        let lives = self.schedule.validation + self.schedule.call;
        let challenge = Challenge {
            kind,
            name: self.name.to_owned(),
            token: token.to_owned(),
            key_authorization: self.account.key_authorization(token),
            expires: crate::clock::after(self.clock.now(), lives).unix_timestamp(),
        };
        let put = Op::Put { key: stored::challenge_key(token), value: stored::encode(&challenge) };
        self.write(vec![put]).await?;
        self.challenges.open(challenge).map_err(|cause| Failure::new(Scope::Node, cause))?;
        tokio::time::sleep(self.schedule.settle).await;
        Ok(())
    }

    pub(super) async fn close(&self, token: &str) {
        self.challenges.close(token);
        let delete = Op::Delete { key: stored::challenge_key(token) };
        if let Err(error) = self.store.txn(vec![], vec![delete]).await {
            // It expires.
            tracing::debug!(%error, "a finished challenge stays in the store");
        }
    }
}

/// As the authority and the configuration call it.
pub(super) fn word(kind: ChallengeKind) -> &'static str {
    match kind {
        ChallengeKind::Http01 => "http-01",
        ChallengeKind::TlsAlpn01 => "tls-alpn-01",
    }
}
