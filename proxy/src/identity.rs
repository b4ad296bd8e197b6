//! Who a client proved to be by its certificate, as upstreams are told.
//!
//! Fields in which TLS terminators tell that are never taken from a client, on no listener and
//! from no peer, trusted or not: an upstream that reads them would believe whoever writes them.

use http::{HeaderMap, HeaderName};

/// Removes every field that claims a client certificate. Done before a request is routed, so that
/// no route, limit or rule goes by one either.
pub(crate) fn remove_claims(headers: &mut HeaderMap) {
    // Most requests have none: one look at the names, nothing allocated.
    if !headers.keys().any(is_claim) {
        return;
    }
    let claims: Vec<HeaderName> = headers.keys().filter(|name| is_claim(name)).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Whether a field tells of a client certificate: RFC 9440's and those of the proxies in use
/// (nginx, ingress-nginx, HAProxy, Apache, Envoy, Traefik, AWS, Azure, Cloudflare).
pub(crate) fn is_claim(name: &HeaderName) -> bool {
    const PREFIXES: [&str; 13] = [
        "client-cert",
        "ssl-client",
        "ssl-cert",
        "tls-client",
        "cf-client-cert",
        "x-client-cert",
        "x-client-verify",
        "x-ssl-",
        "x-tls-client",
        "x-forwarded-client-cert",
        "x-forwarded-tls-client-cert",
        "x-amzn-mtls-",
        "x-arr-clientcert",
    ];
    let name = name.as_str();
    name.starts_with(['c', 's', 't', 'x']) && PREFIXES.iter().any(|known| name.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_of_every_make_are_known_and_nothing_else_is() {
        let name = |name: &'static str| HeaderName::from_static(name);
        for claim in [
            "client-cert",
            "client-cert-chain",
            "x-client-cert",
            "x-client-cert-subject",
            "x-client-verify",
            "x-ssl-client-s-dn",
            "x-ssl-cert",
            "ssl-client-subject-dn",
            "x-forwarded-client-cert",
            "x-forwarded-tls-client-cert-info",
            "x-amzn-mtls-clientcert-leaf",
            "x-arr-clientcert",
            "cf-client-cert-sha256",
        ] {
            assert!(is_claim(&name(claim)), "{claim}");
        }
        for other in ["cookie", "content-type", "x-client-ip", "x-forwarded-for", "sec-fetch-site"]
        {
            assert!(!is_claim(&name(other)), "{other}");
        }
    }
}
