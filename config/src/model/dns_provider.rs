use super::host::no_spaces;
use crate::{
    Name, Secret,
    shape::{
        Catalogue, Flat, Key, Misfit, Reader, Table, TextShape, Written, defaults, duration, list,
        named, optional, prose, set, table, text, words,
    },
};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

table! {
    /// `[acme.dns.NAME]`: who puts the TXT records of DNS-01 (RFC 8555 section 8.4) into a zone:
    /// exactly one of `rfc2136`, `webhook` and `exec`. Aliases (CNAME) of `_acme-challenge` names
    /// are followed: the record is put where they lead.
    pub struct DnsProvider {
        /// It is for these domains and all names below them; of several providers the one with the
        /// longest domain counts. Default: for every name that no other provider is for.
        domains: Vec<String> = [] as set(domain()),
        /// How it changes the zone.
        method: DnsMethod as Flat::<DnsMethod>::new(),
        /// How long others may keep the record. Default `60s`, 1 s to 24 h.
        ttl: Duration = "60s" as duration("1s", "24h"),
        /// What is waited for before the authority is asked to look.
        propagation: Propagation = {},
    }
}

/// How a provider changes a zone.
#[derive(Clone, Debug, PartialEq)]
pub enum DnsMethod {
    /// By messages to a name server.
    Rfc2136(Rfc2136),
    /// By requests to a URL.
    Webhook(DnsWebhook),
    /// By a program.
    Exec(DnsExec),
}

impl DnsMethod {
    /// Everything about it that is not shown.
    pub fn secrets(&self) -> Vec<&Secret> {
        match self {
            Self::Rfc2136(update) => vec![&update.secret],
            Self::Webhook(hook) => std::iter::once(&hook.url).chain(&hook.secret).collect(),
            Self::Exec(exec) => exec.environment.values().collect(),
        }
    }
}

impl Table for DnsMethod {
    fn keys(catalogue: &mut Catalogue, keys: &mut Vec<Key>) {
        let rfc2136 = prose(&["Changes the zone by signed updates (RFC 2136, RFC 8945)."]);
        let webhook = prose(&["Asks a service of yours, over HTTP, to change the zone."]);
        let exec = prose(&["Runs a program that changes the zone."]);
        keys.extend([
            Key::new(catalogue, "rfc2136", rfc2136, None, &optional(Rfc2136::shape())),
            Key::new(catalogue, "webhook", webhook, None, &optional(DnsWebhook::shape())),
            Key::new(catalogue, "exec", exec, None, &optional(DnsExec::shape())),
        ]);
    }

    fn read(reader: &mut Reader<'_, '_, '_>) -> Option<Self> {
        match reader.one_of(&["rfc2136", "webhook", "exec"])? {
            "rfc2136" => reader.field("rfc2136", None, &Rfc2136::shape()).map(Self::Rfc2136),
            "webhook" => reader.field("webhook", None, &DnsWebhook::shape()).map(Self::Webhook),
            _ => reader.field("exec", None, &DnsExec::shape()).map(Self::Exec),
        }
    }
}

table! {
    /// `rfc2136 = { server = "10.0.0.53:53", key = "edge", secret = { file = ".." } }`: updates of
    /// a zone (RFC 2136), sent over TCP and signed (TSIG, RFC 8945). Each adds or removes exactly
    /// one record.
    pub struct Rfc2136 {
        /// The zone's primary server.
        server: SocketAddr,
        /// The key's name, as the server knows it.
        key: String as key_name(),
        /// The key's algorithm: `hmac-sha256` (default), `hmac-sha384` or `hmac-sha512`.
        algorithm: TsigAlgorithm = "hmac-sha256",
        /// The key's secret in base64, as `tsig-keygen` writes it.
        secret: Secret as tsig_secret(),
        /// The zone. Default: the server is asked.
        zone: Option<String> as optional(domain()),
    }
}

words! {
    /// A keyed hash (RFC 8945 section 6).
    pub enum TsigAlgorithm: "TSIG algorithm" {
        /// HMAC with SHA-256.
        HmacSha256 = "hmac-sha256",
        /// HMAC with SHA-384.
        HmacSha384 = "hmac-sha384",
        /// HMAC with SHA-512.
        HmacSha512 = "hmac-sha512",
    }
}

table! {
    /// `webhook = { url = "https://dns.corp.example/acme" }`: a POST of JSON with `action`
    /// (`present` or `withdraw`), `fqdn`, `value`, `ttl` in seconds and `name`, the name that is
    /// proved. Done once it is answered 2xx; redirects are not followed.
    pub struct DnsWebhook {
        /// An https URL, or an http one on this machine or in a trusted network.
        url: Secret as url(),
        /// Signs the body: `tidegate-signature: t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of
        /// `SECONDS.BODY`.
        secret: Option<Secret>,
        /// PEM file of roots to trust for https, instead of the system's.
        ca: Option<PathBuf>,
        /// Of the whole exchange. Default `30s`, 1 s to 10 min.
        timeout: Duration = "30s" as duration("1s", "10m"),
    }
}

table! {
    /// `exec = { command = "/usr/local/bin/dns-hook" }`: a program, run without a shell, with
    /// `TIDEGATE_ACTION` (`present` or `withdraw`), `TIDEGATE_FQDN`, `TIDEGATE_VALUE`,
    /// `TIDEGATE_TTL` in seconds, `TIDEGATE_NAME` (the name that is proved) and `PATH` in its
    /// environment and nothing else of ours. Done once it ends with status 0.
    pub struct DnsExec {
        /// The program's file.
        command: PathBuf,
        /// Its arguments.
        arguments: Vec<String> = [] as list(String::shape()),
        /// Further variables of its environment, such as an API token. Their values are never shown.
        environment: BTreeMap<Name, Secret> = {} as named(Secret::shape()),
        /// It is killed, with what it started, when it takes longer. Default `30s`, 1 s to 10 min.
        timeout: Duration = "30s" as duration("1s", "10m"),
    }
}

