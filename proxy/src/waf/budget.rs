//! How much memory policies take for bodies and for looking at them, in the whole process and for
//! one client.

use crate::{client, reason::Reason, respond::Refusal};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// What is taken at once: few enough bodies are smaller that counting exactly would not pay.
const STEP: usize = 16 << 10;

/// What a body grows by beyond what it needs, in parts of its size: copying is then bounded.
const SLACK: usize = 4;

/// Clients are counted in so many tables, so that workers seldom wait for each other.
const SHARDS: usize = 64;

/// Bytes taken now. Clients that hold nothing are not known, so there are never more of them than
/// there are steps in the budget.
#[derive(Default)]
pub(crate) struct Budget {
    used: AtomicUsize,
    clients: Clients,
}

struct Clients {
    shards: Box<[Mutex<HashMap<IpAddr, usize>>]>,
    hasher: RandomState,
}

impl Default for Clients {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new() }
    }
}

impl Clients {
    fn of(&self, client: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        &self.shards[self.hasher.hash_one(client) as usize % SHARDS]
    }

    fn take(&self, client: IpAddr, more: usize, most: usize) -> Result<(), Full> {
        let mut clients = self.of(client).lock();
        let held = clients.get(&client).copied().unwrap_or(0) + more;
        if held > most {
            return Err(Full::Client);
        }
        clients.insert(client, held);
        Ok(())
    }

    fn give(&self, client: IpAddr, back: usize) {
        let mut clients = self.of(client).lock();
        if let Some(held) = clients.get_mut(&client) {
            *held = held.saturating_sub(back);
            if *held == 0 {
                clients.remove(&client);
            }
        }
    }
}

impl Budget {
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// What one request may take, and of what.
#[derive(Clone, Copy)]
pub(crate) struct Allowance<'b> {
    budget: &'b Arc<Budget>,
    bounds: Bounds,
}

#[derive(Clone, Copy)]
struct Bounds {
    /// Who takes it: an IPv4 address, or an IPv6 network of 64 bits.
    client: IpAddr,
    /// Bytes of all requests together, and of all of this client.
    most: usize,
    most_of_client: usize,
}

/// Nothing more can be taken: of which budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    All,
    Client,
}

impl<'b> Allowance<'b> {
    /// `one` is what a single request may need: a client gets it where that is more than a quarter
    /// of all.
    pub(crate) fn new(budget: &'b Arc<Budget>, client: IpAddr, most: usize, one: usize) -> Self {
        let client = client::key(client);
        Self { budget, bounds: Bounds { client, most, most_of_client: one.max(most / 4) } }
    }

    pub(crate) fn share(&self) -> Share {
        Share { budget: Arc::clone(self.budget), bounds: self.bounds, taken: 0 }
    }
}

impl Full {
    pub(crate) fn refusal(self) -> Refusal {
        let detail = match self {
            Self::All => "what WAF policies hold takes all of `server.held_bodies`",
            Self::Client => {
                "what WAF policies hold for this client takes its part of `server.held_bodies`"
            }
        };
        Refusal::new(Reason::Overloaded, detail)
    }
}

/// A part of the budget, given back with itself.
pub(crate) struct Share {
    budget: Arc<Budget>,
    bounds: Bounds,
    taken: usize,
}

impl Share {
    /// Takes or gives back until it is so many bytes. Beyond the budget it stays what it was.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<(), Full> {
        let bytes = bytes.next_multiple_of(STEP);
        if bytes > self.taken {
            self.take(bytes - self.taken)?;
        } else if bytes < self.taken {
            self.give(self.taken - bytes);
        }
        Ok(())
    }

    fn take(&mut self, more: usize) -> Result<(), Full> {
        let Bounds { client, most, most_of_client } = self.bounds;
        let used = self.budget.used.fetch_add(more, Relaxed) + more;
        let fits = match used <= most {
            true => self.budget.clients.take(client, more, most_of_client),
            false => Err(Full::All),
        };
        match fits {
            Ok(()) => self.taken += more,
            Err(_) => drop(self.budget.used.fetch_sub(more, Relaxed)),
        }
        fits
    }

    fn give(&mut self, back: usize) {
        self.taken -= back;
        self.budget.clients.give(self.bounds.client, back);
        self.budget.used.fetch_sub(back, Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.taken > 0 {
            self.give(self.taken);
        }
    }
}

