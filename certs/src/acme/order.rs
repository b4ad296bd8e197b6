//! One order: from the name to the chain, with poll loops and deadlines of our own
//! (instant-acme's spin on orders that are already valid).

use super::{
    account::{store_failure, timed},
    failure::{Failure, Scope},
    http::Transport,
};
use crate::{
    challenges::{Challenge, ChallengeKind, Challenges},
    clock::Clock,
    dns01::{Dns01, Dns01Error},
    schedule::Schedule,
    stored::{self, StoredCertificate, StoredPending},
};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tidegate_store::{Committed, Compare, Lease, Op, Store};

/// First and longest pause between two looks at an order.
const POLL: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What an order works with.
pub(super) struct Desk<'a> {
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) challenges: &'a Challenges,
    pub(super) dns01: &'a Dns01,
    pub(super) clock: &'a Clock,
    pub(super) schedule: &'a Schedule,
    pub(super) transport: &'a Transport,
    pub(super) account: &'a Account,
    /// The authority's name.
    pub(super) authority: &'a str,
    /// The name ordered for.
    pub(super) name: &'a str,
    /// The right to order for it; without it nothing is written.
    pub(super) lease: &'a Lease,
}

impl Desk<'_> {
    /// Goes on with an order that a crash or a restart interrupted after its validation.
    pub(super) async fn resume(&self) -> Result<Option<StoredCertificate>, Failure> {
        let key = stored::pending_key(self.name);
        let found = self.store.get(&key).await.map_err(|error| store_failure(&error))?;
        let pending = found.and_then(|entry| stored::decode::<StoredPending>(&entry.value).ok());
        let Some(pending) = pending.filter(|pending| pending.account == self.account.id()) else {
            return Ok(None);
        };
        // An order the authority has dropped, or that failed, is simply placed again.
        let Ok(mut order) = self.timed(self.account.order(pending.order)).await? else {
            return Ok(None);
        };
        match order.state().status {
            OrderStatus::Ready | OrderStatus::Processing | OrderStatus::Valid => {
                tracing::info!(name = self.name, "goes on with an interrupted ACME order");
                self.fetch(&mut order, pending.key).await.map(Some)
            }
            OrderStatus::Pending | OrderStatus::Invalid => Ok(None),
        }
    }

    /// Places an order and proves the name by `kind`.
    pub(super) async fn place(&self, kind: ChallengeKind) -> Result<StoredCertificate, Failure> {
        let identifiers = [Identifier::Dns(self.name.to_owned())];
        let order = self.timed(self.account.new_order(&NewOrder::new(&identifiers))).await?;
        let mut order = order.map_err(|error| Failure::of(&error, None))?;
        let mut opened = Vec::new();
        let ready = match self.prove(&mut order, kind, &mut opened).await {
            Ok(()) => self.until_validated(&mut order, kind).await,
            Err(failure) => Err(failure),
        };
        for token in opened {
            self.close(kind, &token).await;
        }
        ready?;
        let key = KeyPair::generate()
            .map_err(|error| Failure::new(Scope::Node, format!("no key could be made: {error}")))?
            .serialize_pem();
        let pending = StoredPending {
            account: self.account.id().to_owned(),
            order: order.url().to_owned(),
            key: key.clone(),
        };
        let put = Op::Put { key: stored::pending_key(self.name), value: stored::encode(&pending) };
        self.write(vec![put]).await?;
        self.fetch(&mut order, key).await
    }

    /// Answers the order's challenges; `opened` are the tokens that are open now, whatever comes
    /// of it.
    async fn prove(
        &self,
        order: &mut Order,
        kind: ChallengeKind,
        opened: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = self.timed(authorizations.next()).await? {
            let mut authorization = authorization.map_err(|error| Failure::of(&error, None))?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => {
                    let text =
                        format!("the authority gave a {other:?} authorization: it is tried again");
                    return Err(Failure::new(Scope::Authority, text));
                }
            }
            let Some(mut challenge) = authorization.challenge(acme_type(kind)) else {
                let text = format!("the authority does not offer {}", word(kind));
                return Err(Failure::new(Scope::Challenge, text));
            };
            let proof = challenge.key_authorization();
            let (token, answer) = match kind {
                // A record is known by its content.
                ChallengeKind::Dns01 => (proof.dns_value(), String::new()),
                _ => (challenge.token.clone(), proof.as_str().to_owned()),
            };
            opened.push(token.clone());
            self.open(kind, &token, answer).await?;
            let ready = self.timed(challenge.set_ready()).await?;
            ready.map_err(|error| Failure::of(&error, Some(kind)))?;
        }
        Ok(())
    }

    /// Publishes an answer: in memory, for the other process, and long enough for it to see.
    async fn open(&self, kind: ChallengeKind, token: &str, answer: String) -> Result<(), Failure> {
        if kind == ChallengeKind::Dns01 {
            return self.publish(token).await;
        }
        let lives = self.schedule.validation + self.schedule.call;
        let challenge = Challenge {
            kind,
            name: self.name.to_owned(),
            token: token.to_owned(),
            key_authorization: answer,
            expires: crate::clock::after(self.clock.now(), lives).unix_timestamp(),
        };
        let put = Op::Put { key: stored::challenge_key(token), value: stored::encode(&challenge) };
        self.write(vec![put]).await?;
        self.challenges.open(challenge).map_err(|cause| Failure::new(Scope::Node, cause))?;
        tokio::time::sleep(self.schedule.settle).await;
        Ok(())
    }

    /// Writes while the lease is ours.
    async fn write(&self, ops: Vec<Op>) -> Result<(), Failure> {
        let held = vec![Compare::Held(self.lease.clone())];
        match self.store.txn(held, ops).await {
            Ok(Committed::Yes(_)) => Ok(()),
            Ok(Committed::No) => {
                Err(Failure::new(Scope::Node, "another process has taken the order over"))
            }
            Err(error) => Err(store_failure(&error)),
        }
    }

    async fn publish(&self, value: &str) -> Result<(), Failure> {
        let now = self.clock.now().unix_timestamp();
        let published = self.dns01.publish(self.store, self.name, value, now).await;
        published.map_err(|error| match error {
            Dns01Error::Store(error) => store_failure(&error),
            other => {
                Failure::new(Scope::Challenge, format!("{}: {other}", word(ChallengeKind::Dns01)))
            }
        })
    }

    async fn close(&self, kind: ChallengeKind, token: &str) {
        if kind == ChallengeKind::Dns01 {
            return self.dns01.withdraw(self.store, token).await;
        }
        self.challenges.close(token);
        let delete = Op::Delete { key: stored::challenge_key(token) };
        if let Err(error) = self.store.txn(vec![], vec![delete]).await {
            // It expires.
            tracing::debug!(%error, "a finished challenge stays in the store");
        }
    }

    async fn until_validated(&self, order: &mut Order, kind: ChallengeKind) -> Result<(), Failure> {
        let limit = self.schedule.validation;
        let done = |status| status != OrderStatus::Pending;
        match self.poll(order, limit, done).await? {
            Some(OrderStatus::Invalid) => Err(self.verdict(order, kind).await),
            Some(_) => Ok(()),
            None => {
                let (challenge, seconds) = (word(kind), limit.as_secs());
                let text = format!("the authority did not validate {challenge} within {seconds} s");
                Err(Failure::new(Scope::Challenge, text))
            }
        }
    }

    /// Why an order became invalid: what the challenge says, else the order.
    async fn verdict(&self, order: &mut Order, kind: ChallengeKind) -> Failure {
        let mut problem = None;
        let mut authorizations = order.authorizations();
        while let Ok(Some(Ok(mut authorization))) = self.timed(authorizations.next()).await {
            if let Some(challenge) = authorization.challenge(acme_type(kind)) {
                problem = challenge.error.clone().or(problem);
            }
        }
        match problem.or_else(|| order.state().error.clone()) {
            Some(problem) => {
                let mut failure = Failure::of_problem(&problem, Some(kind));
                failure.text = format!("{}: {}", word(kind), failure.text);
                failure
            }
            None => {
                let text = format!("the authority refused {} without a reason", word(kind));
                Failure::new(Scope::Challenge, text)
            }
        }
    }

    /// Finalizes a validated order if that is still to be done, and fetches the chain.
    async fn fetch(&self, order: &mut Order, key: String) -> Result<StoredCertificate, Failure> {
        if order.state().status == OrderStatus::Ready {
            let csr = request(self.name, &key).map_err(|error| {
                Failure::new(Scope::Node, format!("no request could be made: {error}"))
            })?;
            self.timed(order.finalize_csr(&csr))
                .await?
                .map_err(|error| Failure::of(&error, None))?;
        }
        let limit = self.schedule.issuance;
        let done = |status| matches!(status, OrderStatus::Valid | OrderStatus::Invalid);
        match self.poll(order, limit, done).await? {
            Some(OrderStatus::Valid) => {}
            Some(_) => {
                let problem = order.state().error.clone();
                return Err(problem.map_or_else(
                    || {
                        Failure::new(
                            Scope::Authority,
                            "the authority refused to issue, without a reason",
                        )
                    },
                    |problem| Failure::of_problem(&problem, None),
                ));
            }
            None => {
                let text = format!("the authority did not issue within {} s", limit.as_secs());
                return Err(Failure::new(Scope::Authority, text));
            }
        }
        let chain =
            self.timed(order.certificate()).await?.map_err(|error| Failure::of(&error, None))?;
        let chain = chain
            .ok_or_else(|| Failure::new(Scope::Authority, "the authority sent no certificate"))?;
        Ok(StoredCertificate { authority: self.authority.to_owned(), chain, key, issued: None })
    }

    /// Looks at the order until `done`; `None` when `limit` has passed.
    async fn poll(
        &self,
        order: &mut Order,
        limit: Duration,
        done: impl Fn(OrderStatus) -> bool,
    ) -> Result<Option<OrderStatus>, Failure> {
        let deadline = Instant::now() + limit;
        let mut pause = POLL.0;
        if done(order.state().status) {
            return Ok(Some(order.state().status));
        }
        loop {
            let wait = self.transport.take_wait().unwrap_or_default().max(pause);
            pause = (pause * 2).min(POLL.1);
            if Instant::now() + wait > deadline {
                return Ok(None);
            }
            tokio::time::sleep(wait).await;
            let state = self.timed(order.refresh()).await?;
            let status = state.map_err(|error| Failure::of(&error, None))?.status;
            if done(status) {
                return Ok(Some(status));
            }
        }
    }

    async fn timed<T>(&self, call: impl Future<Output = T>) -> Result<T, Failure> {
        timed(self.schedule.call, call).await
    }
}

/// The certificate signing request for `name`.
fn request(name: &str, key: &str) -> Result<Vec<u8>, rcgen::Error> {
    let key = KeyPair::from_pem(key)?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key)?.der().to_vec())
}

fn acme_type(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        ChallengeKind::Dns01 => ChallengeType::Dns01,
    }
}

fn word(kind: ChallengeKind) -> &'static str {
    match kind {
        ChallengeKind::Http01 => "http-01",
        ChallengeKind::TlsAlpn01 => "tls-alpn-01",
        ChallengeKind::Dns01 => "dns-01",
    }
}
