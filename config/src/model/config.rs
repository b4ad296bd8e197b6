use super::{
    Acme, AddressList, ClientAuth, Control, Dns, Geo, Listener, Log, RateLimit, Route, Server,
    Service, Upstream, Waf,
};
use crate::{Name, shape::table};
use std::collections::BTreeMap;

table! {
    /// A whole configuration. Built only by validation, so that holders may rely on: every
    /// reference names something that exists, every service has a version with weight, route
    /// precedence is a total order.
    pub struct Config {
        /// The process.
        server: Server = {},
        /// What is logged, and how.
        log: Log = {},
        /// Addresses that accept connections.
        listeners: BTreeMap<Name, Listener> = {},
        /// Which client certificates are accepted, for listeners and hosts to refer to.
        client_auth: BTreeMap<Name, ClientAuth> = {},
        /// Certificates from certificate authorities; needed by listeners whose names are
        /// public.
        acme: Option<Acme>,
        /// Pools of endpoints.
        upstreams: BTreeMap<Name, Upstream> = {},
        /// What routes send to, each in one or more versions.
        services: BTreeMap<Name, Service> = {},
        /// Limits that routes refer to.
        rate_limits: BTreeMap<Name, RateLimit> = {},
        /// Databases of countries and networks.
        geo: Geo = {},
        /// Who answers the proxy's own questions.
        dns: Dns = {},
        /// Addresses kept in files, for WAF policies.
        address_lists: BTreeMap<Name, AddressList> = {},
        /// WAF policies that routes refer to.
        waf: BTreeMap<Name, Waf> = {},
        /// Which requests go where.
        routes: BTreeMap<Name, Route> = {},
        /// The control API and the state directory. Always from the file.
        control: Control = {},
    }
}

impl Config {
    /// The routes that a listener's requests may match, by name.
    pub fn routes_on(&self, listener: &Name) -> impl Iterator<Item = (&Name, &Route)> {
        self.routes.iter().filter(move |(_, route)| {
            route.listeners.is_empty() || route.listeners.contains(listener)
        })
    }
}
