//! A certificate authority for a test, and both ends of TLS.
//!
//! The provider is named everywhere: other crates in the build may bring *ring*, and rustls
//! refuses to guess between two.

use super::edge::Dir;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use time::OffsetDateTime;

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
            serial: None,
        }
    }

    /// A certificate for a client, with these alternative names, that ends after `lifetime`.
    pub fn issue_client(&self, name: &str, sans: Vec<SanType>, lifetime: Duration) -> Leaf {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = sans;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SERIAL.fetch_add(1, Ordering::Relaxed).into());
        params.not_after = OffsetDateTime::now_utc() + lifetime;
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            serial: params.serial_number,
        }
    }

    /// A list of revoked certificates in PEM, good for `lifetime`.
    pub fn crl(&self, revoked: &[&Leaf], lifetime: Duration) -> String {
        let this_update = OffsetDateTime::now_utc() - Duration::from_secs(3600);
        let revoked_certs = revoked.iter().map(|leaf| RevokedCertParams {
            serial_number: leaf.serial.clone().expect("of a client's certificate"),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update,
            next_update: this_update + lifetime,
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// The root in PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
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
    serial: Option<SerialNumber>,
}

impl Leaf {
    /// A client that trusts `server` only, and shows this certificate when asked.
    pub fn client(&self, server: &Ca, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut config = (*server.client(alpn)).clone();
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let shown = CertifiedKey::new(vec![self.certificate.clone()], key);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(shown));
        Arc::new(config)
    }

    /// As [`Self::server`], for clients with a certificate of `clients` only.
    pub fn server_for(&self, clients: &Ca, alpn: &[&str]) -> Arc<ServerConfig> {
        self.server_trusting(&clients.root, alpn)
    }

    /// As [`Self::server_for`], whoever `root` is.
    pub fn server_trusting(
        &self,
        root: &CertificateDer<'static>,
        alpn: &[&str],
    ) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.unwrap())
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = wire_names(alpn);
        Arc::new(config)
    }

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
