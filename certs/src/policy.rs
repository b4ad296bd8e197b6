//! How a listener speaks TLS: versions, protocols and session tickets, apart from which
//! certificate it shows.

use rustls::{
    NoKeyLog, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::sync::{Arc, LazyLock};
use tidegate_config::{Protocols, TlsVersion};

/// ALPN of TLS-ALPN-01 challenges (RFC 8737).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The one provider: explicit, because another crate may have installed its own as default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// One listener's way to speak TLS. Tickets are sealed under its own rotating key (6 h, valid
/// 12 h), so that none is good on a listener with another policy; it lives as long as the
/// settings stay the same, also through reloads.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) min_version: TlsVersion,
    pub(crate) protocols: Protocols,
    template: ServerConfig,
}

impl Policy {
    pub(crate) fn new(
        min_version: TlsVersion,
        protocols: Protocols,
    ) -> Result<Self, rustls::Error> {
        let versions = match min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
            TlsVersion::Tls13 => &[&TLS13][..],
        };
        let mut template = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Nothing));
        let alpn = [(protocols.http2, &b"h2"[..]), (protocols.http1, &b"http/1.1"[..])];
        template.alpn_protocols =
            alpn.into_iter().filter(|(on, _)| *on).map(|(_, name)| name.to_vec()).collect();
        template.session_storage = Arc::new(NoServerSessionStorage {});
        template.ticketer = aws_lc_rs::Ticketer::new()?;
        template.key_log = Arc::new(NoKeyLog);
        template.max_early_data_size = 0;
        Ok(Self { min_version, protocols, template })
    }

    /// A configuration that shows `key`.
    pub(crate) fn config(&self, key: &Arc<CertifiedKey>) -> Arc<ServerConfig> {
        let mut config = self.template.clone();
        config.cert_resolver = Arc::new(Chosen(Arc::clone(key)));
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
