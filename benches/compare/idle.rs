//! What an idle TLS connection costs: many that asked once and stay.

use crate::{
    cost::resident,
    peer::{Kind, Material, NAME, Peer},
};
use bytes::Bytes;
use http::Request;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::ServerName;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Measures each peer, freshly started, and prints a table.
pub fn print(kinds: &[Kind], material: &Material, count: usize) {
    println!("\n| idle TLS connections | proxy | KiB each |");
    println!("|---|---|---:|");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for h2 in [false, true] {
        let protocol = if h2 { "h2" } else { "h1" };
        for &kind in kinds {
            let peer = Peer::start(kind, material);
            let grown = runtime.block_on(measure(&peer, material, h2, count));
            println!(
                "| {protocol}, {count} | {kind} | {:.1} |",
                grown as f64 / count as f64 / 1024.0
            );
        }
    }
}

/// By how many bytes the peer grows with `count` connections.
async fn measure(peer: &Peer, material: &Material, h2: bool, count: usize) -> u64 {
    let config = client(material, h2);
    // What the first connections bring to life once (pools, caches) is not theirs.
    let warm = open(peer.https, &config, h2, 50).await;
    drop(warm);
    let before = resident(peer.pid());
    let kept = open(peer.https, &config, h2, count).await;
    let after = resident(peer.pid());
    drop(kept);
    after.saturating_sub(before)
}

/// A connection that stays open as long as this is kept.
enum Kept {
    Http1 { _stream: Box<TlsStream<TcpStream>> },
    Http2 { driver: tokio::task::JoinHandle<()>, _sender: h2::client::SendRequest<Bytes> },
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Self::Http2 { driver, .. } = self {
            driver.abort();
        }
    }
}

async fn open(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    h2: bool,
    count: usize,
) -> Vec<Kept> {
    let mut kept = Vec::with_capacity(count);
    for _ in 0..count {
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(ServerName::try_from(NAME).unwrap(), stream).await.unwrap();
        kept.push(if h2 { ask_http2(stream).await } else { ask_http1(stream).await });
    }
    kept
}

async fn ask_http1(mut stream: TlsStream<TcpStream>) -> Kept {
    let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(&[b'x'; 1024]) {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed instead of kept");
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    Kept::Http1 { _stream: Box::new(stream) }
}

async fn ask_http2(stream: TlsStream<TcpStream>) -> Kept {
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let mut sender = sender.ready().await.unwrap();
    let request = Request::get(format!("https://{NAME}/")).body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        let count = data.unwrap().len();
        body.flow_control().release_capacity(count).unwrap();
    }
    Kept::Http2 { driver, _sender: sender }
}

fn client(material: &Material, h2: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(material.certificate.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![if h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Arc::new(config)
}
