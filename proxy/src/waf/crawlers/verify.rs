//! Reverse and forward lookup of one address.

use super::{Crawler, table::Lookup};
use std::net::IpAddr;
use tidegate_dns::Resolver;

/// Names of an address that are followed; a crawler's has one.
const NAMES: usize = 4;

pub(super) async fn verify(resolver: &Resolver, address: IpAddr, crawler: &Crawler) -> Lookup {
    let Ok(names) = resolver.names_of(address).await else { return Lookup::Failed };
    let mut outcome = Lookup::Refuted;
    let ours = names.iter().filter(|name| is_in(name, &crawler.domains));
    for name in ours.take(NAMES) {
        match resolver.leads_to(name, address).await {
            Ok(true) => return Lookup::Verified,
            Ok(false) => {}
            Err(_) => outcome = Lookup::Failed,
        }
    }
    outcome
}

/// Whether a name is one of the domains or below one.
fn is_in(name: &str, domains: &[String]) -> bool {
    domains.iter().any(|domain| {
        let rest = name.strip_suffix(domain.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_ends_at_a_label() {
        let domains = ["googlebot.com".to_owned()];
        assert!(is_in("crawl-1.googlebot.com", &domains));
        assert!(is_in("googlebot.com", &domains));
        assert!(!is_in("evilgooglebot.com", &domains));
        assert!(!is_in("googlebot.com.evil.test", &domains));
    }
}
