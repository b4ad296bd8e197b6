//! Between any two routes that match the same request one has precedence.
//!
//! Host and path decide first, then the number of other matchers; routes equal in all three
//! must not be able to match the same request.

use super::Check;
use crate::{HostPattern, Name, PathPattern, Route};
use std::collections::{BTreeMap, HashMap};

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    if !config.routes.is_empty() && !check.has(&["listeners"]) {
        check
            .fault(&["routes"], "no request can reach a route: there is no listener")
            .help("add one, such as `[listeners.http]` with `address = \"0.0.0.0:80\"`");
    }
    let mut groups: HashMap<Rank<'_>, Group<'_>> = HashMap::new();
    for candidate in &config.routes {
        let (_, route) = candidate;
        let hosts = route.hosts.iter().map(Some);
        let any_host = route.hosts.is_empty().then_some(None);
        for host in hosts.chain(any_host) {
            let rank = Rank { host, path: &route.path, others: route.other_matchers() };
            groups.entry(rank).or_default().add(candidate);
        }
    }
    let mut ties: Vec<_> = groups
        .iter()
        .flat_map(|(rank, group)| group.ties().into_iter().map(|(one, other)| (one, other, *rank)))
        .collect();
    // One fault for a pair, however many hosts they share.
    ties.sort();
    ties.dedup_by_key(|(one, other, _)| (*one, *other));
    for (one, other, rank) in ties {
        let host = rank.host.map_or("any host".to_owned(), |host| format!("host `{host}`"));
        let path = rank.path;
        let message = format!("ties with route `{other}`: both match {host}, path `{path}`");
        check
            .fault(&["routes", one.as_str()], message)
            .help("tell them apart by `path`, `methods`, `headers` or `listeners`, or remove one");
    }
}

type Candidate<'a> = (&'a Name, &'a Route);

/// What precedence looks at; routes of different ranks never tie.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Rank<'a> {
    host: Option<&'a HostPattern>,
    path: &'a PathPattern,
    others: usize,
}

/// Routes of one rank, by the names of the headers they ask for and then by their values. Two
/// that ask for the same headers with different values exclude each other, so that only the
/// few that are left need comparing: one path split by a header's value stays cheap.
#[derive(Default)]
struct Group<'a>(BTreeMap<Vec<&'a str>, BTreeMap<Vec<&'a str>, Vec<Candidate<'a>>>>);

impl<'a> Group<'a> {
    fn add(&mut self, (name, route): (&'a Name, &'a Route)) {
        let names = route.headers.keys().map(String::as_str).collect();
        let values = route.headers.values().map(String::as_str).collect();
        let routes = self.0.entry(names).or_default().entry(values).or_default();
        routes.push((name, route));
    }

    /// For each route that ties the first route it ties with, the later name first.
    fn ties(&self) -> Vec<(&'a Name, &'a Name)> {
        let mut ties = Vec::new();
        let mut before: Vec<Candidate<'a>> = Vec::new();
        for by_value in self.0.values() {
            for alike in by_value.values() {
                for (index, candidate) in alike.iter().enumerate() {
                    let rivals = alike[..index].iter().chain(&before);
                    ties.extend(rivals.copied().find_map(|rival| tie(*candidate, rival)));
                }
            }
            before.extend(by_value.values().flatten());
        }
        ties
    }
}

/// The names of two routes of the same rank, the later first, if a request can match both.
fn tie<'a>((one, a): Candidate<'a>, (other, b): Candidate<'a>) -> Option<(&'a Name, &'a Name)> {
    let either = |a: bool, b: bool, common: bool| a || b || common;
    let listeners = either(
        a.listeners.is_empty(),
        b.listeners.is_empty(),
        a.listeners.iter().any(|name| b.listeners.contains(name)),
    );
    let methods = either(
        a.methods.is_empty(),
        b.methods.is_empty(),
        a.methods.iter().any(|method| b.methods.contains(method)),
    );
    let headers = a
        .headers
        .iter()
        .all(|(name, value)| b.headers.get(name).is_none_or(|other| other == value));
    (listeners && methods && headers).then(|| (one.max(other), one.min(other)))
}
