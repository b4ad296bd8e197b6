//! Whether an authority that asks for a challenge certificate (RFC 8737) would come to this node.

use super::{addresses::Addresses, probe::Probe};
use crate::{
    challenges::ChallengeKind,
    policy::{ACME_TLS, provider},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest, Sha256};
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

/// id-pe-acmeIdentifier (section 3).
const IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

pub(super) async fn look(
    probe: &Probe,
    name: &str,
    addresses: &Addresses,
    port: u16,
) -> Result<String, String> {
    let (_, key_authorization) = probe.of(ChallengeKind::TlsAlpn01);
    let wanted = Sha256::digest(key_authorization).to_vec();
    let connector = connector().map_err(|error| error.to_string())?;
    let host = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let look = |address| {
        let (connector, host, wanted) = (connector.clone(), host.clone(), wanted.clone());
        async move {
            let tcp =
                TcpStream::connect(SocketAddr::new(address, port)).await.map_err(|error| {
                    format!(
                        "{error}: is port {port} open, and forwarded to this node? (seen from here)"
                    )
                })?;
            let elsewhere = || {
                format!(
                    "something else answers on port {port}: correct the name's A and AAAA records, \
                     or let what ends TLS there pass it on"
                )
            };
            let stream = connector.connect(host, tcp).await;
            let stream = stream.map_err(|error| format!("{} ({error})", elsewhere()))?;
            let (_, connection) = stream.get_ref();
            let shown = connection.peer_certificates().and_then(|chain| chain.first());
            match connection.alpn_protocol() == Some(ACME_TLS)
                && shown.and_then(identifier).is_some_and(|found| found == wanted)
            {
                true => Ok(()),
                false => Err(elsewhere()),
            }
        }
    };
    addresses.each(look).await
}

/// The digest in a challenge certificate.
fn identifier(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut extensions = parsed.iter_extensions();
    let found = extensions.find(|extension| extension.oid.to_id_string() == IDENTIFIER)?;
    // An OCTET STRING of 32 bytes.
    found.value.strip_prefix(&[4, 32]).map(<[u8]>::to_vec)
}

fn connector() -> Result<TlsConnector, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Challenge certificates are signed by nobody; what is in them is what counts, and nothing is said
/// to who shows them.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
