//! Finding the route of a request.
//!
//! Precedence: exact host, longest wildcard, regex host (in name order), no host; within a host
//! exact path, longest prefix, regex (in name order); within a path the most other matchers. If
//! the other matchers fail, the next candidate is tried, down to the routes without a host.
//!
//! Lookups are hash lookups: one per host label and two per path segment, whatever the number
//! of routes. Only regexes are tried one after the other.

mod paths;

use http::{HeaderMap, Method};
use paths::Paths;
use regex::Regex;
use std::{collections::HashMap, sync::Arc};
use tidegate_config::{HostPattern, Name};

/// What a route needs to be found: its own part of the document and its matchers.
pub(crate) trait Matchers {
    /// Whether everything beside host and path fits.
    fn fits(&self, request: &RequestKey<'_>) -> bool;
    /// How many matchers there are beside host and path: more go first.
    fn specificity(&self) -> usize;
}

/// What of a request decides its route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestKey<'a> {
    pub(crate) listener: &'a Name,
    /// Lower case, without port and trailing dot; empty when the request names none.
    pub(crate) host: &'a str,
    /// Normalised, without query.
    pub(crate) path: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
}

/// All routes, indexed.
pub(crate) struct Table<R> {
    exact: HashMap<Box<str>, Paths<R>>,
    /// By suffix, dot included: `.example.com`.
    wildcard: HashMap<Box<str>, Paths<R>>,
    regex: Vec<(Regex, Paths<R>)>,
    any: Paths<R>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            regex: Vec::new(),
            any: Paths::default(),
        }
    }
}

impl<R: Matchers> Table<R> {
    /// Builds the table from routes in name order. Errors name the pattern; validated
    /// configurations have none.
    pub(crate) fn build<'a>(
        routes: impl IntoIterator<Item = (&'a tidegate_config::Route, Arc<R>)>,
    ) -> Result<Self, regex::Error> {
        let mut table = Self::default();
        let mut regexes: HashMap<String, usize> = HashMap::new();
        for (document, route) in routes {
            for host in &document.hosts {
                let paths = match host {
                    HostPattern::Exact(host) => {
                        table.exact.entry(host.as_str().into()).or_default()
                    }
                    HostPattern::Wildcard(suffix) => {
                        table.wildcard.entry(suffix.as_str().into()).or_default()
                    }
                    HostPattern::Regex(pattern) => {
                        let at = match regexes.get(pattern) {
                            Some(&at) => at,
                            None => {
                                table.regex.push((host_regex(pattern)?, Paths::default()));
                                regexes.insert(pattern.clone(), table.regex.len() - 1);
                                table.regex.len() - 1
                            }
                        };
                        &mut table.regex[at].1
                    }
                };
                paths.insert(&document.path, Arc::clone(&route))?;
            }
            if document.hosts.is_empty() {
                table.any.insert(&document.path, route)?;
            }
        }
        table.all_paths_mut().for_each(Paths::order);
        Ok(table)
    }

    /// The route of a request.
    pub(crate) fn find<'t>(&'t self, request: &RequestKey<'_>) -> Option<&'t Arc<R>> {
        self.hosts(request.host).find_map(|paths| paths.find(request))
    }

    /// Visits every route (one with several hosts several times).
    pub(crate) fn each(&self, mut visit: impl FnMut(&Arc<R>)) {
        let hosts = self.exact.values().chain(self.wildcard.values());
        let hosts = hosts.chain(self.regex.iter().map(|(_, paths)| paths));
        hosts.chain(std::iter::once(&self.any)).for_each(|paths| paths.each(&mut visit));
    }

    fn hosts<'t, 'h>(
        &'t self,
        host: &'h str,
    ) -> impl Iterator<Item = &'t Paths<R>> + use<'t, 'h, R> {
        // Exact tables first; a wildcard needs at least one label before its suffix, and the
        // longest suffix is the one that starts at the leftmost dot.
        let exact = (!self.exact.is_empty()).then(|| self.exact.get(host)).flatten();
        let dots = if self.wildcard.is_empty() { "" } else { host };
        let wildcard = memchr::memchr_iter(b'.', dots.as_bytes())
            .filter(|&at| at > 0)
            .filter_map(|at| self.wildcard.get(&host[at..]));
        let regex = self.regex.iter().filter(|(r, _)| r.is_match(host)).map(|(_, paths)| paths);
        exact.into_iter().chain(wildcard).chain(regex).chain(std::iter::once(&self.any))
    }

    fn all_paths_mut(&mut self) -> impl Iterator<Item = &mut Paths<R>> {
        self.exact
            .values_mut()
            .chain(self.wildcard.values_mut())
            .chain(self.regex.iter_mut().map(|(_, paths)| paths))
            .chain(std::iter::once(&mut self.any))
    }
}

