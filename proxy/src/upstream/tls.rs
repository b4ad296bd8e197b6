//! TLS towards upstreams. The certificate is always verified.

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{io, path::PathBuf, sync::Arc};
use tidegate_config::{Upstream, UpstreamProtocol, UpstreamTls};

/// Why TLS to an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamTlsError {
    /// The `ca` file.
    #[error("`{path}` cannot be read as PEM certificates: {cause}", path = .path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The system's roots.
    #[error("the system has no root certificates (install `ca-certificates`, or name a `ca` file)")]
    NoSystemRoots,
    /// rustls refused.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The content of the `ca` file, if one is named.
pub(crate) fn read_ca(document: &Upstream) -> Result<Option<Vec<u8>>, UpstreamTlsError> {
    let Some(path) = document.tls.as_ref().and_then(|tls| tls.ca.as_ref()) else {
        return Ok(None);
    };
    let failed =
        |cause: io::Error| UpstreamTlsError::Ca { path: path.clone(), cause: cause.to_string() };
    std::fs::read(path).map(Some).map_err(failed)
}

/// `ca` is what [`read_ca`] found.
pub(super) fn client_config(
    tls: &UpstreamTls,
    ca: Option<&[u8]>,
    protocol: UpstreamProtocol,
) -> Result<Arc<ClientConfig>, UpstreamTlsError> {
    let mut roots = RootCertStore::empty();
    match (&tls.ca, ca) {
        (Some(path), Some(pem)) => {
            let failed = |cause: String| UpstreamTlsError::Ca { path: path.clone(), cause };
            for cert in CertificateDer::pem_slice_iter(pem) {
                let cert = cert.map_err(|e| failed(e.to_string()))?;
                roots.add(cert).map_err(|e| failed(e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(failed("it holds no certificate".into()));
            }
        }
        _ => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(UpstreamTlsError::NoSystemRoots);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match protocol {
        UpstreamProtocol::Http1 => vec![b"http/1.1".to_vec()],
        UpstreamProtocol::Http2 => vec![b"h2".to_vec()],
    };
    Ok(Arc::new(config))
}
