//! One order, from the name to the chain, as a machine whose state is in the store before each
//! step: what a crash interrupts is gone on with, by the same order and with the same key.
//!
//! | stored | known to the authority | after a crash |
//! |---|---|---|
//! | the key | nothing, or an order | the account's list of orders is looked through, else placed |
//! | the order's URL | `pending` | the same challenge is answered again |
//! | | `ready` | finalized with the key |
//! | | `processing`, `valid` | fetched |
//! | | `invalid`, or forgotten | placed anew |

use super::{
    account::{Account, store_failure},
    client::{Directory, WireError},
    failure::{Failure, Scope},
    issued::{Issued, check},
    throttle::{Lane, Throttles},
};
use crate::{
    challenges::{ChallengeKind, Challenges},
    clock::Clock,
    dns01::Dns01,
    event::{EventKind, Events},
    schedule::Schedule,
    stored::{self, StoredCertificate, StoredPending},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine};
use instant_acme::{Identifier, OrderStatus, Problem};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde::Deserialize;
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tidegate_config::Issuer;
use tidegate_store::{Committed, Compare, Lease, Op, Store};

/// First and longest pause between two looks at an order.
const POLL: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// The longest pause that an authority is granted.
const LONGEST_POLL: Duration = Duration::from_secs(30);
/// An order is gone on with for that long; authorities forget them after a week or so.
const ORDER_LIFE: i64 = 24 * 3600;
/// An order that is `processing` for longer than this is given up.
const PROCESSING_LIFE: i64 = 3600;
/// The account's latest orders that are looked through for one whose URL was lost.
const LISTED: usize = 10;

/// What an order works with.
pub(super) struct Desk<'a> {
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) events: &'a Events,
    pub(super) challenges: &'a Challenges,
    pub(super) dns01: &'a Dns01,
    pub(super) clock: &'a Clock,
    pub(super) schedule: &'a Schedule,
    pub(super) throttles: &'a Throttles,
    pub(super) account: &'a Account,
    pub(super) issuer: &'a Issuer,
    /// Where it queues.
    pub(super) lane: Lane<'a>,
    /// In the order they are tried.
    pub(super) kinds: &'a [ChallengeKind],
    /// The name ordered for.
    pub(super) name: &'a str,
    /// The certificate that is replaced (RFC 9773 section 5), by its identifier.
    pub(super) replaces: Option<&'a str>,
    /// The right to order for the name; without it nothing is written.
    pub(super) lease: &'a Lease,
}

/// An order as the authority shows it (RFC 8555 section 7.1.3).
#[derive(Debug, Deserialize)]
pub(super) struct Body {
    pub(super) status: OrderStatus,
    #[serde(default)]
    identifiers: Vec<Identifier>,
    pub(super) authorizations: Vec<String>,
    finalize: String,
    certificate: Option<String>,
    pub(super) error: Option<Problem>,
}

pub(super) struct Order {
    url: String,
    pub(super) body: Body,
    retry_after: Option<Duration>,
}

