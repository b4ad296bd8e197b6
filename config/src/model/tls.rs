use super::{
    HostPattern, OnDemand,
    host::{is_host, server_name},
};
use crate::{
    Name,
    shape::{Misfit, Reader, TextShape, optional, reference, set, table, text, words},
};
use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

table! {
    /// `tls = {}`: how a listener proves its names.
    pub struct Tls {
        /// Certificates from files, served for the names they contain; reloaded when they change.
        certificates: Vec<CertificateFiles> = [],
        /// Who issues what the files do not cover: `acme` (default) or `internal`. Local names
        /// (`localhost`, `*.localhost`, `*.local`, `*.internal`, `*.test`, `*.home.arpa`, IP
        /// addresses) always come from the internal CA.
        issuer: TlsIssuer = "acme",
        /// The name whose certificate answers clients without SNI or with an unknown one; without
        /// it those are refused with `unrecognized_name`.
        default: Option<String> as optional(server_name()),
        /// Further names to hold certificates for, beside the hosts of the listener's routes:
        /// exact, or `*.example.com` for one label (proved by `dns-01`).
        names: Vec<String> = [] as set(certificate_name()),
        /// Certificates for names nobody knew before; without it those are refused.
        on_demand: Option<OnDemand>,
        /// Which clients are served, by TLS version, cipher suites and key exchange: `intermediate`
        /// (default) or `modern`.
        policy: TlsPolicy = "intermediate",
        /// The oldest TLS version: `1.2` (default, as the policy says) or `1.3`; it can only
        /// narrow the policy.
        min_version: TlsVersion = "1.2",
        /// Which client certificates are asked for and accepted; without it none is asked for.
        client_auth: Option<Name> as optional(reference("client authentication", "client_auth")),
        /// Hosts that differ in policy or client certificates. A request for a host is answered
        /// only on connections made under the same terms (else 421), so that no host's terms can
        /// be got round by asking for it on a connection to another.
        hosts: Vec<TlsHost> = [],
    }
    check = check;
}

table! {
    /// Hosts of a listener that are served under other terms than the rest of it.
    pub struct TlsHost {
        /// The names clients ask for: exact, or `*.example.com` for one label or more. The exact
        /// one counts before patterns, the longer pattern before the shorter.
        names: Vec<HostPattern> as set(tls_host()).some(),
        /// As the listener's, which it is by default.
        policy: Option<TlsPolicy>,
        /// As the listener's, which it is by default.
        client_auth: Option<Name> as optional(reference("client authentication", "client_auth")),
    }
}

impl Eq for TlsHost {}

/// A name as certificates have it.
fn certificate_name() -> TextShape<String> {
    text("a host name such as `shop.example.com` or `*.example.com`", |text| {
        let rest = text.strip_prefix("*.").unwrap_or(text);
        let is_wild_address = rest.len() < text.len() && rest.parse::<IpAddr>().is_ok();
        match rest.contains('*') || is_wild_address || !is_host(rest) {
            true => Err(Misfit::form()),
            false => Ok(text.to_owned()),
        }
    })
}

/// A host as SNI names it: no regular expression.
pub(super) fn tls_host() -> TextShape<HostPattern> {
    text("a host such as `shop.example.com` or `*.example.com`", |text| {
        match text.parse::<HostPattern>() {
            Ok(HostPattern::Regex(_)) | Err(_) => Err(Misfit::form()),
            Ok(host) => Ok(host),
        }
    })
}

fn check(tls: &Tls, reader: &mut Reader<'_, '_, '_>) {
    if tls.on_demand.is_some() && tls.issuer == TlsIssuer::Internal {
        reader
            .fault_at(Some("on_demand"), "only certificates of `[acme]` are had on demand")
            .help("remove `issuer`; local names come from the internal CA all the same");
    }
    if tls.policy == TlsPolicy::Modern
        && tls.min_version == TlsVersion::Tls12
        && reader.get("min_version").is_some()
    {
        reader
            .fault_at(Some("min_version"), "policy `modern` serves TLS 1.3 only")
            .help("remove `min_version`, or set `policy = \"intermediate\"`");
    }
    let mut seen = BTreeSet::new();
    for (index, host) in tls.hosts.iter().enumerate() {
        for name in host.names.iter().filter(|name| !seen.insert(*name)) {
            reader
                .fault_in("hosts", index, format!("`{name}` has an entry of its own already"))
                .help("name it in one of them");
        }
    }
}

words! {
    /// Which clients TLS is spoken with; the server's order of cipher suites counts. Keys are
    /// exchanged by X25519MLKEM768, X25519, P-256 or P-384.
    pub enum TlsPolicy: "TLS policy" {
        /// TLS 1.2 with ECDHE and an AEAD cipher, and TLS 1.3: every client of the last ten years.
        Intermediate = "intermediate",
        /// TLS 1.3 only.
        Modern = "modern",
    }
}

words! {
    /// Who issues certificates that are not in files.
    pub enum TlsIssuer: "certificate issuer" {
        /// The certificate authorities of `[acme]`.
        Acme = "acme",
        /// A certificate authority of our own, in the state directory.
        Internal = "internal",
    }
}

words! {
    /// A version of TLS.
    pub enum TlsVersion: "TLS version" {
        /// TLS 1.2.
        Tls12 = "1.2",
        /// TLS 1.3.
        Tls13 = "1.3",
    }
}

table! {
    /// A certificate chain and its key, both PEM files.
    pub struct CertificateFiles {
        /// The chain, the server's own certificate first.
        cert: PathBuf,
        /// The private key of the first certificate.
        key: PathBuf,
    }
}

impl Eq for CertificateFiles {}
