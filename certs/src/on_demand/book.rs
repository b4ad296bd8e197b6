//! Who is on the way to which name, and who may set out: decided before anybody is asked, so that
//! a scanner's names cost a look into tables of fixed size. Pure: time is passed in.

use super::{Outcome, lapsing::Lapsing};
use crate::gcra::gcra;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};
use tidegate_config::{OnDemand, Rate};
use tokio::sync::watch;

/// Refusals remembered.
const MAX_REFUSED: usize = 10_000;
/// Networks whose bucket is not full.
const MAX_NETWORKS: usize = 10_000;

/// Clients of one network that wait at the same time.
const MAX_WAITING_OF_NETWORK: usize = 64;
/// What the networks of a site may have together, in times of what one has.
const SITES: u32 = 4;

/// What a flight came to; `None` while it is under way.
pub(super) type Landing = watch::Receiver<Option<Outcome>>;

/// Of one listener. Moments are milliseconds since it was made.
pub(super) struct Book {
    /// By name: one flight each, whoever else waits for it.
    flights: HashMap<String, Landing>,
    refused: Lapsing<String, Outcome>,
    /// When the bucket of a network is full again.
    networks: Lapsing<IpAddr, ()>,
    /// The same of the bucket for all of them.
    total: i64,
    /// Clients that wait, by network.
    waiting: HashMap<IpAddr, usize>,
}

/// Whether a client may wait for a name.
pub(super) enum Admission {
    /// Others wait for it already.
    Join(Landing),
    /// It is the first: a flight is to be sent out that tells the sender.
    Start(watch::Sender<Option<Outcome>>, Landing),
    Refuse(Outcome),
}

impl Book {
    pub(super) fn new() -> Self {
        Self {
            flights: HashMap::new(),
            refused: Lapsing::new(MAX_REFUSED),
            networks: Lapsing::new(MAX_NETWORKS),
            total: 0,
            waiting: HashMap::new(),
        }
    }

    /// A client begins to wait; false if too many of its network do.
    pub(super) fn enter(&mut self, client: IpAddr) -> bool {
        let waiting = self.waiting.entry(network(client)).or_default();
        let fits = *waiting < MAX_WAITING_OF_NETWORK;
        *waiting += usize::from(fits);
        fits
    }

    /// It does no longer.
    pub(super) fn leave(&mut self, client: IpAddr) {
        let network = network(client);
        if let Some(waiting) = self.waiting.get_mut(&network) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(&network);
            }
        }
    }

    pub(super) fn admit(
        &mut self,
        name: &str,
        client: IpAddr,
        settings: &OnDemand,
        now: i64,
    ) -> Admission {
        if let Some(landing) = self.flights.get(name) {
            return Admission::Join(landing.clone());
        }
        if let Some((_, outcome)) = self.refused.get(name, now) {
            return Admission::Refuse(*outcome);
        }
        let rate = settings.rate;
        let wide = Rate { count: rate.count.saturating_mul(SITES), ..rate };
        let mut filled = Vec::new();
        for (network, rate) in [(network(client), rate), (site(client), wide)] {
            let before = self.networks.get(&network, now).map_or(0, |(filled, ())| filled);
            filled.push((network, gcra(before, now, rate)));
        }
        let total = gcra(self.total, now, settings.total_rate);
        // No bucket loses anything by what another refuses.
        let (Ok(total), true) = (total, filled.iter().all(|(_, filled)| filled.is_ok())) else {
            return Admission::Refuse(Outcome::Limited);
        };
        for (network, filled) in filled {
            self.networks.put(network, (), filled.unwrap_or(now), now);
        }
        self.total = total;
        let (sender, landing) = watch::channel(None);
        self.flights.insert(name.to_owned(), landing.clone());
        Admission::Start(sender, landing)
    }

    /// The flight for `name` is over; a refusal is remembered for so long.
    pub(super) fn land(&mut self, name: &str, refused: Option<(Outcome, Duration)>, now: i64) {
        self.flights.remove(name);
        if let Some((outcome, wait)) = refused {
            let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            self.refused.put(name.to_owned(), outcome, now.saturating_add(wait), now);
        }
    }
}

