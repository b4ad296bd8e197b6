//! A gate before pebble that passes everything on and makes the faults a test asks for: answers
//! of its own, answers changed, held back or cut. Pebble builds its URLs from the request's
//! `Host`, so that all of its traffic stays with the gate.
//!
//! One self-contained file beside `pebble.rs` (hyper, rcgen and rustls), so that other test
//! crates can include it by `#[path]`.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test crate uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Directory,
    Nonce,
    NewAccount,
    Account,
    NewOrder,
    Authorization,
    Challenge,
    Order,
    Finalize,
    Certificate,
    Revoke,
    KeyChange,
    Renewal,
    Other,
}

impl Step {
    fn of(path: &str) -> Self {
        let known = [
            ("/dir", Self::Directory),
            ("/nonce-plz", Self::Nonce),
            ("/sign-me-up", Self::NewAccount),
            ("/my-account/", Self::Account),
            ("/order-plz", Self::NewOrder),
            ("/authZ/", Self::Authorization),
            ("/chalZ/", Self::Challenge),
            ("/my-order/", Self::Order),
            ("/finalize-order/", Self::Finalize),
            ("/certZ/", Self::Certificate),
            ("/revoke-cert", Self::Revoke),
            ("/rollover-account-key", Self::KeyChange),
            ("/renewal/", Self::Renewal),
        ];
        known.into_iter().find(|(start, _)| path.starts_with(start)).map_or(Self::Other, |of| of.1)
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub step: Step,
    pub path: String,
    /// What was signed; null for a POST-as-GET and for other methods.
    pub payload: Value,
    /// How many of this step came before.
    pub before: usize,
}

/// What becomes of a request.
pub enum Act {
    /// It is passed on, and so is its answer.
    Pass,
    /// It is held before pebble hears of it, until the gate is told to go on.
    Before,
    /// Its answer is held, until the gate is told to go on.
    After,
    /// It is answered like this, and pebble never hears of it.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Its answer's JSON is changed.
    Rewrite(Box<dyn FnOnce(&mut Value) + Send>),
    /// It is never answered.
    Hang,
    /// The connection is cut.
    Cut,
}

type Rule = Box<dyn FnMut(&Seen) -> Act + Send>;

#[derive(Default)]
struct Shared {
    rule: Mutex<Option<Rule>>,
    seen: Mutex<Vec<Seen>>,
    /// A request is held.
    held: Notify,
    /// What is held goes on.
    go: Notify,
}

/// A running gate; ends with its value.
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    dir: tempfile::TempDir,
    accepting: tokio::task::JoinHandle<()>,
}

/// An answer that is a problem document.
pub fn problem(status: u16, kind: &str, headers: Vec<(&'static str, String)>) -> Act {
    let body = format!(
        r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"the gate says so","status":{status}}}"#
    );
    let mut headers = headers;
    headers.push(("content-type", "application/problem+json".to_owned()));
    Act::Answer(status, headers, body)
}

