//! Clients that one of several keys names.

use super::{Facts, List, finding::By};
use ipnet::IpNet;
use std::{collections::BTreeMap, sync::Arc};
use tidegate_config::{Country, Name, WafClients};

pub(super) struct Clients {
    addresses: Vec<IpNet>,
    pub(super) lists: Vec<Arc<List>>,
    pub(super) countries: Vec<Country>,
    pub(super) asns: Vec<u32>,
}

impl Clients {
    /// Every list is there: validation saw to that.
    pub(super) fn new(document: &WafClients, lists: &BTreeMap<Name, Arc<List>>) -> Self {
        Self {
            addresses: document.addresses.clone(),
            lists: document.lists.iter().filter_map(|name| lists.get(name)).cloned().collect(),
            countries: document.countries.clone(),
            asns: document.asns.clone(),
        }
    }

    /// What names this client.
    pub(super) fn find(&self, facts: &Facts<'_>, now: u64) -> Option<By> {
        let client = facts.client.to_canonical();
        if let Some(network) = self.addresses.iter().find(|network| network.contains(&client)) {
            return Some(("address", network.to_string().into()));
        }
        if let Some(list) = self.lists.iter().find(|list| list.addresses.contains(client, now)) {
            return Some(("list", list.name.as_str().into()));
        }
        if let Some(country) = facts.country.filter(|country| self.countries.contains(country)) {
            return Some(("country", country.code().into()));
        }
        let asn = facts.asn.filter(|asn| self.asns.contains(asn))?;
        Some(("asn", asn.to_string().into()))
    }

    /// What is known of a client that nothing names.
    pub(super) fn missed(&self, facts: &Facts<'_>) -> Vec<By> {
        let country = facts.country.map(|country| ("country", country.code().into()));
        let asn = facts.asn.map(|asn| ("asn", asn.to_string().into()));
        country.into_iter().chain(asn).collect()
    }
}
