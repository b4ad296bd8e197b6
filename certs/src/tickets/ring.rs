//! The secrets this process knows.

use super::period::Period;
use crate::clock::Clock;
use arc_swap::ArcSwap;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// What keys are derived from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(super) [u8; 32]);

impl Secret {
    pub(super) fn random() -> Self {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness");
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Secrets by their periods; at most four of each kind are of use at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    /// Those of the store.
    pub(super) shared: BTreeMap<Period, Secret>,
    /// This process's own, of periods that had none in the store when they were needed.
    pub(super) local: BTreeMap<Period, Secret>,
}

/// The secrets of use now. Handshakes read it without a lock.
#[derive(Debug)]
pub(crate) struct Ring {
    secrets: ArcSwap<Secrets>,
    clock: Clock,
}

impl Ring {
    /// A ring with what the store has; it has one for this period in any case.
    pub(crate) fn new(clock: Clock, shared: impl IntoIterator<Item = (Period, Secret)>) -> Self {
        let secrets = Secrets { shared: shared.into_iter().collect(), ..Secrets::default() };
        let ring = Self { secrets: ArcSwap::from_pointee(secrets), clock };
        ring.turn();
        ring
    }

    /// Drops what is of no use any more, and sees to it that there is a secret for this period.
    pub(crate) fn turn(&self) {
        let now = self.now();
        let secrets = self.load();
        let is_over = |period: &Period| !period.is_of_use(now);
        let is_due = !secrets.knows(now) || secrets.shared.keys().any(is_over);
        // Whatever is derived is derived anew after a change.
        if is_due || secrets.local.keys().any(is_over) {
            self.secrets.rcu(|secrets| {
                let mut secrets = Secrets::clone(secrets);
                secrets.shared.retain(|period, _| period.is_of_use(now));
                secrets.local.retain(|period, _| period.is_of_use(now));
                if !secrets.knows(now) {
                    secrets.local.insert(now, Secret::random());
                }
                secrets
            });
        }
    }

    /// Takes a secret of the store; those that are of no use are left out.
    pub(super) fn learn(&self, period: Period, secret: &Secret) {
        if period.is_of_use(self.now()) && self.load().shared.get(&period) != Some(secret) {
            self.secrets.rcu(|secrets| {
                let mut secrets = Secrets::clone(secrets);
                secrets.shared.insert(period, secret.clone());
                secrets
            });
        }
    }

    /// Drops a secret that is gone from the store.
    pub(super) fn forget(&self, period: Period) {
        if self.shares(period) {
            self.secrets.rcu(|secrets| {
                let mut secrets = Secrets::clone(secrets);
                secrets.shared.remove(&period);
                secrets
            });
            self.turn();
        }
    }

    /// Whether the secret of this period came from the store.
    pub(super) fn shares(&self, period: Period) -> bool {
        self.load().shared.contains_key(&period)
    }

    /// How many secrets came from the store, and how many are this process's own.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let secrets = self.load();
        (secrets.shared.len(), secrets.local.len())
    }

    pub(super) fn load(&self) -> Arc<Secrets> {
        self.secrets.load_full()
    }

    pub(super) fn now(&self) -> Period {
        Period::at(self.clock.now())
    }
}

impl Secrets {
    fn knows(&self, period: Period) -> bool {
        self.shared.contains_key(&period) || self.local.contains_key(&period)
    }
}
