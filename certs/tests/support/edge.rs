//! The least of an edge: answers handshakes by [`ListenerTls::select`] and http-01 requests by
//! [`Certs::http01`], and a client to look at it.

use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{net::SocketAddr, sync::Arc};
use tidegate_certs::{Certs, ListenerTls, Selected};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client::TlsStream};

/// What the two ports answer with; empty until set.
#[derive(Clone, Default)]
pub struct Behind {
    pub certs: Arc<Mutex<Vec<Certs>>>,
    pub tls: Arc<Mutex<Option<Arc<ListenerTls>>>>,
}

/// Two listening ports.
pub struct Edge {
    pub http: SocketAddr,
    pub tls: SocketAddr,
    pub behind: Behind,
}

impl Edge {
    pub async fn start() -> Self {
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = Behind::default();
        let edge = Self {
            http: http.local_addr().unwrap(),
            tls: tls.local_addr().unwrap(),
            behind: behind.clone(),
        };
        tokio::spawn(serve_http(http, behind.clone()));
        tokio::spawn(serve_tls(tls, behind));
        edge
    }

    /// What the listener shows for `name`: the certificate, in DER.
    pub async fn shown(&self, name: &str) -> Result<Vec<u8>, std::io::Error> {
        Ok(self.chain(name).await?.remove(0))
    }

    /// The chain that the listener shows for `name`, in DER.
    pub async fn chain(&self, name: &str) -> Result<Vec<Vec<u8>>, std::io::Error> {
        let stream = connect(self.tls, name, any_certificate()).await?;
        let (_, connection) = stream.get_ref();
        Ok(connection.peer_certificates().unwrap().iter().map(|der| der.to_vec()).collect())
    }
}

async fn serve_http(listener: TcpListener, behind: Behind) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let behind = behind.clone();
        tokio::spawn(async move {
            let mut head = vec![0; 4096];
            let len = stream.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..len]).into_owned();
            let token = head
                .strip_prefix("GET /.well-known/acme-challenge/")
                .and_then(|rest| rest.split(' ').next());
            let certs = behind.certs.lock().clone();
            // Another process answers as well as the one that ordered: the last one is asked.
            let answer = token.and_then(|token| certs.last()?.http01(token));
            let (status, body) = answer.map_or((404, String::new()), |answer| (200, answer));
            let len = body.len();
            let answer = format!(
                "HTTP/1.1 {status} x\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

async fn serve_tls(listener: TcpListener, behind: Behind) {
    while let Ok((stream, peer)) = listener.accept().await {
        let tls = behind.tls.lock().clone();
        tokio::spawn(async move {
            let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
            let (Ok(start), Some(tls)) = (acceptor.await, tls) else { return };
            let mut selected = tls.select(&start.client_hello());
            if let Selected::OnDemand(demand) = selected {
                demand.settle(peer.ip()).await;
                selected = tls.select_held(&start.client_hello());
            }
            match selected {
                Selected::Challenge(config) => drop(start.into_stream(config).await),
                Selected::Serve { config, session } => {
                    let Ok(mut stream) = start.into_stream(config).await else { return };
                    // One line in, whether the host may be answered out.
                    let mut host = vec![0; 256];
                    while let Ok(len @ 1..) = stream.read(&mut host).await {
                        let host = String::from_utf8_lossy(&host[..len]).into_owned();
                        let admitted =
                            tls.admits(&session, host.trim(), rustls::pki_types::UnixTime::now);
                        let allowed = if admitted.is_ok() { "200" } else { "421" };
                        let _ = stream.write_all(allowed.as_bytes()).await;
                    }
                }
                Selected::OnDemand(_) | Selected::UnrecognizedName => {}
            }
        });
    }
}

/// A handshake with `config`; an empty name sends no SNI.
pub async fn connect(
    to: SocketAddr,
    name: &str,
    mut config: ClientConfig,
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    config.enable_sni = !name.is_empty();
    let name = if name.is_empty() { "unnamed.example" } else { name };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let tcp = TcpStream::connect(to).await?;
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// Whether `host` is answered on an open connection: `200` or `421`.
pub async fn ask(stream: &mut TlsStream<TcpStream>, host: &str) -> String {
    stream.write_all(host.as_bytes()).await.unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A client that trusts the certificates in `pem`.
pub fn trusting(pem: &str) -> ClientConfig {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    builder().with_root_certificates(roots).with_no_client_auth()
}

/// A client that looks and does not judge.
pub fn any_certificate() -> ClientConfig {
    builder().dangerous().with_custom_certificate_verifier(Arc::new(Anything)).with_no_client_auth()
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        use rustls::SignatureScheme as S;
        vec![S::ECDSA_NISTP256_SHA256, S::RSA_PSS_SHA256, S::ED25519]
    }
}
