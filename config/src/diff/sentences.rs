//! Changes as sentences. What has a name of its own comes and goes in one sentence; a service's
//! weights are told together; all else is `key old → new`.

use super::{Change, Compare, DiffLine, Effect};
use crate::{Config, HostPattern, Listener, Name, Route, Service, Upstream, Weight, shape::join};
use std::{cmp::Ordering, collections::BTreeSet};

/// Writes the lines for `changes` between `old` and `new`.
pub(super) fn write(old: &Config, new: &Config, changes: Vec<Change>) -> Vec<DiffLine> {
    let mut lines = Vec::new();
    let mut reweighted = BTreeSet::new();
    for change in &changes {
        let path: Vec<&str> = change.path.iter().map(String::as_str).collect();
        let text = match path[..] {
            ["services", service, "versions", _]
            | ["services", service, "versions", _, "weight"] => {
                // All of a service's weights change together, so they are told together.
                reweighted.insert(service.to_owned());
                match path.len() {
                    4 => named(old, new, change, &path),
                    _ => continue,
                }
            }
            ["upstreams", upstream, "endpoints"] => endpoints(old, new, upstream),
            [table, _] if !["server", "log", "control", "acme", "geo", "dns"].contains(&table) => {
                named(old, new, change, &path)
            }
            _ => field(change, &path),
        };
        lines.push(DiffLine { path: join(&path), effect: effect(&path), text });
    }
    lines.extend(reweighted.iter().filter_map(|service| weights(old, new, service)));
    lines
}

/// When a change of this key is noticed, and by what.
fn effect(path: &[&str]) -> Effect {
    match path {
        ["server", "workers" | "rate_limit_keys"] | ["control" | "log", ..] => Effect::Restart,
        ["acme" | "dns", ..] => Effect::Operation,
        _ => Effect::Traffic,
    }
}

/// Something that has a name came or went.
fn named(old: &Config, new: &Config, change: &Change, path: &[&str]) -> String {
    let (config, verb) = if change.old.is_none() { (new, "added") } else { (old, "removed") };
    let what = subject(path);
    let detail = match *path {
        ["listeners", name] => config.listeners.get(name).map(listener),
        ["routes", name] => config.routes.get(name).map(route),
        ["upstreams", name] => config.upstreams.get(name).map(upstream),
        ["services", name] => config.services.get(name).map(service),
        ["rate_limits", name] => config
            .rate_limits
            .get(name)
            .map(|limit| format!("{}, burst {}", limit.rate, limit.burst)),
        ["services", service, "versions", version] => {
            let versions = config.services.get(service).map(|service| &service.versions);
            versions
                .and_then(|versions| versions.get(version))
                .map(|version| version.upstream.to_string())
        }
        _ => None,
    };
    let after = match (path[0], verb) {
        ("listeners", "removed") => "; its streams end at the drain deadline",
        ("routes", "removed") => "; its requests go to the next route that matches, or get 404",
        _ => "",
    };
    format!("{what} is {verb}{}{after}", detail.map(|text| format!(": {text}")).unwrap_or_default())
}

fn listener(listener: &Listener) -> String {
    let protocol = if listener.tls.is_some() { "TLS" } else { "plain text" };
    format!("{}, {protocol}", listener.address)
}

fn route(route: &Route) -> String {
    let hosts: Vec<_> = route.hosts.iter().map(HostPattern::to_string).collect();
    let hosts = if hosts.is_empty() { "every host".to_owned() } else { hosts.join(", ") };
    let others = match route.other_matchers() {
        0 => "",
        _ => " under further conditions",
    };
    format!("{hosts}, path `{}`{others}: {}", route.path, route.action.show())
}

fn upstream(upstream: &Upstream) -> String {
    let endpoints: Vec<_> = upstream.endpoints.iter().map(ToString::to_string).collect();
    endpoints.join(", ")
}

fn service(service: &Service) -> String {
    let shares = service
        .versions
        .keys()
        .map(|version| format!("{version} {}", share(service, version.as_str())));
    shares.collect::<Vec<_>>().join(", ")
}

fn endpoints(old: &Config, new: &Config, name: &str) -> String {
    let of = |config: &Config| -> BTreeSet<_> {
        let upstream = config.upstreams.get(name);
        upstream.into_iter().flat_map(|upstream| upstream.endpoints.clone()).collect()
    };
    let (old, new) = (of(old), of(new));
    let list = |verb: &str, endpoints: Vec<String>| match endpoints.is_empty() {
        true => None,
        false => Some(format!("{verb} {}", endpoints.join(", "))),
    };
    let gained = list("gains", new.difference(&old).map(ToString::to_string).collect());
    let lost = list("loses", old.difference(&new).map(ToString::to_string).collect());
    let parts: Vec<_> = [gained, lost].into_iter().flatten().collect();
    match parts.is_empty() {
        true => format!("upstream `{name}`: the same endpoints in another order"),
        false => format!("upstream `{name}` {}", parts.join(" and ")),
    }
}

