//! A certificate authority for a test, and both ends of TLS.
//!
//! The provider is named everywhere: other crates in the build may bring *ring*, and rustls
//! refuses to guess between two.

use super::edge::Dir;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{path::PathBuf, sync::Arc};

/// A certificate authority nobody else trusts.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    root_pem: String,
}

impl Ca {
    /// A new one.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test Root");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        Self {
            root: certificate.der().clone(),
            root_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for `names` (DNS names or addresses).
    pub fn issue(&self, names: &[&str]) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// What a client that trusts only this authority uses; `alpn` in its order of preference.
    pub fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        client_trusting([self.root.clone()], alpn)
    }

    /// The root as a PEM file in `dir`.
    pub fn root_file(&self, dir: &Dir) -> PathBuf {
        dir.write("root.pem", &self.root_pem)
    }
}

/// A client that trusts these roots and nothing else.
pub fn client_trusting(
    roots: impl IntoIterator<Item = CertificateDer<'static>>,
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = wire_names(alpn);
    Arc::new(config)
}

/// A certificate and its key.
pub struct Leaf {
    /// The certificate, to compare with what a server shows.
    pub certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
}

impl Leaf {
    /// Writes `STEM.crt` and `STEM.key` (mode 0600) into `dir`, each swapped in whole.
    pub fn write(&self, dir: &Dir, stem: &str) -> (PathBuf, PathBuf) {
        let cert = dir.write(&format!("{stem}.crt"), &self.certificate_pem);
        let key = dir.write_secret(&format!("{stem}.key"), &self.key_pem);
        (cert, key)
    }

    /// A TOML table for a listener's `tls.certificates`, its files written into `dir`.
    pub fn table(&self, dir: &Dir, stem: &str) -> String {
        let (cert, key) = self.write(dir, stem);
        format!("{{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display())
    }

    /// The server's side of TLS, for an upstream.
    pub fn server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = wire_names(alpn);
        Arc::new(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn wire_names(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}
