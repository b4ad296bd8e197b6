//! Choosing an endpoint: pure functions over the usable ones.

use super::endpoint::{Endpoint, Health};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tidegate_config::Balance;

/// The endpoints a request may go to, in the document's order: the healthy and unchecked ones,
/// or, when there is none, those not checked yet. Drained and disabled ones never.
pub(crate) fn usable(endpoints: &[Arc<Endpoint>]) -> Vec<Arc<Endpoint>> {
    let active = || endpoints.iter().filter(|endpoint| endpoint.admin().is_none());
    let with = |wanted: &[Health]| -> Vec<_> {
        active().filter(|endpoint| wanted.contains(&endpoint.health())).cloned().collect()
    };
    let healthy = with(&[Health::Healthy, Health::Unchecked]);
    if healthy.is_empty() { with(&[Health::Unknown]) } else { healthy }
}

/// Picks from `usable`, passing over `tried` while there is another. `cursor` is the worker's
/// own round-robin position, `random` a fresh random number.
pub(crate) fn pick<'e>(
    balance: Balance,
    usable: &'e [Arc<Endpoint>],
    tried: &[Arc<Endpoint>],
    cursor: &AtomicUsize,
    random: u64,
) -> Option<&'e Arc<Endpoint>> {
    if !tried.is_empty() {
        let fresh: Vec<_> = usable
            .iter()
            .enumerate()
            .filter(|(_, e)| !tried.iter().any(|t| Arc::ptr_eq(t, e)))
            .map(|(at, _)| at)
            .collect();
        if !fresh.is_empty() {
            return Some(&usable[fresh[random as usize % fresh.len()]]);
        }
    }
    let load = |at: usize| usable[at].in_flight.load(Relaxed);
    let at = match (balance, usable.len()) {
        (_, 0) => return None,
        (_, 1) => 0,
        (Balance::RoundRobin, n) => cursor.fetch_add(1, Relaxed) % n,
        (Balance::LeastRequests, n) => {
            // Ties rotate, so that idle endpoints share the load.
            let start = cursor.fetch_add(1, Relaxed) % n;
            (0..n).map(|i| (start + i) % n).min_by_key(|&at| load(at)).unwrap_or(start)
        }
        (Balance::P2c, n) => {
            // Two distinct ones, uniformly (Mitzenmacher, "The power of two choices", 2001).
            let first = (random as u32 as usize) % n;
            let second = (first + 1 + ((random >> 32) as usize) % (n - 1)) % n;
            if load(second) < load(first) { second } else { first }
        }
    };
    usable.get(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_release::EndpointAdmin;

    fn endpoints(n: u16) -> Vec<Arc<Endpoint>> {
        (1..=n).map(|port| Endpoint::new(([127, 0, 0, 1], port).into(), 1, true).into()).collect()
    }

    fn ports(list: &[Arc<Endpoint>]) -> Vec<u16> {
        list.iter().map(|e| e.address.port()).collect()
    }

    #[test]
    fn unknown_is_used_only_when_nothing_is_healthy() {
        let all = endpoints(3);
        assert_eq!(ports(&usable(&all)), [1, 2, 3]);
        all[1].set_health(Health::Healthy);
        assert_eq!(ports(&usable(&all)), [2]);
        all[1].set_health(Health::Unhealthy);
        assert_eq!(ports(&usable(&all)), [1, 3]);
        all[0].set_admin(Some(EndpointAdmin::Drain));
        assert_eq!(ports(&usable(&all)), [3]);
        all[2].set_health(Health::Unhealthy);
        assert!(usable(&all).is_empty());
    }

    #[test]
    fn round_robin_takes_turns() {
        let all = endpoints(3);
        let cursor = AtomicUsize::new(1);
        let got: Vec<_> = (0..6)
            .map(|_| pick(Balance::RoundRobin, &all, &[], &cursor, 0).unwrap().address.port())
            .collect();
        assert_eq!(got, [2, 3, 1, 2, 3, 1]);
    }

    #[test]
    fn p2c_spreads_evenly_and_avoids_the_busier() {
        let all = endpoints(4);
        all[0].in_flight.store(5, Relaxed);
        let mut counts = [0usize; 4];
        for _ in 0..40_000 {
            let cursor = AtomicUsize::new(0);
            let e = pick(Balance::P2c, &all, &[], &cursor, rand::random()).unwrap();
            counts[e.address.port() as usize - 1] += 1;
        }
        assert_eq!(counts[0], 0, "the busiest of any two is never taken");
        assert!(counts[1..].iter().all(|&n| (12_600..14_070).contains(&n)), "{counts:?}");
    }

    #[test]
    fn a_retry_goes_elsewhere_while_there_is_an_elsewhere() {
        let all = endpoints(2);
        let cursor = AtomicUsize::new(0);
        let tried = [Arc::clone(&all[0])];
        for random in 0..100 {
            let e = pick(Balance::RoundRobin, &all, &tried, &cursor, random).unwrap();
            assert_eq!(e.address.port(), 2);
        }
        assert!(pick(Balance::P2c, &all, &all.clone(), &cursor, 1).is_some());
    }
}