table! {
    /// When a record counts as published: once every name server of the zone shows it, except
    /// those that are silent for ten seconds while others answer. No resolver is asked for it, as
    /// that would remember its absence.
    pub struct Propagation {
        /// `false`: the authority is asked to look as soon as the provider is done. Default true.
        check: bool = true,
        /// These are asked instead of the name servers that the zone names.
        servers: Vec<SocketAddr> = [] as set(SocketAddr::shape()),
        /// Between two looks. Default `2s`, 100 ms to 1 min.
        interval: Duration = "2s" as duration("100ms", "1m"),
        /// The challenge fails when a server lacks the record for so long. Default `2m`, 1 s to 1 h.
        timeout: Duration = "2m" as duration("1s", "1h"),
    }
}

defaults!(Propagation);

impl DnsProvider {
    /// How many labels of `name` (lower case, without `*.`) the provider's longest domain has;
    /// `None` if it is not for the name, 0 if it is for every name.
    fn closeness(&self, name: &str) -> Option<usize> {
        let covers = |domain: &&String| {
            let rest = name.strip_suffix(domain.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let longest = self.domains.iter().filter(covers).map(|domain| domain.split('.').count());
        longest.max().or(self.domains.is_empty().then_some(0))
    }
}

/// The provider for `name`, a host name or a wildcard in lower case, among those of `[acme]`.
pub(super) fn provider_for<'a>(
    providers: &'a BTreeMap<Name, DnsProvider>,
    name: &str,
) -> Option<(&'a Name, &'a DnsProvider)> {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let close = |(_, provider): &(&Name, &DnsProvider)| provider.closeness(name);
    providers.iter().filter(|entry| close(entry).is_some()).max_by_key(close)
}

/// Two providers of which it would be chance which one is asked.
pub(super) fn rivals(providers: &BTreeMap<Name, DnsProvider>) -> Option<(&Name, &Name)> {
    let mut seen: BTreeMap<Option<&str>, &Name> = BTreeMap::new();
    for (name, provider) in providers {
        let domains = provider.domains.iter().map(|domain| Some(domain.as_str()));
        let all = provider.domains.is_empty().then_some(None);
        for domain in domains.chain(all) {
            if let Some(other) = seen.insert(domain, name) {
                return Some((other, name));
            }
        }
    }
    None
}

/// A domain, in lower case and without a dot at its end from here on.
fn domain() -> TextShape<String> {
    text("a domain such as `example.com`", |text| {
        let bare = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match is_domain(&bare) {
            true => Ok(bare),
            false if bare.starts_with("*.") => {
                Err(Misfit::form().help("names below a domain are part of it: leave out `*.`"))
            }
            false => Err(Misfit::form()),
        }
    })
}

fn key_name() -> TextShape<String> {
    text("the name of a key, such as `edge` or `edge.example.com`", |text| {
        let bare = text.strip_suffix('.').unwrap_or(text);
        if is_domain(bare) { Ok(bare.to_owned()) } else { Err(Misfit::form()) }
    })
}

fn is_domain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
    text.len() <= 253 && text.split('.').all(label)
}

fn tsig_secret() -> TextShape<Secret> {
    text("a secret in base64", |text| {
        let text = text.trim();
        let digits = text.trim_end_matches('=');
        let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
        let whole = text.len() % 4 == 0 && text.len() - digits.len() <= 2;
        match !digits.is_empty() && whole && digits.bytes().all(digit) {
            true => Ok(Secret::new(text)),
            false => Err(Misfit::form()),
        }
    })
    .secret()
}

fn url() -> TextShape<Secret> {
    text("an http or https URL", |text| {
        let uri = text.parse::<http::Uri>().map_err(|_| Misfit::form())?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(Misfit::form().help("use `secret` in place of a user and a password"));
        }
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => {
                no_spaces(text).map(Secret::new)
            }
            _ => Err(Misfit::form()),
        }
    })
    // A token may stand in its path or query.
    .secret()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(domains: &[&str]) -> DnsProvider {
        let method = DnsMethod::Exec(DnsExec {
            command: "/bin/true".into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            timeout: Duration::from_secs(1),
        });
        let domains = domains.iter().map(|domain| domain.to_string()).collect();
        let (ttl, propagation) = (Duration::from_secs(60), Propagation::default());
        DnsProvider { domains, method, ttl, propagation }
    }

    #[test]
    fn the_longest_domain_counts() {
        let named = |name: &str| name.parse::<Name>().unwrap();
        let mut providers = BTreeMap::from([
            (named("all"), provider(&[])),
            (named("com"), provider(&["example.com", "example.net"])),
            (named("shop"), provider(&["shop.example.com"])),
        ]);
        let of = |providers: &BTreeMap<Name, DnsProvider>, name: &str| {
            provider_for(providers, name).map(|(name, _)| name.to_string())
        };
        for (name, wanted) in [
            ("*.shop.example.com", "shop"),
            ("shop.example.com", "shop"),
            ("workshop.example.com", "com"),
            ("*.example.net", "com"),
            ("badexample.com", "all"),
            ("*.example.org", "all"),
        ] {
            assert_eq!(of(&providers, name).as_deref(), Some(wanted), "{name}");
        }
        providers.remove(&named("all"));
        assert_eq!(of(&providers, "*.example.org"), None);
        assert_eq!(rivals(&providers), None);
        providers.insert(named("other"), provider(&["example.net"]));
        assert_eq!(rivals(&providers), Some((&named("com"), &named("other"))));
    }
}
