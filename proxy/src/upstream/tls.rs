//! TLS towards upstreams. The certificate is always verified.

use rustls::{ClientConfig, RootCertStore, client::ResolvesClientCert};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{fmt, path::PathBuf, sync::Arc};
use tidegate_config::{Upstream, UpstreamIdentity, UpstreamProtocol, UpstreamTls};

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
    /// The `certificate` or `key` file.
    #[error("client certificate: {0}")]
    Pair(#[from] tidegate_certs::CertsError),
    /// The pair of them.
    #[error("`{path}` cannot be shown as client certificate: {cause}", path = .path.display())]
    Client {
        /// The certificate file.
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

/// What the files of an upstream's `tls` hold. Other content makes another upstream.
#[derive(PartialEq, Eq)]
pub(crate) struct TlsFiles {
    ca: Option<Vec<u8>>,
    /// Certificate chain and key, both PEM.
    client: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsFiles {
    /// Reads those that the document names.
    pub(crate) fn read(document: &Upstream) -> Result<Self, UpstreamTlsError> {
        let Some(tls) = &document.tls else { return Ok(Self { ca: None, client: None }) };
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|cause| UpstreamTlsError::Ca {
                path: path.clone(),
                cause: cause.to_string(),
            })
        };
        let client = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => Some(tidegate_certs::read_pair(certificate, key)?),
            _ => None,
        };
        Ok(Self { ca: tls.ca.as_ref().map(read).transpose()?, client })
    }
}

/// `files` is what [`TlsFiles::read`] found, `identity` what the internal CA says of this node.
pub(super) fn client_config(
    tls: &UpstreamTls,
    files: &TlsFiles,
    protocol: UpstreamProtocol,
    identity: &Arc<dyn ResolvesClientCert>,
) -> Result<Arc<ClientConfig>, UpstreamTlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(tls, files)?);
    let mut config = match (&files.client, &tls.certificate) {
        (Some((chain, key)), Some(path)) => {
            let failed = |cause: &dyn fmt::Display| UpstreamTlsError::Client {
                path: path.clone(),
                cause: cause.to_string(),
            };
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
            let chain = chain.map_err(|error| failed(&error))?;
            if chain.is_empty() {
                return Err(failed(&"it holds no certificate"));
            }
            // The parser's words could quote the file.
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| failed(&"its key is no PEM block `PRIVATE KEY`"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| failed(&error))?
        }
        _ if tls.identity == Some(UpstreamIdentity::Internal) => {
            builder.with_client_cert_resolver(Arc::clone(identity))
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match protocol {
        UpstreamProtocol::Http1 => vec![b"http/1.1".to_vec()],
        UpstreamProtocol::Http2 => vec![b"h2".to_vec()],
    };
    Ok(Arc::new(config))
}

fn roots(tls: &UpstreamTls, files: &TlsFiles) -> Result<RootCertStore, UpstreamTlsError> {
    let mut roots = RootCertStore::empty();
    let (Some(path), Some(pem)) = (&tls.ca, &files.ca) else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let found = !roots.is_empty();
        return if found { Ok(roots) } else { Err(UpstreamTlsError::NoSystemRoots) };
    };
    let failed = |cause: String| UpstreamTlsError::Ca { path: path.clone(), cause };
    for cert in CertificateDer::pem_slice_iter(pem) {
        let cert = cert.map_err(|e| failed(e.to_string()))?;
        roots.add(cert).map_err(|e| failed(e.to_string()))?;
    }
    if roots.is_empty() { Err(failed("it holds no certificate".into())) } else { Ok(roots) }
}
