//! What is declared is used. Only a warning: a release often begins by adding an upstream.

use super::Check;
use crate::{Action, Name};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    let routes = config.routes.values();
    let services = routes.clone().filter_map(|route| match &route.action {
        Action::Service(name) => Some(name),
        _ => None,
    });
    warn(check, "service", "services", &config.services, services.collect());
    let limits = routes.flat_map(|route| &route.rate_limits);
    warn(check, "rate limit", "rate_limits", &config.rate_limits, limits.collect());
    let policies = config.routes.values().filter_map(|route| route.waf.as_ref());
    warn(check, "WAF policy", "waf", &config.waf, policies.collect());
    let clients =
        config.waf.values().flat_map(|policy| [&policy.bypass, &policy.deny, &policy.allow]);
    let lists = clients.flatten().flat_map(|clients| &clients.lists);
    warn(check, "address list", "address_lists", &config.address_lists, lists.collect());
    let tls = config.listeners.values().filter_map(|listener| listener.tls.as_ref());
    let asked = tls.flat_map(|tls| {
        tls.client_auth.iter().chain(tls.hosts.iter().filter_map(|host| host.client_auth.as_ref()))
    });
    let kind = "client authentication";
    warn(check, kind, "client_auth", &config.client_auth, asked.collect());
    let versions = config.services.values().flat_map(|service| service.versions.values());
    let upstreams = versions.map(|version| &version.upstream);
    warn(check, "upstream", "upstreams", &config.upstreams, upstreams.collect());
    if !config.listeners.is_empty()
        && config.routes.is_empty()
        && config.listeners.values().any(|listener| listener.redirect_https.is_none())
    {
        check.warn(&["listeners"], "every request is answered 404: there are no routes");
    }
}

fn warn<T>(
    check: &mut Check<'_>,
    kind: &str,
    table: &str,
    declared: &BTreeMap<Name, T>,
    used: BTreeSet<&Name>,
) {
    for name in declared.keys().filter(|name| !used.contains(name)) {
        check.warn(&[table, name.as_str()], format!("nothing uses this {kind}"));
    }
}
