//! Tickets of one policy.
//!
//! A ticket is the name of its key (16 bytes), a random nonce (12) and the session under
//! AES-256-GCM with the name as associated data. Random nonces are good for 2^32 tickets of a
//! policy in a period: 198,000 a second, in a whole fleet.

use super::{
    period::{LIFETIME, Period},
    ring::{Ring, Secret, Secrets},
};
use arc_swap::ArcSwap;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA384, Salt},
};
use rustls::server::ProducesTickets;
use std::{fmt, sync::Arc};

/// In bytes; sessions with a long chain of client certificates have none.
const MAX: usize = 8 * 1024;
const NAME: usize = 16;
const NONCE: usize = 12;
const TAG: usize = 16;
const KEY: usize = 32;

/// Seals and opens the tickets of one policy.
pub(crate) struct Tickets {
    ring: Arc<Ring>,
    /// Of the policy's terms.
    policy: [u8; 32],
    keys: ArcSwap<Keys>,
}

/// What is derived from the secrets of the ring, until it has others.
struct Keys {
    of: Arc<Secrets>,
    keys: Vec<Key>,
}

struct Key {
    period: Period,
    is_shared: bool,
    name: [u8; NAME],
    cipher: RandomizedNonceKey,
}

impl Tickets {
    pub(crate) fn new(ring: Arc<Ring>, policy: [u8; 32]) -> Self {
        let keys = Keys::derive(ring.load(), &policy);
        Self { ring, policy, keys: ArcSwap::from_pointee(keys) }
    }

