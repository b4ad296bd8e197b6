//! Who a client proved to be by its certificate, as upstreams are told.
//!
//! Fields in which TLS terminators tell that are never taken from a client, on no listener and
//! from no peer, trusted or not: an upstream that reads them would believe whoever writes them.

use crate::{conn::Connection, reason::Reason, respond::Refusal, snapshot::Listening};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use rustls_pki_types::UnixTime;
use tidegate_certs::{ClientAuth, ClientIdentity, Denied};
use tidegate_config::ClientField;

/// A client whose certificate is accepted for the request at hand.
pub(crate) struct Client<'a> {
    identity: &'a ClientIdentity,
    auth: &'a ClientAuth,
}

/// Whether a request for `host` may be answered on its connection, and by whom it comes if a
/// certificate says so.
pub(crate) fn admit<'a>(
    connection: &'a Connection,
    listening: &'a Listening,
    host: &str,
    version: Version,
) -> Result<Option<Client<'a>>, Refusal> {
    let Some(tls) = &listening.tls else { return Ok(None) };
    let never = |reason, detail: &str| Err(Refusal::new(reason, detail).closing(version));
    let Some(session) = &connection.tls else {
        return never(Reason::Misdirected, "the listener speaks TLS only by now");
    };
    match tls.admits(session, host, UnixTime::now) {
        Ok(Some(auth)) => {
            Ok(session.client().map(|identity| Client { identity, auth: auth.as_ref() }))
        }
        Ok(None) => Ok(None),
        Err(Denied::Misdirected) => Err(Reason::Misdirected.into()),
        Err(Denied::Unauthenticated) => {
            let detail = "the connection is older than the need for a client certificate";
            never(Reason::Misdirected, detail)
        }
        Err(Denied::Certificate(why)) => never(Reason::ClientCertificate, &why),
    }
}

impl Client<'_> {
    /// Adds the fields that the operator wants upstreams to get; none of them was there before.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        for &field in self.auth.forward() {
            let value = self.identity.tell(field).map(HeaderValue::try_from);
            if let Some(Ok(value)) = value {
                headers.insert(name(field), value);
            }
        }
    }
}

fn name(field: ClientField) -> HeaderName {
    HeaderName::from_static(match field {
        ClientField::Certificate => "client-cert",
        ClientField::Chain => "client-cert-chain",
        ClientField::Subject => "x-client-cert-subject",
        ClientField::San => "x-client-cert-san",
        ClientField::Fingerprint => "x-client-cert-fingerprint",
    })
}

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
        let fields = [ClientField::Chain, ClientField::Subject, ClientField::San];
        assert!(fields.into_iter().all(|field| is_claim(&super::name(field))));
        for other in ["cookie", "content-type", "x-client-ip", "x-forwarded-for", "sec-fetch-site"]
        {
            assert!(!is_claim(&name(other)), "{other}");
        }
    }
}