/// What all of a site is counted under: a /16, or a /48, which is what many sites have.
fn site(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            // Not the first /24 of it.
            Ipv4Addr::new(a, b, 0, 255).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 1).into()
        }
    }
}

/// What a client is counted under: a /24, or a /64.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &str) -> OnDemand {
        let text = format!(
            "[acme]\n[listeners.l]\naddress = \"127.0.0.1:1\"\n\
             tls = {{ on_demand = {{ names = [\"*.example.com\"], {more} }} }}\n"
        );
        let config = tidegate_config::parse(&text, "t.toml").unwrap().config;
        let tls = config.listeners.into_values().next().unwrap().tls.unwrap();
        tls.on_demand.unwrap()
    }

    fn outcome(admission: Admission) -> Option<Outcome> {
        match admission {
            Admission::Refuse(outcome) => Some(outcome),
            Admission::Join(_) | Admission::Start(..) => None,
        }
    }

    #[test]
    fn a_network_and_all_of_them_have_a_rate() {
        let settings = settings("rate = \"2/m\", total_rate = \"5/m\"");
        let mut book = Book::new();
        let mut admit = |name: usize, client: &str, now| {
            let name = format!("{name}.example.com");
            outcome(book.admit(&name, client.parse().unwrap(), &settings, now))
        };
        for client in ["192.0.2.1", "::ffff:192.0.2.2"] {
            assert_eq!(admit(client.len(), client, 0), None);
        }
        assert_eq!(admit(1, "192.0.2.3", 0), Some(Outcome::Limited));
        for (name, client) in [(2, "192.0.3.1"), (3, "2001:db8::1"), (4, "2001:db8::2")] {
            assert_eq!(admit(name, client, 0), None, "{client}");
        }
        assert_eq!(admit(5, "2001:db8:0:1::1", 0), Some(Outcome::Limited), "all together");
        assert_eq!(admit(5, "2001:db8:0:1::1", 12_000), None);
        assert_eq!(admit(6, "192.0.2.4", 29_000), Some(Outcome::Limited));
        assert_eq!(admit(6, "192.0.2.4", 30_000), None);
    }

    #[test]
    fn a_site_with_many_networks_has_a_rate_and_a_network_so_many_places() {
        let settings = settings("rate = \"2/m\", total_rate = \"1000/m\"");
        let mut book = Book::new();
        for network in 0..8 {
            let client = format!("2001:db8:0:{network}::1").parse().unwrap();
            let name = format!("{network}.example.com");
            let limited = outcome(book.admit(&name, client, &settings, 0));
            assert_eq!(limited, None, "{network}");
        }
        let another = "2001:db8:0:ff::1".parse().unwrap();
        let limited = outcome(book.admit("z.example.com", another, &settings, 0));
        assert_eq!(limited, Some(Outcome::Limited));
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        assert!((0..MAX_WAITING_OF_NETWORK).all(|_| book.enter(client)));
        assert!(!book.enter("192.0.2.9".parse().unwrap()) && book.enter(another));
        (0..MAX_WAITING_OF_NETWORK).for_each(|_| book.leave(client));
        book.leave(another);
        assert!(book.waiting.is_empty());
    }

    #[test]
    fn a_name_is_on_its_way_once_and_a_refusal_is_remembered() {
        let settings = settings("rate = \"1/h\"");
        let client = "192.0.2.1".parse().unwrap();
        let mut book = Book::new();
        let name = "a.example.com";
        let Admission::Start(sender, _) = book.admit(name, client, &settings, 0) else { panic!() };
        for _ in 0..50 {
            let Admission::Join(landing) = book.admit(name, client, &settings, 0) else { panic!() };
            assert_eq!(*landing.borrow(), None);
        }
        sender.send_replace(Some(Outcome::Denied));
        book.land(name, Some((Outcome::Denied, Duration::from_secs(300))), 0);
        let later = "198.51.100.1".parse().unwrap();
        let mut asked = |now| outcome(book.admit(name, later, &settings, now));
        assert_eq!(asked(299_999), Some(Outcome::Denied));
        assert_eq!(asked(300_000), None);
    }
}