    /// Derived anew by whoever sees first that the ring has changed; twice does no harm.
    fn keys(&self) -> Arc<Keys> {
        let (secrets, keys) = (self.ring.load(), self.keys.load_full());
        if Arc::ptr_eq(&keys.of, &secrets) {
            return keys;
        }
        let keys = Arc::new(Keys::derive(secrets, &self.policy));
        self.keys.store(Arc::clone(&keys));
        keys
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        if session.len() > MAX - NAME - NONCE - TAG {
            return None;
        }
        let keys = self.keys();
        let Key { name, cipher, .. } = keys.sealing(self.ring.now())?;
        let mut text = session.to_vec();
        let nonce = cipher.seal_in_place_append_tag(Aad::from(name), &mut text).ok()?;
        Some([&name[..], nonce.as_ref(), &text].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > MAX {
            return None;
        }
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, text) = rest.split_at_checked(NONCE)?;
        let keys = self.keys();
        let Key { name, cipher, .. } = keys.opening(name, self.ring.now())?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let length = cipher.open_in_place(nonce, Aad::from(name), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Keys {
    fn derive(of: Arc<Secrets>, policy: &[u8; 32]) -> Self {
        let kinds = [(true, &of.shared), (false, &of.local)];
        let secrets = kinds.into_iter().flat_map(|(is_shared, secrets)| {
            secrets.iter().map(move |(period, secret)| (*period, is_shared, secret))
        });
        let keys =
            secrets.map(|(period, shared, secret)| Key::derive(period, shared, secret, policy));
        let keys = keys.collect();
        Self { of, keys }
    }

    /// That of this period, the shared one first. Until the ring was turned the one before serves.
    fn sealing(&self, now: Period) -> Option<&Key> {
        let keys = self.keys.iter().filter(|key| key.period <= now && key.period.is_of_use(now));
        keys.max_by_key(|key| (key.period, key.is_shared))
    }

    fn opening(&self, name: &[u8], now: Period) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name && key.period.is_of_use(now))
    }
}

impl Key {
    fn derive(period: Period, is_shared: bool, secret: &Secret, policy: &[u8; 32]) -> Self {
        let mut derived = [0; KEY + NAME];
        // The digest's length is that of the key with its name.
        Salt::new(HKDF_SHA384, b"tidegate session tickets")
            .extract(&secret.0)
            .expand(&[policy], HKDF_SHA384)
            .and_then(|key| key.fill(&mut derived))
            .expect("HKDF gives as many bytes as its digest has");
        let (key, name) = derived.split_at(KEY);
        Self {
            period,
            is_shared,
            name: name.try_into().expect("it is what remains"),
            cipher: RandomizedNonceKey::new(&AES_256_GCM, key).expect("it is as long as AES wants"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
    use time::OffsetDateTime;

    const HOUR: i64 = 3600;
    const POLICY: [u8; 32] = [7; 32];

    /// A node with a clock of its own, which starts at the beginning of a period.
    struct Node {
        hours: Arc<AtomicI64>,
        ring: Arc<Ring>,
        tickets: Tickets,
    }

    impl Node {
        fn new() -> Self {
            let hours = Arc::new(AtomicI64::new(0));
            let reads = Arc::clone(&hours);
            let clock = Clock::new(move || {
                OffsetDateTime::from_unix_timestamp(reads.load(Relaxed) * HOUR).unwrap()
            });
            let ring = Arc::new(Ring::new(clock, []));
            Self { hours, tickets: Tickets::new(Arc::clone(&ring), POLICY), ring }
        }

        /// One that knows the secrets of the first periods.
        fn with_secrets(secrets: &[Secret]) -> Self {
            let node = Self::new();
            node.learn(secrets);
            node
        }

        fn learn(&self, secrets: &[Secret]) {
            for (period, secret) in (0..).zip(secrets) {
                self.ring.learn(Period::starting(period * 6 * HOUR).unwrap(), secret);
            }
        }

        fn at(&self, hours: i64) -> &Self {
            self.hours.store(hours, Relaxed);
            self
        }

        fn seal(&self) -> Vec<u8> {
            self.tickets.encrypt(b"session").unwrap()
        }

        fn opens(&self, ticket: &[u8]) -> bool {
            let session = self.tickets.decrypt(ticket);
            session.inspect(|session| assert_eq!(session, b"session")).is_some()
        }
    }

    #[test]
    fn every_node_takes_a_ticket_for_six_to_twelve_hours() {
        let secrets = [Secret::random(), Secret::random()];
        let (one, other) = (Node::with_secrets(&secrets), Node::with_secrets(&secrets));
        let first = one.seal();
        assert!(other.opens(&first));
        assert!(other.at(11).opens(&first));
        let second = one.at(6).seal();
        assert_ne!(first[..NAME], second[..NAME], "a period has its own key");
        // Also where the clock is behind.
        assert!(other.at(5).opens(&second));
        assert!(!other.at(12).opens(&first), "also without anybody turning the ring");
        assert!(other.opens(&second));
        other.ring.turn();
        assert_eq!(other.ring.counts(), (1, 1));
    }

    #[test]
    fn without_a_shared_secret_its_own_serves_and_stays_good_when_one_comes() {
        let node = Node::new();
        let own = node.seal();
        assert!(node.opens(&own));
        assert!(!Node::new().opens(&own));
        let secret = Secret::random();
        node.learn(std::slice::from_ref(&secret));
        assert!(node.opens(&own));
        assert!(Node::with_secrets(std::slice::from_ref(&secret)).opens(&node.seal()));
        // The store is silent for days: another one each period, and none is kept.
        for hours in (6..72).step_by(6) {
            node.at(hours);
            assert!(!node.tickets.keys().keys.is_empty());
            node.ring.turn();
            assert!(node.opens(&node.seal()));
            let (shared, local) = node.ring.counts();
            assert!(shared + local <= 3, "{shared} {local}");
        }
        assert!(!node.opens(&own));
    }

    #[test]
    fn what_is_gone_from_the_store_opens_nothing() {
        let node = Node::with_secrets(&[Secret::random()]);
        let ticket = node.seal();
        node.ring.forget(Period::starting(0).unwrap());
        assert!(!node.opens(&ticket));
        assert!(node.opens(&node.seal()));
    }

    #[test]
    fn secrets_of_other_times_are_not_kept() {
        let node = Node::new();
        for period in [-2, 3, i64::MAX / (6 * HOUR)] {
            node.ring.learn(Period::starting(period * 6 * HOUR).unwrap(), &Secret::random());
        }
        assert_eq!(node.ring.counts(), (0, 1));
    }

    #[test]
    fn another_policy_opens_nothing() {
        let node = Node::with_secrets(&[Secret::random()]);
        let other = Tickets::new(Arc::clone(&node.ring), [8; 32]);
        let mut ticket = node.seal();
        assert_eq!(other.decrypt(&ticket), None);
        // Nor under the name of its own key.
        ticket[..NAME].copy_from_slice(&other.encrypt(b"").unwrap()[..NAME]);
        assert_eq!(other.decrypt(&ticket), None);
    }

    #[test]
    fn what_was_tampered_with_cut_or_made_up_opens_nothing() {
        let node = Node::with_secrets(&[Secret::random()]);
        let ticket = node.seal();
        for at in 0..ticket.len() {
            let mut other = ticket.clone();
            other[at] ^= 1;
            assert!(!node.opens(&other), "{at}");
            assert!(!node.opens(&ticket[..at]), "{at}");
        }
        for length in [0, 64, MAX, MAX + 1, 1 << 20] {
            assert!(!node.opens(&vec![0; length]), "{length}");
        }
        let long = [&ticket[..], &vec![0; MAX]].concat();
        assert!(!node.opens(&long));
    }

    #[test]
    fn a_session_that_is_too_long_has_no_ticket() {
        let node = Node::new();
        let most = MAX - NAME - NONCE - TAG;
        let ticket = node.tickets.encrypt(&vec![1; most]).unwrap();
        assert_eq!((ticket.len(), node.tickets.decrypt(&ticket)), (MAX, Some(vec![1; most])));
        assert_eq!(node.tickets.encrypt(&vec![1; most + 1]), None);
    }
}
