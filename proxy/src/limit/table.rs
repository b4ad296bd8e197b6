//! The table all limits share: fixed slots of (128-bit key, theoretical arrival time).
//!
//! Memory is fixed at start: 24 bytes a slot and four slots for three keys, 32 MB for a million
//! keys. A key has two buckets of 16 slots in one shard; a new key goes to the emptier one, so
//! that at the stated number of live keys none is lost. A slot whose arrival time has passed is
//! a full bucket, the same as no slot: it is reused without loss. Only when all 32 slots are
//! live is the one soonest to expire evicted, and counted.

use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

const WAYS: usize = 16;
const SHARDS: usize = 64;

/// See the module's text.
pub(crate) struct Table {
    shards: Box<[Mutex<Shard>]>,
    buckets_per_shard: usize,
    epoch: Instant,
    hash_keys: (u64, u64),
    evictions: AtomicU64,
}

struct Shard {
    buckets: Box<[Bucket]>,
}

/// Keys apart from times: a search reads four cache lines.
#[derive(Clone)]
#[repr(align(64))]
struct Bucket {
    keys: [u128; WAYS],
    /// Nanoseconds since the epoch; 0 = never used.
    times: [u64; WAYS],
}

impl Table {
    /// A table that holds `keys` live keys.
    pub(crate) fn new(keys: usize) -> Self {
        let slots = keys.saturating_mul(4) / 3;
        let buckets_per_shard = slots.div_ceil(SHARDS * WAYS).max(2);
        let empty = Bucket { keys: [0; WAYS], times: [0; WAYS] };
        let shard = || Mutex::new(Shard { buckets: vec![empty.clone(); buckets_per_shard].into() });
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            buckets_per_shard,
            epoch: Instant::now(),
            hash_keys: rand::random(),
            evictions: AtomicU64::new(0),
        }
    }

    /// Bytes the table takes, for ever.
    pub(crate) fn bytes(&self) -> usize {
        SHARDS * self.buckets_per_shard * size_of::<Bucket>()
    }

    /// Live keys lost because all their slots were live.
    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Relaxed)
    }

    /// Keys whose bucket is not full again. Walks the table: for metrics, not for requests.
    pub(crate) fn live(&self) -> usize {
        let now = self.now();
        let live = |shard: &Mutex<Shard>| {
            shard.lock().buckets.iter().flat_map(|b| &b.times).filter(|&&t| t > now).count()
        };
        self.shards.iter().map(live).sum()
    }

    pub(super) fn epoch(&self) -> Instant {
        self.epoch
    }

    pub(super) fn hash_keys(&self) -> (u64, u64) {
        self.hash_keys
    }

    pub(super) fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Reads and replaces the arrival time of `key`; an error of `f` leaves it.
    pub(super) fn update<T, E>(
        &self,
        key: u128,
        f: impl Fn(Option<u64>) -> Result<(T, u64), E>,
    ) -> Result<T, E> {
        let shard = &self.shards[(key >> 122) as usize % SHARDS];
        let pick = |bits: u128| (bits as u32 as usize) % self.buckets_per_shard;
        let choices = [pick(key), pick(key >> 32)];
        let mut shard = shard.lock();
        for choice in choices {
            let bucket = &mut shard.buckets[choice];
            // 0 is the key of a slot never used; a hash of 0 merely counts as another key's.
            if let Some(way) = bucket.keys.iter().position(|&k| k == key) {
                let (value, time) = f(Some(bucket.times[way]))?;
                bucket.times[way] = time;
                return Ok(value);
            }
        }
        let (value, time) = f(None)?;
        let slot = self.slot_for_new(&shard, choices);
        let bucket = &mut shard.buckets[slot.0];
        bucket.keys[slot.1] = key;
        bucket.times[slot.1] = time;
        Ok(value)
    }

    fn slot_for_new(&self, shard: &Shard, choices: [usize; 2]) -> (usize, usize) {
        let now = self.now();
        let live = |b: usize| shard.buckets[b].times.iter().filter(|&&t| t > now).count();
        let emptier = if live(choices[0]) <= live(choices[1]) { choices[0] } else { choices[1] };
        if let Some(way) = shard.buckets[emptier].times.iter().position(|&t| t <= now) {
            return (emptier, way);
        }
        self.evictions.fetch_add(1, Relaxed);
        let soonest = |b: usize| {
            let times = shard.buckets[b].times.iter().enumerate();
            times.min_by_key(|&(_, &t)| t).map_or((u64::MAX, b, 0), |(way, &t)| (t, b, way))
        };
        let (_, bucket, way) = soonest(choices[0]).min(soonest(choices[1]));
        (bucket, way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: &Table, key: u128, time: u64) -> Option<u64> {
        table.update(key, |old| Ok::<_, ()>((old, time))).unwrap()
    }

    fn keys(n: usize) -> impl Iterator<Item = u128> {
        // splitmix-like spread of a counter; any fixed mixing will do
        (1..=n as u128).map(|i| {
            let x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            x ^ (x >> 61)
        })
    }

    const FAR: u64 = u64::MAX / 2;

    #[test]
    fn the_stated_number_of_live_keys_is_held_without_an_eviction() {
        let table = Table::new(1_000_000);
        for key in keys(1_000_000) {
            assert_eq!(put(&table, key, FAR), None);
        }
        assert_eq!(table.evictions(), 0);
        assert_eq!(table.live(), 1_000_000);
        assert!(keys(1_000_000).all(|key| put(&table, key, FAR) == Some(FAR)));
        assert!(table.bytes() <= 34_000_000, "{}", table.bytes());
    }

    #[test]
    fn expired_slots_are_reused_without_loss() {
        let table = Table::new(100);
        for key in keys(1_000_000) {
            put(&table, key, 0);
        }
        assert_eq!(table.evictions(), 0);
    }

    #[test]
    fn when_all_are_live_the_soonest_to_expire_goes() {
        let table = Table::new(1);
        let slots = table.bytes() / size_of::<Bucket>() * WAYS;
        let all: Vec<_> = keys(slots * 2).collect();
        for (i, &key) in all.iter().enumerate() {
            put(&table, key, FAR + i as u64);
        }
        assert!(table.evictions() >= slots as u64);
        // The newest has the latest time and is still there.
        let last = all[all.len() - 1];
        assert_eq!(put(&table, last, FAR), Some(FAR + all.len() as u64 - 1));
    }

    #[test]
    fn an_error_leaves_the_slot_alone() {
        let table = Table::new(10);
        put(&table, 7, FAR);
        assert_eq!(table.update(7, |_| Err::<((), u64), _>("no")), Err("no"));
        assert_eq!(put(&table, 7, FAR), Some(FAR));
        assert_eq!(table.update(8, |_| Err::<((), u64), _>("no")), Err("no"));
        assert_eq!(table.live(), 1);
    }
}
