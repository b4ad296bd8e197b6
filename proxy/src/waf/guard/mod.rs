//! The native layer: what a policy checks of a request's head before its rules run. Who is
//! asking, for what, with which body; in the order of [`Guard::judge`].

mod clients;
mod finding;

pub(crate) use finding::{Check, Finding};

use super::{
    crawlers::{self, Crawler},
    geo::Geo,
    lists::List,
    paths,
};
use crate::normalise::hides_parent;
use clients::Clients;
use http::{HeaderMap, Method, header::CONTENT_TYPE};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};
use tidegate_config::{Country, Name, Waf, WafCrawlers};
use tidegate_waf::PathTest;

/// The checks of a policy.
pub(crate) struct Guard {
    bypass: Option<Clients>,
    deny: Option<Clients>,
    allow: Option<Clients>,
    methods: Vec<Method>,
    paths: Vec<PathTest>,
    content_types: Vec<String>,
    crawlers: Vec<Arc<Crawler>>,
    pub(crate) geo: Arc<Geo>,
}

/// What is shared by all policies.
pub(crate) struct Shared<'a> {
    pub(crate) lists: &'a BTreeMap<Name, Arc<List>>,
    pub(crate) geo: &'a Arc<Geo>,
}

/// What is known of a request before its body is read.
pub(crate) struct Facts<'a> {
    pub(crate) client: IpAddr,
    /// Where the client is, if a database knows; see [`Guard::place`].
    pub(crate) country: Option<Country>,
    /// The client's autonomous system.
    pub(crate) asn: Option<u32>,
    pub(crate) method: &'a Method,
    /// As routes match it.
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) has_body: bool,
}

/// What is to become of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The policy leaves it alone.
    Bypass,
    /// On to the next stage.
    Pass,
    Refuse(Finding),
}

impl Guard {
    /// Compiles a policy's checks, or says as a fragment what is wrong.
    pub(crate) fn new(document: &Waf, shared: &Shared<'_>) -> Result<Self, regex::Error> {
        let clients = |document: &Option<_>| {
            document.as_ref().map(|document| Clients::new(document, shared.lists))
        };
        Ok(Self {
            bypass: clients(&document.bypass),
            deny: clients(&document.deny),
            allow: clients(&document.allow),
            methods: document.methods.clone(),
            paths: document.paths.iter().map(paths::test).collect::<Result<_, _>>()?,
            content_types: document.content_types.clone(),
            crawlers: match &document.crawlers {
                WafCrawlers::Known => crawlers::known().map(Arc::new).collect(),
                WafCrawlers::These(these) => {
                    these.iter().map(|document| Arc::new(Crawler::new(document))).collect()
                }
            },
            geo: Arc::clone(shared.geo),
        })
    }

    /// Whether it was made with these very lists and databases.
    pub(crate) fn is_of(&self, shared: &Shared<'_>) -> bool {
        let mut lists = self.clients().flat_map(|clients| &clients.lists);
        Arc::ptr_eq(&self.geo, shared.geo)
            && lists.all(|list| {
                shared.lists.get(&list.name).is_some_and(|same| Arc::ptr_eq(list, same))
            })
    }

    fn clients(&self) -> impl Iterator<Item = &Clients> {
        [&self.bypass, &self.deny, &self.allow].into_iter().flatten()
    }

    /// What the databases know of a client, as far as the checks ask for it.
    pub(crate) fn place(&self, client: IpAddr) -> (Option<Country>, Option<u32>) {
        let countries = self.clients().any(|clients| !clients.countries.is_empty());
        let asns = self.clients().any(|clients| !clients.asns.is_empty());
        let country = if countries { self.geo.country(client) } else { None };
        (country, if asns { self.geo.asn(client) } else { None })
    }

    /// Judges a head at `now`, in seconds since 1970; crawlers apart, for which others are asked.
    pub(crate) fn judge(&self, facts: &Facts<'_>, now: u64) -> Decision {
        let finds = |clients: &Option<Clients>| {
            clients.as_ref().and_then(|clients| clients.find(facts, now))
        };
        if finds(&self.bypass).is_some() {
            return Decision::Bypass;
        }
        if let Some(by) = finds(&self.deny) {
            return Decision::Refuse(Finding { check: Check::Deny, by: vec![by] });
        }
        if let Some(allow) = &self.allow
            && allow.find(facts, now).is_none()
        {
            return Decision::Refuse(Finding { check: Check::Allow, by: allow.missed(facts) });
        }
        let refuse = |check, key, value: &[u8]| {
            Decision::Refuse(Finding { check, by: vec![(key, value.to_vec())] })
        };
        if !self.methods.is_empty() && !self.methods.contains(facts.method) {
            return refuse(Check::Method, "method", facts.method.as_str().as_bytes());
        }
        // A `..` that only some servers see leads out of what is allowed.
        if !self.paths.is_empty()
            && (hides_parent(facts.path) || !self.paths.iter().any(|test| test.fits(facts.path)))
        {
            return refuse(Check::Path, "path", facts.path.as_bytes());
        }
        if facts.has_body
            && let Some(kind) = self.unwanted_type(facts.headers)
        {
            return refuse(Check::ContentType, "content_type", kind);
        }
        Decision::Pass
    }

