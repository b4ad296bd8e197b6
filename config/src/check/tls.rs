//! Listeners can get the certificates that their routes need.

use super::Check;
use crate::{
    Challenge, Config, HostPattern, Listener, Name, OnDemand, Tls, TlsIssuer, is_local_name,
    show_duration,
};

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    for (name, listener) in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        on_demand(check, name, listener, tls);
        if tls.issuer != TlsIssuer::Acme || !tls.certificates.is_empty() {
            // What the files cover is known once they are read, which is not done here.
            continue;
        }
        let path = ["listeners", name.as_str(), "tls"];
        if let Some(host) = public_name(config, name, tls)
            && !check.has(&["acme"])
        {
            check.fault(&path, format!("no certificate for `{host}`: there is no `[acme]`")).help(
                "add `[acme]`, list `certificates`, or set `issuer = \"internal\"` for \
                 certificates only your own clients trust",
            );
        }
        uncovered_patterns(check, name, tls.on_demand.as_ref());
    }
    challenges(check);
}

/// Somebody issues on demand, and a handshake can wait for it.
fn on_demand(check: &mut Check<'_>, name: &Name, listener: &Listener, tls: &Tls) {
    let Some(on_demand) = &tls.on_demand else { return };
    let path = ["listeners", name.as_str(), "tls", "on_demand"];
    if !check.has(&["acme"]) {
        check
            .fault(&path, "nobody issues on demand: there is no `[acme]`")
            .help("add `[acme]` (with `email`), or remove `on_demand`");
    }
    let limit = listener.limits.handshake_timeout;
    if on_demand.wait >= limit {
        let (wait, limit) = (show_duration(on_demand.wait), show_duration(limit));
        check
            .warn(
                &path,
                format!("handshakes end after {limit}, before the `wait` of {wait} is over"),
            )
            .help("raise `limits.handshake_timeout` of the listener");
    }
}

/// A name that only ACME could get a certificate for.
fn public_name(config: &Config, listener: &Name, tls: &Tls) -> Option<String> {
    let hosts = config.routes_on(listener).flat_map(|(_, route)| &route.hosts);
    let exact = hosts.filter_map(|host| match host {
        HostPattern::Exact(host) => Some(host),
        _ => None,
    });
    exact.chain(&tls.names).chain(&tls.default).find(|name| !is_local_name(name)).cloned()
}

/// ACME issues for names, and for wildcards whose zone somebody changes; what else a pattern
/// matches needs certificates on demand.
fn uncovered_patterns(check: &mut Check<'_>, listener: &Name, on_demand: Option<&OnDemand>) {
    let config = check.config;
    let asks = on_demand.is_some_and(|on_demand| on_demand.ask.is_some());
    let lists = |name: &str| on_demand.is_some_and(|on_demand| on_demand.lists(name));
    let provided =
        |name: &str| config.acme.as_ref().is_some_and(|acme| acme.dns_provider(name).is_some());
    for (name, route) in config.routes_on(listener) {
        for host in &route.hosts {
            let key = if check.has(&["routes", name.as_str(), "host"]) { "host" } else { "hosts" };
            let path = ["routes", name.as_str(), key];
            let (message, help) = match host {
                HostPattern::Exact(_) => continue,
                HostPattern::Wildcard(suffix) if is_local_name(suffix) => continue,
                HostPattern::Wildcard(_) | HostPattern::Regex(_) if asks => continue,
                HostPattern::Wildcard(suffix) if lists(&format!("*{suffix}")) => continue,
                HostPattern::Wildcard(suffix) if provided(&format!("*{suffix}")) => (
                    format!(
                        "listener `{listener}` gets a certificate for `{host}`, which covers one \
                         label: the route matches `a.b{suffix}` too, the certificate does not"
                    ),
                    "give the route deeper hosts or wildcards, or list hosts in `tls.names`",
                ),
                HostPattern::Wildcard(_) => (
                    format!(
                        "listener `{listener}` gets no certificate for `{host}`: a wildcard is \
                         proved by DNS only, and no provider is for it"
                    ),
                    "declare who changes its zone under `[acme.dns.NAME]`, add a certificate \
                     file, or list the names in `tls.names`",
                ),
                HostPattern::Regex(_) => (
                    format!(
                        "listener `{listener}` gets no certificate for `{host}`: only for names \
                         and wildcards"
                    ),
                    "add a certificate file, or list the names in `tls.names`",
                ),
            };
            check.warn(&path, message).help(help);
        }
    }
}

/// A challenge is answered on a listener of its kind.
fn challenges(check: &mut Check<'_>) {
    let Some(acme) = &check.config.acme else { return };
    let plain = |listener: &Listener| listener.tls.is_none();
    let listeners = || check.config.listeners.values();
    let secured = listeners().any(|listener| !plain(listener));
    if acme.challenges == [Challenge::Http01] && secured && !listeners().any(plain) {
        check
            .warn(&["acme", "challenges"], "`http-01` is answered on port 80 in plain text")
            .help("add a listener without `tls`, or allow `tls-alpn-01`");
    }
}