impl Gate {
    /// A gate before the pebble at `directory`, which has `ca`'s certificate.
    pub async fn before(directory: &str, ca: PathBuf) -> Self {
        let uri: Uri = directory.parse().unwrap();
        let pebble: SocketAddr = uri.authority().unwrap().as_str().parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(certify(dir.path())));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(client));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting =
            tokio::spawn(accept(listener, acceptor, Arc::clone(&shared), pebble, connector));
        Self { address, shared, dir, accepting }
    }

    /// The directory's URL at the gate.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// PEM file of the root that certifies the gate.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// An issuer of a document, as an inline table; `more` are further keys of it.
    pub fn issuer(&self, name: &str, more: &str) -> String {
        let (directory, ca) = (self.directory(), self.ca());
        let ca = ca.display();
        format!("{{ name = \"{name}\", directory = \"{directory}\", ca = \"{ca}\"{more} }}")
    }

    /// What becomes of requests from now on.
    pub fn on(&self, rule: impl FnMut(&Seen) -> Act + Send + 'static) {
        *self.shared.rule.lock() = Some(Box::new(rule));
    }

    /// Passes everything on from now on.
    pub fn pass(&self) {
        *self.shared.rule.lock() = None;
    }

    /// Waits until a request is held.
    pub async fn held(&self) {
        self.shared.held.notified().await;
    }

    /// Lets what is held go on.
    pub fn go(&self) {
        self.shared.go.notify_waiters();
    }

    /// What came, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    /// How many requests of one step came.
    pub fn count(&self, step: Step) -> usize {
        self.shared.seen.lock().iter().filter(|seen| seen.step == step).count()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    pebble: SocketAddr,
    connector: TlsConnector,
) {
    // Connections end with the gate.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared, connector) =
            (acceptor.clone(), Arc::clone(&shared), connector.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let (shared, connector) = (Arc::clone(&shared), connector.clone());
                async move { handle(&shared, pebble, &connector, request).await }
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn handle(
    shared: &Shared,
    pebble: SocketAddr,
    connector: &TlsConnector,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let step = Step::of(parts.uri.path());
    let seen = {
        let mut all = shared.seen.lock();
        let before = all.iter().filter(|seen| seen.step == step).count();
        let path = parts.uri.path().to_owned();
        let seen = Seen { step, path, payload: payload(&body), before };
        all.push(seen.clone());
        seen
    };
    let act = shared.rule.lock().as_mut().map_or(Act::Pass, |rule| rule(&seen));
    let hold = || async {
        let go = shared.go.notified();
        shared.held.notify_one();
        go.await;
    };
    let host = parts.headers.get(header::HOST).cloned().unwrap();
    let forward = async || {
        let (method, uri, headers) =
            (parts.method.clone(), parts.uri.clone(), parts.headers.clone());
        let answer = send(pebble, connector, method, uri, headers, body.clone()).await?;
        // pebble refuses some nonces at random; what comes again is the same request.
        if is_bad_nonce(&answer).await {
            let mut all = shared.seen.lock();
            if let Some(at) = all.iter().rposition(|other| other.step == seen.step) {
                all.remove(at);
            }
        }
        Ok(answer)
    };
    match act {
        Act::Pass => forward().await,
        Act::Before => {
            hold().await;
            forward().await
        }
        Act::After => {
            let answer = forward().await?;
            // Nothing has happened; the request that comes again is the one to hold.
            if !is_bad_nonce(&answer).await {
                hold().await;
            }
            Ok(answer)
        }
        Act::Answer(status, headers, body) => {
            let mut answer = Response::new(Full::new(Bytes::from(body)));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                answer.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap());
            }
            // Clients go on with the nonce of an answer, whatever else it says.
            let mut of = HeaderMap::new();
            of.insert(header::HOST, host);
            let nonce = Uri::from_static("/nonce-plz");
            let nonce = send(pebble, connector, Method::HEAD, nonce, of, Bytes::new()).await?;
            if let Some(nonce) = nonce.headers().get("replay-nonce") {
                answer.headers_mut().insert("replay-nonce", nonce.clone());
            }
            Ok(answer)
        }
        Act::Rewrite(change) => {
            let answer = forward().await?;
            if !answer.status().is_success() {
                return Ok(answer);
            }
            let (mut parts, body) = answer.into_parts();
            let Ok(body) = body.collect().await;
            let mut json: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
            change(&mut json);
            parts.headers.remove(header::CONTENT_LENGTH);
            Ok(Response::from_parts(parts, Full::new(Bytes::from(json.to_string()))))
        }
        Act::Hang => std::future::pending().await,
        Act::Cut => Err(std::io::Error::other("cut by the test")),
    }
}

async fn send(
    pebble: SocketAddr,
    connector: &TlsConnector,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let tcp = TcpStream::connect(pebble).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let tls = connector.connect(name, tcp).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
        .await
        .map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    let answer = sender.send_request(request).await.map_err(std::io::Error::other)?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    Ok(Response::from_parts(parts, Full::new(body)))
}

async fn is_bad_nonce(answer: &Response<Full<Bytes>>) -> bool {
    let Ok(body) = answer.body().clone().collect().await;
    String::from_utf8_lossy(&body.to_bytes()).contains(":badNonce")
}

/// What a JWS carries.
fn payload(body: &[u8]) -> Value {
    let jws: Value = serde_json::from_slice(body).unwrap_or_default();
    let payload = jws["payload"].as_str().unwrap_or_default();
    serde_json::from_slice(&BASE64.decode(payload).unwrap_or_default()).unwrap_or_default()
}

/// A root, and a server's configuration with a certificate for 127.0.0.1 by it.
fn certify(dir: &std::path::Path) -> ServerConfig {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(dir.join("ca.pem"), root.self_signed(&root_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::from_params(&root, root_key)).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
