//! Which names need a certificate of ours, and from whom: a pure reading of the configuration.

use crate::{names, table::Origin};
use std::collections::{BTreeMap, BTreeSet};
use std::{net::SocketAddr, sync::Arc};
use tidegate_config::{Acme, Config, HostPattern, Name, Tls};

/// What the configuration asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Names to hold certificates for, lower case, each once per origin.
    pub(crate) names: BTreeSet<(Origin, String)>,
    /// Names that cannot be had, and why.
    pub(crate) impossible: BTreeMap<String, &'static str>,
    /// How to order.
    pub(crate) acme: Option<Arc<Acme>>,
    /// The resolvers of `[dns]`.
    pub(crate) nameservers: Vec<SocketAddr>,
}

const WILDCARD: &str = "a wildcard is proved by DNS only, and no provider is for this one: declare \
     who changes its zone under `[acme.dns.NAME]`, name the hosts (`names` in `tls`), give a \
     certificate file that covers them, or set `issuer = \"internal\"`";
const REGEX: &str = "no certificate can be had for a pattern: name its hosts in `names` of `tls`, \
     or give a certificate file that covers them";
const NOT_A_NAME: &str = "no certificate authority issues for this: expected a host name such as \
     `shop.example.com`";
const NO_ACME: &str = "there is no `[acme]` section to order it with: add one (with `email`), give \
     a certificate file, or set `issuer = \"internal\"`";

/// Reads `config`. `covered` tells whether a listener's files answer for a name.
pub(crate) fn wanted(config: &Config, covered: impl Fn(&Name, &str) -> bool) -> Wanted {
    let mut wanted = Wanted {
        acme: config.acme.clone().map(Arc::new),
        nameservers: config.dns.servers.clone(),
        ..Wanted::default()
    };
    for (listener_name, listener) in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        for pattern in patterns(config, listener_name, tls) {
            let demanded = pattern.is_wild() && on_demand(tls, config.acme.as_ref(), &pattern.text);
            if !covered(listener_name, &pattern.text) && !demanded {
                wanted.add(pattern, tls);
            }
        }
    }
    // Possible for one listener is possible.
    let held: BTreeSet<String> = wanted.names.iter().map(|(_, name)| name.clone()).collect();
    wanted.impossible.retain(|name, _| !held.contains(name));
    wanted
}

/// Whether the names that a pattern matches are had on demand, so that it needs no certificate of
/// its own. One that can be had nonetheless, by DNS, is, unless `names` of `on_demand` has it too.
fn on_demand(tls: &Tls, acme: Option<&Acme>, pattern: &str) -> bool {
    let Some(on_demand) = &tls.on_demand else { return false };
    let provided = || acme.is_some_and(|acme| acme.dns_provider(pattern).is_some());
    let by_word = pattern.starts_with('~') || !names::is_local(pattern) && !provided();
    on_demand.lists(pattern) || on_demand.ask.is_some() && by_word
}

struct Pattern {
    text: String,
    is_regex: bool,
}

impl Pattern {
    fn plain(text: &str) -> Self {
        Self { text: text.to_ascii_lowercase(), is_regex: false }
    }

    /// Whether it stands for more than one name.
    fn is_wild(&self) -> bool {
        self.is_regex || self.text.starts_with('*')
    }
}

impl Wanted {
    fn add(&mut self, pattern: Pattern, tls: &Tls) {
        let origin = Origin::of(&pattern.text, tls.issuer);
        let why_not = if pattern.is_regex {
            Some(REGEX)
        } else if origin == Origin::Internal {
            None
        } else if !names::is_public(pattern.text.strip_prefix("*.").unwrap_or(&pattern.text)) {
            Some(NOT_A_NAME)
        } else {
            match &self.acme {
                None => Some(NO_ACME),
                Some(acme) => {
                    let proved = !pattern.text.starts_with('*')
                        || acme.dns_provider(&pattern.text).is_some();
                    (!proved).then_some(WILDCARD)
                }
            }
        };
        match why_not {
            Some(reason) => {
                self.impossible.insert(pattern.text, reason);
            }
            None => {
                self.names.insert((origin, pattern.text));
            }
        }
    }
}

