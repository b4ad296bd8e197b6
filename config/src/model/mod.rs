//! The validated configuration: every value parsed, every name resolvable.

mod acme;
mod action;
mod address_list;
mod client_auth;
mod config;
mod control;
mod dns;
mod dns_provider;
mod geo;
mod header_ops;
mod health;
mod host;
mod limits;
mod listener;
mod log;
mod on_demand;
mod path;
mod rate_limit;
mod route;
mod server;
mod service;
mod tls;
mod upstream;
mod waf;

pub use acme::{Acme, Challenge, ExternalAccount, Issuer, ValidationPorts};
pub use action::Action;
pub use address_list::AddressList;
pub use client_auth::{ClientAuth, ClientAuthMode, ClientField, ClientRule, CrlDepth};
pub use config::Config;
pub use control::{Control, ControlAddress};
pub use dns::Dns;
pub use dns_provider::{
    DnsExec, DnsMethod, DnsProvider, DnsWebhook, Propagation, Rfc2136, TsigAlgorithm,
};
pub use geo::Geo;
pub use header_ops::HeaderOps;
pub use health::{Health, HealthCheck};
pub use host::{HostPattern, InvalidHostPattern, is_local_name};
pub use limits::ListenerLimits;
pub use listener::{Listener, Protocols};
pub use log::{Log, LogFormat, LogLevel, LogTarget};
pub use on_demand::OnDemand;
pub use path::{InvalidPathPattern, PathPattern};
pub use rate_limit::{LimitKey, RateLimit};
pub use route::Route;
pub use server::Server;
pub use service::{Service, Sticky, Version};
pub use tls::{CertificateFiles, Tls, TlsHost, TlsIssuer, TlsPolicy, TlsVersion};
pub use upstream::{
    Balance, Pool, Retries, Upstream, UpstreamIdentity, UpstreamProtocol, UpstreamTimeouts,
    UpstreamTls,
};
pub use waf::{
    Country, RuleIds, Waf, WafClients, WafCrawler, WafCrawlers, WafExclusion, WafMode, WafOnLimit,
    WafOverLimit, WafPatch, WafRules,
};