/// The shares of a service's versions before and after, if it is there before and after.
fn weights(old: &Config, new: &Config, name: &str) -> Option<DiffLine> {
    let (old, new) = (old.services.get(name)?, new.services.get(name)?);
    let versions: BTreeSet<&Name> = old.versions.keys().chain(new.versions.keys()).collect();
    let shares: Vec<_> = versions
        .into_iter()
        .map(|version| (version, share(old, version.as_str()), share(new, version.as_str())))
        .filter(|(_, old, new)| old != new)
        .map(|(version, old, new)| format!("{version} {old} → {new}"))
        .collect();
    let shares = match shares.is_empty() {
        true => "the same shares in other numbers".to_owned(),
        false => shares.join(", "),
    };
    Some(DiffLine {
        path: format!("services.{name}.versions"),
        effect: Effect::Traffic,
        text: format!("service `{name}`: {shares} (weights set through the API or a release win)"),
    })
}

/// A version's share of its service's requests.
fn share(service: &Service, version: &str) -> String {
    let weight = |weight: Weight| u64::from(weight.hundredths());
    let total: u64 = service.versions.values().map(|version| weight(version.weight)).sum();
    let part = service.versions.get(version).map_or(0, |version| weight(version.weight));
    // Rounded to hundredths of a percent, without the zeros at the end.
    let rounded = (part * 10_000 + total / 2).checked_div(total).unwrap_or_default();
    let (whole, part) = (rounded / 100, rounded % 100);
    let part = format!(".{part:02}");
    format!("{whole}{}%", part.trim_end_matches('0').trim_end_matches('.'))
}

/// A value became another.
fn field(change: &Change, path: &[&str]) -> String {
    let (subject_path, keys) = path.split_at(subject_length(path));
    let key = keys.join(".");
    let change_text = match (&change.old, &change.new) {
        (Some(old), Some(new)) if old == new => "changed".to_owned(),
        (old, new) => {
            let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
            format!("{} → {}", show(old), show(new))
        }
    };
    let key = if key.is_empty() { String::new() } else { format!("`{key}` ") };
    format!("{}: {key}{change_text}{}", subject(subject_path), tightness(change, path))
}

/// Whether a bound now admits more or less.
fn tightness(change: &Change, path: &[&str]) -> &'static str {
    let bound = matches!(
        path,
        ["listeners", _, "limits", _]
            | ["rate_limits", _, "rate" | "burst"]
            | ["routes", _, "body_limit"]
            | ["server", "connections"]
    );
    let version = matches!(path, ["listeners", _, "tls", "min_version"]);
    let policy = matches!(path, ["listeners", _, "tls", "policy"]);
    let limited = matches!(path, ["routes", _, "rate_limits"]);
    match (change.order, change.old.as_deref(), change.new.as_deref()) {
        (_, Some("none"), _) if limited => " (tightened)",
        (_, _, Some("none")) if limited => " (loosened)",
        (Some(Ordering::Greater), ..) if bound => " (loosened)",
        (Some(Ordering::Less), ..) if bound => " (tightened)",
        (_, None, Some(_)) if bound => " (tightened)",
        (_, Some(_), None) if bound => " (loosened)",
        (_, Some(old), Some(new)) if version && old < new => " (tightened)",
        (_, Some(old), Some(new)) if version && old > new => " (loosened)",
        (_, _, Some("modern")) if policy => " (tightened)",
        (_, Some("modern"), _) if policy => " (loosened)",
        _ => "",
    }
}

/// How many keys of a path name the thing that changed.
fn subject_length(path: &[&str]) -> usize {
    match path {
        ["services", _, "versions", _, ..] => 4,
        [
            "listeners" | "client_auth" | "upstreams" | "services" | "rate_limits"
            | "address_lists" | "waf" | "routes",
            _,
            ..,
        ] => 2,
        _ => 1.min(path.len()),
    }
}

fn subject(path: &[&str]) -> String {
    match path {
        ["services", service, "versions", version] => {
            format!("version `{version}` of service `{service}`")
        }
        ["listeners", name] => format!("listener `{name}`"),
        ["client_auth", name] => format!("client authentication `{name}`"),
        ["upstreams", name] => format!("upstream `{name}`"),
        ["services", name] => format!("service `{name}`"),
        ["rate_limits", name] => format!("rate limit `{name}`"),
        ["address_lists", name] => format!("address list `{name}`"),
        ["waf", name] => format!("WAF policy `{name}`"),
        ["routes", name] => format!("route `{name}`"),
        other => other.join("."),
    }
}