/// Everything `listener` may be asked for by name.
fn patterns(config: &Config, name: &Name, tls: &Tls) -> Vec<Pattern> {
    let hosts = config
        .routes
        .values()
        .filter(|route| route.listeners.is_empty() || route.listeners.contains(name))
        .flat_map(|route| &route.hosts)
        .map(|host| match host {
            HostPattern::Exact(host) => Pattern::plain(host),
            HostPattern::Wildcard(suffix) => Pattern::plain(&format!("*{suffix}")),
            HostPattern::Regex(regex) => Pattern { text: format!("~{regex}"), is_regex: true },
        });
    hosts.chain(tls.names.iter().chain(&tls.default).map(|name| Pattern::plain(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [acme]
        [listeners.http]
        address = "127.0.0.1:1"
        [listeners.public]
        address = "127.0.0.1:2"
        tls = { names = ["extra.example.com"], default = "covered.example.com" }
        [listeners.inside]
        address = "127.0.0.1:3"
        tls = { issuer = "internal" }
        [upstreams.u]
        endpoints = ["127.0.0.1:4"]
        [services.s.versions]
        v = { upstream = "u", weight = 1 }
        [routes.everywhere]
        hosts = ["shop.example.com", "db.internal"]
        service = "s"
        [routes.covered]
        hosts = ["covered.example.com", "*.example.com"]
        listeners = ["public"]
        service = "s"
        [routes.plain]
        host = "plain.example.com"
        listeners = ["http"]
        service = "s"
        [routes.inside]
        hosts = ["*.corp.example.com"]
        listeners = ["inside"]
        service = "s"
    "#;

    #[test]
    fn names_come_from_routes_listeners_and_defaults_less_what_files_cover() {
        let config = tidegate_config::parse(CONFIG, "test.toml").unwrap().config;
        let wanted = wanted(&config, |listener, host| {
            listener.as_str() == "public" && host == "covered.example.com"
        });
        let of = |origin| -> Vec<&str> {
            let names = wanted.names.iter().filter(|(of, _)| *of == origin);
            names.map(|(_, name)| name.as_str()).collect()
        };
        assert_eq!(of(Origin::Acme), ["extra.example.com", "shop.example.com"]);
        assert_eq!(of(Origin::Internal), ["*.corp.example.com", "db.internal", "shop.example.com"]);
        assert_eq!(wanted.impossible.keys().collect::<Vec<_>>(), ["*.example.com"]);
    }

    #[test]
    fn patterns_whose_names_are_had_on_demand_need_no_certificate() {
        let of = |on_demand: &str| {
            let text = format!(
                "[acme.dns.zone]\ndomains = [\"zone.example\"]\nexec = {{ command = \"/bin/true\" }}\n\
                 [listeners.l]\naddress = \"127.0.0.1:1\"\ntls = {{ {on_demand} }}\n\
                 [routes.r]\nhosts = [\"*.customers.example\", \"*.zone.example\", \"~^a\", \
                 \"www.customers.example\"]\nrespond = {{}}\n"
            );
            let config = tidegate_config::parse(&text, "test.toml").unwrap().config;
            let wanted = wanted(&config, |_, _| false);
            let names: Vec<_> = wanted.names.into_iter().map(|(_, name)| name).collect();
            let impossible: Vec<_> = wanted.impossible.into_keys().collect();
            (names.join(" "), impossible.join(" "))
        };
        let told = |names: &str, impossible: &str| (names.to_owned(), impossible.to_owned());
        let both = "*.zone.example www.customers.example";
        assert_eq!(of(""), told(both, "*.customers.example ~^a"));
        assert_eq!(of("on_demand = { ask = \"http://[::1]/\" }"), told(both, ""));
        assert_eq!(
            of("on_demand = { names = [\"*.customers.example\", \"*.zone.example\"] }"),
            told("www.customers.example", "~^a")
        );
    }
}
