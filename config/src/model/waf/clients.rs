//! `bypass`, `deny` and `allow`: clients by where they come from.

use super::Country;
use crate::{
    Name,
    shape::{Reader, Written, reference, set, table, whole},
};
use ipnet::IpNet;

table! {
    /// Clients that `[waf.NAME]` treats alike: those that one of the keys names.
    pub struct WafClients {
        /// Addresses and networks.
        addresses: Vec<IpNet> = [] as set(IpNet::shape()),
        /// Names of address lists.
        lists: Vec<Name> = [] as set(reference("address list", "address_lists")),
        /// Countries by ISO 3166 code; needs `geo.country`.
        countries: Vec<Country> = [] as set(Country::shape()),
        /// Autonomous systems by number; needs `geo.asn`.
        asns: Vec<u32> = [] as set(whole(1..=4_294_967_295)),
    }
    check = names_somebody;
}

fn names_somebody(clients: &WafClients, reader: &mut Reader<'_, '_, '_>) {
    let WafClients { addresses, lists, countries, asns } = clients;
    let nobody =
        addresses.is_empty() && lists.is_empty() && countries.is_empty() && asns.is_empty();
    let keys = ["addresses", "lists", "countries", "asns"];
    // Where a key is there and empty all the same, its own fault may be why.
    if nobody && reader.present(&keys).is_empty() {
        reader
            .fault_at(None, "this names no client")
            .help("list `addresses`, `lists`, `countries` or `asns`, or remove it");
    }
}