/// A body while it is read. What it takes is given back when the last copy of what was
/// [frozen](Self::freeze) is gone, or with itself.
pub(crate) struct HeldBody {
    bytes: Vec<u8>,
    share: Share,
}

impl HeldBody {
    pub(crate) fn new(allowance: &Allowance<'_>) -> Self {
        Self { bytes: Vec::new(), share: allowance.share() }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes more. What is beyond the budget is there as well, since who passes the body on needs
    /// it; nothing more is to be pushed then.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<(), Full> {
        let needed = self.bytes.len() + data.len();
        let mut fits = Ok(());
        if needed > self.bytes.capacity() {
            let roomy = needed.max(self.bytes.capacity() + self.bytes.capacity() / SLACK);
            let mut room = roomy.next_multiple_of(STEP);
            fits = self.share.cover(room);
            if fits.is_err() {
                room = needed.next_multiple_of(STEP);
                fits = self.share.cover(room);
            }
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        fits
    }

    pub(crate) fn freeze(self) -> Bytes {
        if self.bytes.is_empty() {
            return Bytes::new();
        }
        Bytes::from_owner(Frozen { bytes: self.bytes, _share: self.share })
    }
}

struct Frozen {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance<'b>(budget: &'b Arc<Budget>, client: &str, most: usize) -> Allowance<'b> {
        Allowance::new(budget, client.parse().unwrap(), most, 2 * STEP)
    }

    #[test]
    fn a_body_gives_back_what_it_took_with_its_last_copy() {
        let budget = Arc::<Budget>::default();
        let mut body = HeldBody::new(&allowance(&budget, "192.0.2.1", 1 << 20));
        assert!(body.push(&[1; 10]).is_ok() && body.push(&[2; STEP]).is_ok());
        assert_eq!(budget.used(), 2 * STEP);
        let frozen = body.freeze();
        let part = frozen.slice(5..);
        drop(frozen);
        assert_eq!((budget.used(), part.len()), (2 * STEP, STEP + 5));
        drop(part);
        assert_eq!(budget.used(), 0);
        assert!(budget.clients.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    /// Before, the length was counted, and the memory was up to twice as much.
    #[test]
    fn what_a_body_takes_is_what_is_counted() {
        let budget = Arc::<Budget>::default();
        let mut body = HeldBody::new(&allowance(&budget, "192.0.2.1", 8 << 20));
        for _ in 0..1_000 {
            body.push(&[0; 1_000]).unwrap();
            assert!(body.bytes.capacity() <= budget.used(), "{}", body.bytes.capacity());
        }
        assert!(budget.used() <= 1_000_000 + 1_000_000 / SLACK + STEP, "{}", budget.used());
    }

    #[test]
    fn nobody_takes_more_than_there_is() {
        let budget = Arc::<Budget>::default();
        let of = |client| HeldBody::new(&allowance(&budget, client, 2 * STEP));
        let (mut one, mut two) = (of("192.0.2.1"), of("192.0.2.2"));
        assert!(one.push(&[0; STEP]).is_ok() && two.push(&[0]).is_ok());
        assert_eq!(one.push(&[0]), Err(Full::All));
        assert_eq!(budget.used(), 2 * STEP);
        // It can still be passed on, whole.
        assert_eq!(one.freeze().len(), STEP + 1);
        drop(two);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_client_takes_a_quarter_or_what_one_request_needs() {
        let budget = Arc::<Budget>::default();
        let share = |client| allowance(&budget, client, 16 * STEP).share();
        let (mut one, mut two) = (share("2001:db8::1"), share("2001:db8::2"));
        let mut other = share("2001:db8:0:1::1");
        assert!(one.cover(3 * STEP).is_ok() && two.cover(STEP).is_ok());
        assert_eq!(two.cover(STEP + 1), Err(Full::Client), "they are one network");
        assert!(other.cover(4 * STEP).is_ok());
        one.cover(STEP).unwrap();
        assert!(two.cover(2 * STEP).is_ok());
        drop((one, two, other));
        assert_eq!(budget.used(), 0);
        let mut one = allowance(&budget, "192.0.2.1", 4 * STEP).share();
        assert!(one.cover(2 * STEP).is_ok(), "a quarter of it would be too little");
        assert_eq!(one.cover(3 * STEP), Err(Full::Client));
    }
}