impl Desk<'_> {
    /// Obtains the certificate: goes on with the stored order, or places one.
    pub(super) async fn run(&self) -> Result<Issued, Failure> {
        let (mut pending, resumed) = self.prepared().await?;
        let mut texts: Vec<String> = Vec::new();
        loop {
            let mut proving = None;
            let mut order = self.placed(&mut pending, resumed).await?;
            match self.carried(&mut order, &pending, &mut proving).await {
                Ok(issued) => return Ok(issued),
                Err(failure) if failure.scope == Scope::Challenge => {
                    texts.push(failure.text);
                    pending.order = None;
                    pending.tried.extend(proving);
                    if proving.is_some() && self.untried(&pending).next().is_some() {
                        self.save(&pending).await?;
                        continue;
                    }
                    self.forget().await;
                    return Err(Failure { text: texts.join("; "), scope: Scope::Name, ..failure });
                }
                Err(failure) => {
                    if failure.scope == Scope::Name {
                        self.forget().await;
                    }
                    return Err(failure);
                }
            }
        }
    }

    /// The stored order, or the beginning of one: its key is in the store before the authority
    /// hears of it, which also shows that the store can be written. And whether it was there.
    async fn prepared(&self) -> Result<(StoredPending, bool), Failure> {
        let found = self.store.get(&self.entry()).await.map_err(|error| store_failure(&error))?;
        let now = self.clock.now().unix_timestamp();
        let usable = |pending: &StoredPending| {
            pending.account == self.account.url
                && (0..ORDER_LIFE).contains(&(now - pending.since))
                && pending.profile == self.issuer.profile
                && self.untried(pending).next().is_some()
        };
        let found = found.and_then(|entry| stored::decode::<StoredPending>(&entry.value).ok());
        let found = found.filter(usable);
        if found.as_ref().is_none_or(|pending| pending.order.is_none()) {
            // Before anything is made, asked or written: many may wait for long.
            self.throttles.has_room(&self.lane).await?;
        }
        if let Some(pending) = found {
            self.tell(EventKind::Ordering, "goes on with an interrupted order");
            return Ok((pending, true));
        }
        let key = KeyPair::generate()
            .map_err(|error| Failure::new(Scope::Node, format!("no key could be made: {error}")))?;
        let pending = StoredPending {
            account: self.account.url.clone(),
            order: None,
            key: key.serialize_pem(),
            tried: Vec::new(),
            profile: self.issuer.profile.clone(),
            since: now,
        };
        self.save(&pending).await?;
        Ok((pending, false))
    }

    /// The order that is stored, lost or new; its URL is in the store when this returns.
    async fn placed(&self, pending: &mut StoredPending, resumed: bool) -> Result<Order, Failure> {
        if let Some(url) = pending.order.take() {
            match self.look(&url).await {
                Ok(order) if order.body.status != OrderStatus::Invalid => {
                    pending.order = Some(url);
                    return Ok(order);
                }
                // An order that failed while we were away, or that is forgotten, is placed again.
                Ok(_) | Err(WireError::Problem { hold: None, .. }) => {}
                Err(error) => return Err(Failure::of(&error, None)),
            }
        } else if resumed
            && pending.tried.is_empty()
            && let Some(order) = self.lost().await
        {
            pending.order = Some(order.url.clone());
            self.save(pending).await?;
            return Ok(order);
        }
        self.throttles.admit(&self.lane).await?;
        let order = self.place().await?;
        self.tell(EventKind::Ordering, "an order is placed");
        pending.order = Some(order.url.clone());
        self.save(pending).await?;
        Ok(order)
    }

    async fn place(&self) -> Result<Order, Failure> {
        let directory = self.account.client.directory().await;
        let directory = directory.map_err(|error| Failure::of(&error, None))?;
        let mut payload = json!({ "identifiers": [Identifier::Dns(self.name.to_owned())] });
        if let Some(profile) = &self.issuer.profile {
            offers(&directory, profile)?;
            payload["profile"] = json!(profile);
        }
        let replaces = self.replaces.filter(|_| directory.renewal_info.is_some());
        if let Some(replaces) = replaces {
            payload["replaces"] = json!(replaces);
        }
        let url = &directory.new_order;
        let mut answer = self.account.post(url, Some(&payload)).await;
        if let (Some(_), Err(WireError::Problem { problem, hold: None })) = (replaces, &answer) {
            // `alreadyReplaced`, most often. Whatever it is, the certificate is what matters.
            tracing::info!(name = self.name, %problem, "ordered again without `replaces`");
            payload.as_object_mut().map(|payload| payload.remove("replaces"));
            answer = self.account.post(url, Some(&payload)).await;
        }
        let answer = answer.map_err(|error| Failure::of(&error, None))?;
        let body = answer.read(url).map_err(|error| Failure::of(&error, None))?;
        let url = answer
            .location
            .ok_or_else(|| Failure::new(Scope::Authority, "the authority names no order URL"))?;
        Ok(Order { url, body, retry_after: answer.retry_after })
    }

    /// An order that was placed, and whose URL a crash lost: found by the account's list (RFC
    /// 8555 section 7.1.2.1) where the authority has one. Others give a pending order for the
    /// same names out again by themselves.
    async fn lost(&self) -> Option<Order> {
        #[derive(Deserialize)]
        struct Listing {
            orders: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Orders {
            orders: String,
        }
        let account = self.account.post(&self.account.url, None).await.ok()?;
        let url = account.read::<Orders>(&self.account.url).ok()?.orders;
        let list: Listing = self.account.post(&url, None).await.ok()?.read(&url).ok()?;
        for url in list.orders.iter().rev().take(LISTED) {
            let Ok(order) = self.look(url).await else { continue };
            let usable = matches!(order.body.status, OrderStatus::Pending | OrderStatus::Ready);
            if usable && order.body.identifiers == [Identifier::Dns(self.name.to_owned())] {
                return Some(order);
            }
        }
        None
    }

    /// Takes an order through to its certificate. `proving` becomes the challenge answered.
    async fn carried(
        &self,
        order: &mut Order,
        pending: &StoredPending,
        proving: &mut Option<ChallengeKind>,
    ) -> Result<Issued, Failure> {
        if order.body.status == OrderStatus::Pending {
            let mut opened = Vec::new();
            let proved = match self.prove(order, pending, &mut opened, proving).await {
                Ok(()) => self.validated(order, *proving).await,
                Err(failure) => Err(failure),
            };
            for (kind, token) in opened {
                self.close(kind, &token).await;
            }
            proved?;
        }
        if order.body.status == OrderStatus::Ready {
            self.finalize(order, pending).await?;
        }
        let limit = self.schedule.issuance;
        let done = |status| matches!(status, OrderStatus::Valid | OrderStatus::Invalid);
        match self.poll(order, limit, done).await? {
            true if order.body.status == OrderStatus::Valid => self.fetch(order, pending).await,
            true => {
                let problem = order.body.error.as_ref();
                let failure = problem.map(|problem| Failure::of_problem(problem, None));
                self.forget().await;
                let silent = "the authority refused to issue, without a reason";
                Err(failure.unwrap_or_else(|| Failure::new(Scope::Authority, silent)))
            }
            false => {
                if self.clock.now().unix_timestamp() - pending.since > PROCESSING_LIFE {
                    self.forget().await;
                }
                let seconds = limit.as_secs();
                let text = format!(
                    "the authority did not issue within {seconds} s; the same order is looked at \
                     again later"
                );
                Err(Failure::new(Scope::Authority, text))
            }
        }
    }

    async fn finalize(&self, order: &mut Order, pending: &StoredPending) -> Result<(), Failure> {
        let csr = request(self.name, &pending.key).map_err(|error| {
            Failure::new(Scope::Node, format!("no request could be made: {error}"))
        })?;
        let payload = json!({ "csr": BASE64.encode(csr) });
        match self.account.post(&order.body.finalize, Some(&payload)).await {
            Ok(answer) => {
                order.retry_after = answer.retry_after;
                let body = answer.read(&order.url);
                order.body = body.map_err(|error| Failure::of(&error, None))?;
                Ok(())
            }
            // It was ready a moment ago: somebody has finalized it, most likely we ourselves.
            Err(error) if error.kind() == "orderNotReady" => {
                let order_now = self.look(&order.url).await;
                *order = order_now.map_err(|error| Failure::of(&error, None))?;
                Ok(())
            }
            Err(error) => {
                if matches!(error.kind(), "badCSR" | "badPublicKey") {
                    // The next attempt makes another key.
                    self.forget().await;
                }
                Err(Failure::of(&error, None))
            }
        }
    }

    /// Fetches the chain of a valid order.
    async fn fetch(&self, order: &Order, pending: &StoredPending) -> Result<Issued, Failure> {
        let url = order.body.certificate.as_ref().ok_or_else(|| {
            Failure::new(Scope::Authority, "the authority names no certificate URL")
        })?;
        let chain = self.account.post(url, None).await;
        let chain = chain.map_err(|error| Failure::of(&error, None))?;
        let chain = String::from_utf8_lossy(&chain.body).into_owned();
        let authority = self.issuer.name.clone();
        let key = pending.key.clone();
        let stored = StoredCertificate { authority, chain, key, issued: None };
        let issued = check(self.name, stored, self.clock.now());
        if issued.is_err() {
            // Looking again would find the same.
            self.forget().await;
        }
        issued
    }

    /// Looks at the order until `done`, which it returns; false when `limit` has passed.
    pub(super) async fn poll(
        &self,
        order: &mut Order,
        limit: Duration,
        done: impl Fn(OrderStatus) -> bool,
    ) -> Result<bool, Failure> {
        let deadline = Instant::now() + limit;
        let mut pause = POLL.0;
        while !done(order.body.status) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // Some say a day where it is a matter of seconds.
            let asked = order.retry_after.take().unwrap_or_default().min(LONGEST_POLL);
            tokio::time::sleep(asked.max(pause).min(left)).await;
            pause = (pause * 2).min(POLL.1);
            let seen = self.look(&order.url).await;
            *order = seen.map_err(|error| Failure::of(&error, None))?;
        }
        Ok(true)
    }

    async fn look(&self, url: &str) -> Result<Order, WireError> {
        let answer = self.account.post(url, None).await?;
        Ok(Order { url: url.to_owned(), body: answer.read(url)?, retry_after: answer.retry_after })
    }

    pub(super) async fn read<T: serde::de::DeserializeOwned>(
        &self,
        url: &str,
    ) -> Result<T, Failure> {
        let answer = self.account.post(url, None).await;
        let read = answer.and_then(|answer| answer.read(url));
        read.map_err(|error| Failure::of(&error, None))
    }

    pub(super) fn tell(&self, kind: EventKind, text: &str) {
        self.events.tell(kind, self.name, format!("{}: {text}", self.issuer.name));
    }

    async fn save(&self, pending: &StoredPending) -> Result<(), Failure> {
        self.write(vec![Op::Put { key: self.entry(), value: stored::encode(pending) }]).await
    }

    /// Drops the order: the next attempt places another.
    pub(super) async fn forget(&self) {
        if let Err(failure) = self.write(vec![Op::Delete { key: self.entry() }]).await {
            tracing::debug!(cause = failure.text, "an order that is over stays in the store");
        }
    }

    fn entry(&self) -> String {
        stored::pending_key(&self.issuer.name, self.name)
    }

    /// Writes while the lease is ours.
    pub(super) async fn write(&self, ops: Vec<Op>) -> Result<(), Failure> {
        let held = vec![Compare::Held(self.lease.clone())];
        match self.store.txn(held, ops).await {
            Ok(Committed::Yes(_)) => Ok(()),
            Ok(Committed::No) => {
                Err(Failure::new(Scope::Node, "another process has taken the order over"))
            }
            Err(error) => Err(store_failure(&error)),
        }
    }
}

/// Whether an authority has a profile.
pub(super) fn offers(directory: &Directory, profile: &str) -> Result<(), Failure> {
    let offered = &directory.meta.profiles;
    if offered.contains_key(profile) {
        return Ok(());
    }
    let names: Vec<&str> = offered.keys().take(16).map(String::as_str).collect();
    let text = match names.is_empty() {
        true => format!("it has no profiles: remove `profile = \"{profile}\"`"),
        false => {
            format!("it has no profile `{profile}`: set `profile` to one of {}", names.join(", "))
        }
    };
    Err(Failure::new(Scope::Authority, text))
}

/// The certificate signing request for `name`.
fn request(name: &str, key: &str) -> Result<Vec<u8>, rcgen::Error> {
    let key = KeyPair::from_pem(key)?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key)?.der().to_vec())
}
