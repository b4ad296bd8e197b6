//! How a listener speaks TLS: versions, cipher suites, key exchange, protocols and session
//! tickets, apart from which certificate it shows.

use crate::{
    client_auth::ClientAuth,
    tickets::{Ring, Tickets},
};
use arc_swap::ArcSwap;
use rustls::{
    NoKeyLog, ServerConfig, SupportedCipherSuite,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        aws_lc_rs::{self, cipher_suite, kx_group},
    },
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use sha2::{Digest, Sha256};
use std::sync::{Arc, LazyLock};
use tidegate_config::{Protocols, TlsPolicy, TlsVersion};

/// ALPN of TLS-ALPN-01 challenges (RFC 8737).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The one provider: explicit, because another crate may have installed its own as default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// AEAD ciphers only, with forward secrecy; the strongest first, by the server's order. The
/// TLS 1.3 suites come first, and are all that `modern` uses.
const SUITES: [SupportedCipherSuite; 9] = [
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The hybrid first: what is recorded today must not be readable when quantum computers come.
const GROUPS: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

fn restricted() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: SUITES.to_vec(),
            kx_groups: GROUPS.to_vec(),
            ..aws_lc_rs::default_provider()
        })
    });
    Arc::clone(&PROVIDER)
}

/// What of the document makes one way to speak TLS differ from another.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) policy: TlsPolicy,
    pub(crate) min_version: TlsVersion,
    pub(crate) protocols: Protocols,
    pub(crate) auth: Option<Arc<ClientAuth>>,
}

impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        let auth = |terms: &Self| terms.auth.as_ref().map(Arc::as_ptr);
        self.policy == other.policy
            && self.min_version == other.min_version
            && self.protocols == other.protocols
            && auth(self) == auth(other)
    }
}

impl Terms {
    /// Tells the terms from any others, in this process and in others.
    fn digest(&self) -> [u8; 32] {
        let Self { policy, min_version, protocols, auth } = self;
        // Text in it is quoted, so that no two terms look the same.
        let auth = auth.as_ref().map(|auth| auth.content());
        Sha256::digest(format!("{policy:?} {min_version:?} {protocols:?} {auth:?}")).into()
    }
}

/// One way to speak TLS. Tickets are sealed under keys derived from its terms, so that none is good
/// under another policy, nor under other authorities or revocation lists for clients; it lives as
/// long as its terms stay the same, also through reloads.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) terms: Terms,
    template: ServerConfig,
}

impl Policy {
    pub(crate) fn new(terms: Terms, tickets: &Arc<Ring>) -> Result<Self, rustls::Error> {
        let versions = match (terms.policy, terms.min_version) {
            (TlsPolicy::Intermediate, TlsVersion::Tls12) => &[&TLS13, &TLS12][..],
            (TlsPolicy::Modern, _) | (_, TlsVersion::Tls13) => &[&TLS13][..],
        };
        let builder = ServerConfig::builder_with_provider(restricted());
        let builder = builder.with_protocol_versions(versions)?;
        let builder = match &terms.auth {
            Some(auth) => builder.with_client_cert_verifier(Arc::<ClientAuth>::clone(auth)),
            None => builder.with_no_client_auth(),
        };
        let mut template = builder.with_cert_resolver(Arc::new(Nothing));
        let spoken = terms.protocols;
        let alpn = [(spoken.http2, &b"h2"[..]), (spoken.http1, &b"http/1.1"[..])];
        template.alpn_protocols =
            alpn.into_iter().filter(|(on, _)| *on).map(|(_, name)| name.to_vec()).collect();
        template.ignore_client_order = true;
        template.session_storage = Arc::new(NoServerSessionStorage {});
        template.ticketer = Arc::new(Tickets::new(Arc::clone(tickets), terms.digest()));
        template.key_log = Arc::new(NoKeyLog);
        template.max_early_data_size = 0; // replays would reach upstreams
        Ok(Self { terms, template })
    }

    /// A configuration that shows `key`, as it is at each handshake.
    pub(crate) fn config(&self, key: &Arc<ArcSwap<CertifiedKey>>) -> Arc<ServerConfig> {
        let mut config = self.template.clone();
        config.cert_resolver = Arc::new(Current(Arc::clone(key)));
        Arc::new(config)
    }
}

/// A configuration that answers a TLS-ALPN-01 validation and nothing else.
pub(crate) fn challenge_config(key: Arc<CertifiedKey>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Chosen(key)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Shows a key whose staple changes.
#[derive(Debug)]
struct Current(Arc<ArcSwap<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Shows a key that was chosen before.
#[derive(Debug)]
struct Chosen(Arc<CertifiedKey>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Of the template, which serves nobody.
#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tickets::Ring;
    use rcgen::{CertificateParams, KeyPair};
    use std::path::Path;

    fn auth(ca: &Path, more: &str) -> Option<Arc<ClientAuth>> {
        let text = format!("[client_auth.staff]\nca = \"{}\"\n{more}\n", ca.display());
        let config = tidegate_config::parse(&text, "test.toml").unwrap().config;
        Some(ClientAuth::load(config.client_auth.values().next().unwrap(), None).unwrap())
    }

    fn write_ca(path: &Path) {
        let ca = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
        std::fs::write(path, ca.pem()).unwrap();
    }

    #[test]
    fn a_ticket_is_good_under_the_same_terms_of_another_process_and_under_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        write_ca(&ca);
        let terms = Terms {
            policy: TlsPolicy::Intermediate,
            min_version: TlsVersion::Tls12,
            protocols: Protocols { http1: true, http2: true },
            auth: auth(&ca, ""),
        };
        let ring = Arc::new(Ring::new(crate::Clock::default(), []));
        let tickets = |terms: &Terms| Policy::new(terms.clone(), &ring).unwrap().template.ticketer;
        let ticket = tickets(&terms).encrypt(b"session").unwrap();
        let opens = |terms: &Terms| tickets(terms).decrypt(&ticket).is_some();
        // Read anew, as another process does.
        assert!(opens(&Terms { auth: auth(&ca, ""), ..terms.clone() }));
        let mut others = vec![
            Terms { policy: TlsPolicy::Modern, ..terms.clone() },
            Terms { min_version: TlsVersion::Tls13, ..terms.clone() },
            Terms { protocols: Protocols { http1: false, http2: true }, ..terms.clone() },
            Terms { auth: None, ..terms.clone() },
            Terms { auth: auth(&ca, "mode = \"optional\""), ..terms.clone() },
            Terms { auth: auth(&ca, "allow = [{ common_name = \"a\" }]"), ..terms.clone() },
        ];
        write_ca(&ca);
        others.push(Terms { auth: auth(&ca, ""), ..terms });
        for other in others {
            assert!(!opens(&other), "{other:?}");
        }
    }
}
