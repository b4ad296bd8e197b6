use super::{
    Action, HeaderOps, HostPattern, PathPattern, header_ops::Headers, service::header_name,
};
use crate::{
    ByteSize, Name,
    shape::{
        Catalogue, Field, Flat, Key, Misfit, Reader, Shape, TextShape, Written, mapped, optional,
        reference, set, size, table, text,
    },
};
use http::{Method, header};
use serde_json::Value as Json;
use std::collections::BTreeMap;

table! {
    /// `[routes.NAME]`: which requests go where. Precedence: exact host, longest wildcard,
    /// regex host, none; then exact path, longest prefix, regex in name order; then the most
    /// other matchers. A tie is a fault.
    pub struct Route {
        /// Empty: every host.
        hosts: Vec<HostPattern> as Hosts,
        /// A prefix by segment, `=` and an exact path, or `~` and a regular expression. Default `/`.
        path: PathPattern = "/",
        /// Empty: every method.
        methods: Vec<Method> = [] as set(method()),
        /// Headers a request must carry with exactly this value.
        headers: BTreeMap<String, String> = {} as mapped(
            Headers { name: header_name(), value: String::shape() },
            |headers| headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        ),
        /// Listener names; empty: all.
        listeners: Vec<Name> = [] as set(reference("listener", "listeners")),
        /// What it does.
        action: Action as Flat::<Action>::new(),
        /// Names of rate limits, applied in order.
        rate_limits: Vec<Name> = [] as set(reference("rate limit", "rate_limits")),
        /// The WAF policy its requests have to pass.
        waf: Option<Name> as optional(reference("WAF policy", "waf")),
        /// Changes to the request's headers on its way to the service.
        request_headers: HeaderOps = {},
        /// Changes to the response's headers on its way to the client.
        response_headers: HeaderOps = {},
        /// Largest request body; 413 above. Default none.
        body_limit: Option<ByteSize> as optional(size("0B", "1024GiB")),
        /// POST and PATCH may be retried too. Default false.
        retry_unsafe: bool = false,
    }
    check = check;
}

fn check(route: &Route, reader: &mut Reader<'_, '_, '_>) {
    let ops = &route.request_headers;
    let added = ops.add.iter().map(|(name, _)| name);
    if added.chain(&ops.remove).any(|name| *name == header::HOST) {
        reader
            .fault_at(Some("request_headers"), "a request has exactly one `host`")
            .help("use `set` to change it");
    }
    let ops = &route.response_headers;
    let touched = ops.set.iter().chain(&ops.add).map(|(name, _)| name);
    if touched.chain(&ops.remove).any(|name| *name == header::HOST) {
        reader.fault_at(Some("response_headers"), "a response has no `host`");
    }
}

/// `host = ".."` or `hosts = [..]`.
struct Hosts;

impl Hosts {
    const HOST: &'static str = "host";
    const HOSTS: &'static str = "hosts";

    fn several() -> impl Shape<Value = Vec<HostPattern>> {
        set(HostPattern::shape()).some()
    }
}

impl Field for Hosts {
    type Value = Vec<HostPattern>;

    fn keys(
        &self,
        catalogue: &mut Catalogue,
        _: &'static str,
        _: &[&str],
        _: Option<Json>,
        keys: &mut Vec<Key>,
    ) {
        let host = "The host matched: a name, `*.` and a domain (one label or more), or `~` and \
                    a regular expression. Default every host.";
        let hosts = "Several hosts; in place of `host`.";
        keys.extend([
            Key::new(catalogue, Self::HOST, host.to_owned(), None, &optional(HostPattern::shape())),
            Key::new(catalogue, Self::HOSTS, hosts.to_owned(), None, &optional(Self::several())),
        ]);
    }

    fn take(
        &self,
        reader: &mut Reader<'_, '_, '_>,
        _: &'static str,
        _: Option<Json>,
    ) -> Option<Self::Value> {
        match reader.present(&[Self::HOST, Self::HOSTS])[..] {
            [] => Some(Vec::new()),
            [Self::HOST] => {
                reader.field(Self::HOST, None, &HostPattern::shape()).map(|host| vec![host])
            }
            [Self::HOSTS] => reader.field(Self::HOSTS, None, &Self::several()),
            _ => {
                reader
                    .fault_at(Some(Self::HOST), "both `host` and `hosts` are given")
                    .help("list every host in `hosts`");
                None
            }
        }
    }
}

/// A method as it is written, in capitals.
pub(super) fn method() -> TextShape<Method> {
    text("a method such as `GET`", |text| {
        let method = text.parse::<Method>().map_err(|_| Misfit::form())?;
        let upper = text.to_ascii_uppercase();
        // Methods are case-sensitive (RFC 9110 section 9.1); nobody means `get`.
        match upper == text {
            true => Ok(method),
            false => Err(Misfit::form().help(format!("did you mean `{upper}`?"))),
        }
    })
}

impl Route {
    /// How many conditions a request must meet beside host and path: the last step of
    /// precedence.
    pub fn other_matchers(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len()
    }
}
