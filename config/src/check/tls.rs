//! Listeners can get the certificates that their routes need.

use super::Check;
use crate::{Challenge, Config, HostPattern, Listener, Name, Tls, TlsIssuer, is_local_name};

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    for (name, listener) in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
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
        uncovered_patterns(check, name);
    }
    challenges(check);
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

/// ACME issues for names; patterns would need DNS challenges or certificates on demand.
fn uncovered_patterns(check: &mut Check<'_>, listener: &Name) {
    let config = check.config;
    for (name, route) in config.routes_on(listener) {
        for host in &route.hosts {
            let covered = match host {
                HostPattern::Exact(_) => true,
                HostPattern::Wildcard(suffix) => is_local_name(suffix),
                HostPattern::Regex(_) => false,
            };
            if !covered {
                let key =
                    if check.has(&["routes", name.as_str(), "host"]) { "host" } else { "hosts" };
                let message = format!(
                    "listener `{listener}` gets no certificate for `{host}`: only for single \
                     names, as DNS challenges are not part of this version"
                );
                check
                    .warn(&["routes", name.as_str(), key], message)
                    .help("add a certificate file, or list the names in `tls.names`");
            }
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
