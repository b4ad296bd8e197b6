//! Answers to challenges: in memory, and in the store for the other processes.

use super::{
    account::store_failure,
    failure::{Failure, Scope},
    order::Desk,
};
use crate::{
    challenges::{Challenge, ChallengeKind},
    dns01::Dns01Error,
    stored,
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine};
use sha2::{Digest, Sha256};
use tidegate_store::Op;

impl Desk<'_> {
    /// Publishes an answer, and waits long enough for the other processes to see it.
    pub(super) async fn open(&self, kind: ChallengeKind, token: &str) -> Result<(), Failure> {
        if kind == ChallengeKind::Dns01 {
            return self.publish(token).await;
        }
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

    /// Publishes a record, and waits until the zone's servers show it.
    async fn publish(&self, token: &str) -> Result<(), Failure> {
        let (value, now) = (self.record(token), self.clock.now().unix_timestamp());
        let published = self.dns01.publish(self.store, self.name, &value, now).await;
        published.map_err(|error| match error {
            Dns01Error::Store(error) => store_failure(&error),
            other => {
                Failure::new(Scope::Challenge, format!("{}: {other}", word(ChallengeKind::Dns01)))
            }
        })
    }

    /// The content of the record that answers (RFC 8555 section 8.4).
    fn record(&self, token: &str) -> String {
        BASE64.encode(Sha256::digest(self.account.key_authorization(token)))
    }

    pub(super) async fn close(&self, kind: ChallengeKind, token: &str) {
        if kind == ChallengeKind::Dns01 {
            return self.dns01.withdraw(self.store, &self.record(token)).await;
        }
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
        ChallengeKind::Dns01 => "dns-01",
        ChallengeKind::Http01 => "http-01",
        ChallengeKind::TlsAlpn01 => "tls-alpn-01",
    }
}