/// Host regexes match the whole host, without regard to case.
fn host_regex(pattern: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$")).case_insensitive(true).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_config::{Action, HeaderOps, PathPattern, Route};

    struct Named {
        name: &'static str,
        methods: Vec<Method>,
    }

    impl Matchers for Named {
        fn fits(&self, request: &RequestKey<'_>) -> bool {
            self.methods.is_empty() || self.methods.contains(request.method)
        }

        fn specificity(&self) -> usize {
            usize::from(!self.methods.is_empty())
        }
    }

    fn route(hosts: &[&str], path: &str) -> Route {
        let hosts = hosts.iter().map(|h| match h.strip_prefix('~') {
            Some(regex) => HostPattern::Regex(regex.into()),
            None => match h.strip_prefix('*') {
                Some(suffix) => HostPattern::Wildcard(suffix.into()),
                None => HostPattern::Exact((*h).into()),
            },
        });
        let path = match path.as_bytes()[0] {
            b'=' => PathPattern::Exact(path[1..].into()),
            b'~' => PathPattern::Regex(path[1..].into()),
            _ => PathPattern::Prefix(path.into()),
        };
        Route {
            hosts: hosts.collect(),
            path,
            methods: vec![],
            headers: Default::default(),
            listeners: vec![],
            action: Action::Respond {
                status: 200,
                body: String::new(),
                content_type: String::new(),
            },
            rate_limits: vec![],
            waf: None,
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
            body_limit: None,
            retry_unsafe: false,
        }
    }

    fn table(routes: &[(&'static str, &[&str], &str, &[Method])]) -> Table<Named> {
        let documents: Vec<_> =
            routes.iter().map(|(_, hosts, path, _)| route(hosts, path)).collect();
        let named = routes
            .iter()
            .map(|&(name, _, _, methods)| Arc::new(Named { name, methods: methods.to_vec() }));
        Table::build(documents.iter().zip(named)).unwrap()
    }

    fn find(table: &Table<Named>, method: &Method, host: &str, path: &str) -> &'static str {
        let listener = "http".parse().unwrap();
        let headers = HeaderMap::new();
        let key = RequestKey { listener: &listener, host, path, method, headers: &headers };
        table.find(&key).map_or("none", |route| route.name)
    }

    #[test]
    fn hosts_exact_then_longest_wildcard_then_regex_then_any() {
        let t = table(&[
            ("any", &[], "/", &[]),
            ("exact", &["a.example.com"], "/", &[]),
            ("long", &["*.b.example.com"], "/", &[]),
            ("regex", &["~[0-9]+\\.example\\.net"], "/", &[]),
            ("short", &["*.example.com"], "/", &[]),
        ]);
        let get = |host| find(&t, &Method::GET, host, "/x");
        assert_eq!(get("a.example.com"), "exact");
        assert_eq!(get("x.b.example.com"), "long");
        assert_eq!(get("y.x.b.example.com"), "long");
        assert_eq!(get("b.example.com"), "short");
        assert_eq!(get("example.com"), "any");
        assert_eq!(get("42.example.net"), "regex");
        assert_eq!(get("x42.example.net"), "any");
        assert_eq!(get(""), "any");
    }

    #[test]
    fn paths_exact_then_longest_prefix_by_segment_then_regex() {
        let t = table(&[
            ("exact", &[], "=/shop", &[]),
            ("prefix", &[], "/shop", &[]),
            ("deep", &[], "/shop/cart", &[]),
            ("slash", &[], "/dir/", &[]),
            ("regex", &[], "~^/v[0-9]/", &[]),
        ]);
        let get = |path| find(&t, &Method::GET, "h", path);
        assert_eq!(get("/shop"), "exact");
        assert_eq!(get("/shop/"), "prefix");
        assert_eq!(get("/shop/x"), "prefix");
        assert_eq!(get("/shopping"), "none");
        assert_eq!(get("/shop/cart"), "deep");
        assert_eq!(get("/shop/cart/1"), "deep");
        assert_eq!(get("/dir"), "none");
        assert_eq!(get("/dir/"), "slash");
        assert_eq!(get("/dir/x"), "slash");
        assert_eq!(get("/v1/x"), "regex");
        assert_eq!(get("/"), "none");
    }

    #[test]
    fn a_prefix_wins_over_a_regex_and_root_matches_all() {
        let t = table(&[("regex", &[], "~.*", &[]), ("root", &[], "/", &[])]);
        assert_eq!(find(&t, &Method::GET, "h", "/anything/at/all"), "root");
    }

    #[test]
    fn failed_matchers_fall_through_to_the_next_candidate() {
        let t = table(&[
            ("any", &[], "/", &[]),
            ("get", &["h"], "/x", &[Method::GET]),
            ("put", &["h"], "=/x/y", &[Method::PUT]),
            ("all", &["h"], "/x", &[]),
        ]);
        assert_eq!(find(&t, &Method::PUT, "h", "/x/y"), "put");
        assert_eq!(find(&t, &Method::GET, "h", "/x/y"), "get");
        assert_eq!(find(&t, &Method::POST, "h", "/x/y"), "all");
        assert_eq!(find(&t, &Method::POST, "h", "/z"), "any");
    }
}