    /// The content type that keeps a body out; of several each must be allowed, since nobody
    /// knows which one the service reads.
    fn unwanted_type<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        if self.content_types.is_empty() {
            return None;
        }
        let mut given = headers.get_all(CONTENT_TYPE).iter().map(|kind| kind.as_bytes()).peekable();
        if given.peek().is_none() {
            return Some(b"");
        }
        given.find(|kind| !self.content_types.iter().any(|allowed| is_type(kind, allowed)))
    }

    /// The crawler that a client says to be, if the policy checks that.
    pub(crate) fn claimed(&self, user_agent: Option<&[u8]>) -> Option<&Arc<Crawler>> {
        let lower = user_agent.filter(|_| !self.crawlers.is_empty())?.to_ascii_lowercase();
        self.crawlers.iter().find(|crawler| crawler.is_claimed_by(&lower))
    }
}

/// `application/json; charset=utf-8` is `application/json` and `application/*`.
fn is_type(given: &[u8], allowed: &str) -> bool {
    let kind = given.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    match allowed.strip_suffix('*') {
        Some(start) => {
            kind.get(..start.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(start.as_bytes()))
        }
        None => kind.eq_ignore_ascii_case(allowed.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn guard(text: &str) -> Guard {
        let text = format!("[waf.w]\nrules = []\n{text}\n[geo]\ncountry = 'x'\nasn = 'x'");
        let config = tidegate_config::parse(&text, "t.toml").unwrap_or_else(|f| panic!("{f}"));
        let geo = Arc::default();
        let shared = Shared { lists: &BTreeMap::new(), geo: &geo };
        Guard::new(&config.config.waf["w"], &shared).unwrap()
    }

    struct Asked {
        client: &'static str,
        country: Option<&'static [u8; 2]>,
        method: Method,
        path: &'static str,
        types: &'static [&'static str],
    }

    impl Default for Asked {
        fn default() -> Self {
            Self { client: "192.0.2.1", country: None, method: Method::GET, path: "/", types: &[] }
        }
    }

    /// The word of the check that decided, if one did.
    fn judge(guard: &Guard, asked: &Asked) -> &'static str {
        let types = asked.types.iter().filter(|kind| **kind != "none");
        let headers = types.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind)));
        let facts = Facts {
            client: asked.client.parse().unwrap(),
            country: asked.country.and_then(|&code| Country::try_new(code)),
            asn: Some(64_500),
            method: &asked.method,
            path: asked.path,
            headers: &headers.collect(),
            has_body: !asked.types.is_empty(),
        };
        match guard.judge(&facts, 0) {
            Decision::Pass => "pass",
            Decision::Bypass => "bypass",
            Decision::Refuse(finding) => finding.check.word(),
        }
    }

    #[test]
    fn bypass_comes_before_deny_and_deny_before_allow() {
        let guard = guard(
            "bypass = { addresses = ['10.0.0.0/8'] }\ndeny = { countries = ['KP'], addresses = ['192.0.2.9'] }\n\
             allow = { countries = ['KP', 'DE'], asns = [64501], addresses = ['192.0.2.0/24'] }\nmethods = ['GET']",
        );
        let case = |client, country, method| Asked { client, country, method, ..Asked::default() };
        for (asked, word) in [
            (case("10.1.2.3", Some(b"KP"), Method::PUT), "bypass"),
            (case("198.51.100.1", Some(b"KP"), Method::PUT), "deny"),
            (case("192.0.2.9", Some(b"DE"), Method::GET), "deny"),
            (case("198.51.100.1", Some(b"FR"), Method::PUT), "allow"),
            (case("198.51.100.1", None, Method::GET), "allow"),
            (case("198.51.100.1", Some(b"DE"), Method::PUT), "method"),
            (case("192.0.2.1", None, Method::GET), "pass"),
        ] {
            assert_eq!(judge(&guard, &asked), word, "{} {:?}", asked.client, asked.country);
        }
    }

    #[test]
    fn paths_match_as_those_of_routes() {
        let guard = guard("paths = ['/api', '=/health', '~^/v[0-9]/']");
        for (path, word) in [
            ("/api", "pass"),
            ("/api/x", "pass"),
            ("/api/a%2fb", "pass"),
            ("/api/..%2Fadmin", "path"),
            ("/api/..%5cadmin", "path"),
            ("/apis", "path"),
            ("/health", "pass"),
            ("/health/", "path"),
            ("/v1/x", "pass"),
            ("/v/x", "path"),
            ("*", "path"),
        ] {
            assert_eq!(judge(&guard, &Asked { path, ..Asked::default() }), word, "{path}");
        }
    }

    #[test]
    fn bodies_need_one_of_the_types() {
        let guard = guard("content_types = ['application/json', 'image/*']");
        for (types, word) in [
            (&[][..], "pass"),
            (&["none"], "content_type"),
            (&["application/json"], "pass"),
            (&["Application/JSON; charset=utf-8"], "pass"),
            (&["image/png"], "pass"),
            (&["application/jsonp"], "content_type"),
            (&["text/plain"], "content_type"),
            (&["application/json", "text/xml"], "content_type"),
        ] {
            assert_eq!(judge(&guard, &Asked { types, ..Asked::default() }), word, "{types:?}");
        }
    }

    #[test]
    fn crawlers_are_known_by_a_part_of_their_name() {
        let guard = guard("crawlers = 'known'");
        let claimed = |text: &str| guard.claimed(Some(text.as_bytes())).map(|c| c.name.as_str());
        assert_eq!(claimed("Mozilla/5.0 (compatible; GoogleBot/2.1)"), Some("Googlebot"));
        assert_eq!(claimed("Mozilla/5.0 (X11; Linux x86_64)"), None);
        assert!(guard.claimed(None).is_none());
    }
}
