//! Counters of which every worker has its own, so that no two cores write one cache line. They
//! are added up when somebody asks.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// One value per worker, each on cache lines of its own.
#[derive(Debug)]
pub(crate) struct PerWorker<T>(Box<[Padded<T>]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> PerWorker<T> {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Padded::default()).collect())
    }

    pub(crate) fn of(&self, worker: usize) -> &T {
        &self.0[worker].0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }
}

/// Requests of one route by status class: `1xx` to `5xx`, and those that ended without a status.
#[derive(Debug, Default)]
pub(crate) struct RouteCells {
    classes: [AtomicU64; 6],
}

/// The classes in the order of [`RouteCells`].
pub(crate) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl RouteCells {
    pub(crate) fn count(&self, status: u16) {
        let class = usize::from(status / 100);
        self.classes[if class <= 5 { class } else { 0 }].fetch_add(1, Relaxed);
    }

    pub(crate) fn class(&self, class: usize) -> u64 {
        self.classes[class].load(Relaxed)
    }
}

/// Upper bounds of the latency buckets, in microseconds: 0.5 ms to 60 s.
pub(crate) const BOUNDS_US: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// What one version of a service did.
#[derive(Debug, Default)]
pub(crate) struct VersionCells {
    pub(crate) requests: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) in_flight: AtomicI64,
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl VersionCells {
    /// Records the time from a request's head to its response's head.
    pub(crate) fn latency(&self, latency: Duration) {
        let us = latency.as_micros() as u64;
        self.buckets[BOUNDS_US.partition_point(|&bound| bound < us)].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    pub(crate) fn bucket(&self, at: usize) -> u64 {
        self.buckets[at].load(Relaxed)
    }

    pub(crate) fn sum_us(&self) -> u64 {
        self.sum_us.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_the_bucket_whose_bound_is_not_below_them() {
        let cells = VersionCells::default();
        for us in [1, 500, 501, 60_000_000, 60_000_001] {
            cells.latency(Duration::from_micros(us));
        }
        assert_eq!(
            [cells.bucket(0), cells.bucket(1), cells.bucket(15), cells.bucket(16)],
            [2, 1, 1, 1]
        );
    }

    #[test]
    fn odd_statuses_do_not_panic() {
        let cells = RouteCells::default();
        for status in [0, 99, 200, 599, 600, 999] {
            cells.count(status);
        }
        assert_eq!([cells.class(0), cells.class(2), cells.class(5)], [4, 1, 1]);
    }
}
