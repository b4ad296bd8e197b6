//! What a TLS 1.3 handshake costs: connections that are made and closed, and ask for nothing.
//!
//! The client offers one key exchange and one cipher suite, so that all proxies do the same
//! arithmetic. It verifies nothing: that would cost it more than the proxy pays for signing, and
//! the client would be what is measured.

use crate::{
    cost::cpu_seconds,
    peer::{Kind, Material, NAME, Peer},
    stats,
};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    client::{
        ClientSessionMemoryCache, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::{
    collections::BTreeMap,
    fmt,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Blocking clients, each a thread with a session cache of its own.
const CLIENTS: usize = 16;
/// Handshakes of each client before a sample: the first is full and fetches tickets.
const WARM_UP: usize = 3;
/// A sample ends at this many handshakes of a client, or when its time is over.
const MOST: usize = 10_000;
/// A proxy that says nothing for so long fails the bench.
const PATIENCE: Duration = Duration::from_secs(10);

/// A kind of TLS 1.3 handshake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Handshake {
    Full,
    Resumed,
    /// With a key exchange that only Tidegate has.
    Hybrid,
}

impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full, X25519",
            Self::Resumed => "resumed, X25519",
            Self::Hybrid => "full, X25519MLKEM768",
        })
    }
}

impl Handshake {
    const ALL: [Self; 3] = [Self::Full, Self::Resumed, Self::Hybrid];

    fn is_known_to(self, kind: Kind) -> bool {
        self != Self::Hybrid || kind == Kind::Tidegate
    }

    fn expected(self) -> HandshakeKind {
        if self == Self::Resumed { HandshakeKind::Resumed } else { HandshakeKind::Full }
    }

    fn client(self) -> Arc<ClientConfig> {
        let exchange = match self {
            Self::Full | Self::Resumed => aws_lc_rs::kx_group::X25519,
            Self::Hybrid => aws_lc_rs::kx_group::X25519MLKEM768,
        };
        let provider = CryptoProvider {
            kx_groups: vec![exchange],
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            ..aws_lc_rs::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Believe))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = match self {
            Self::Full | Self::Hybrid => Resumption::disabled(),
            Self::Resumed => Resumption::store(Arc::new(ClientSessionMemoryCache::new(8))),
        };
        Arc::new(config)
    }
}

/// One run.
struct Sample {
    per_second: f64,
    /// User and system time of the proxy per handshake, in microseconds.
    cpu_micros: f64,
    busy_percent: f64,
}

type Results = BTreeMap<(Handshake, Kind), Vec<Sample>>;

/// Measures the peers in turns and prints a table.
pub fn print(kinds: &[Kind], material: &Material, rounds: usize, limit: Duration) {
    let results = measure(kinds, material, rounds, limit);
    println!(
        "\n{rounds} rounds of {} ms, {CLIENTS} clients; medians over the rounds (min-max).\n",
        limit.as_millis()
    );
    println!(
        "| TLS 1.3 handshake | proxy | handshakes/s | CPU us/handshake | CPU ratio to the better rival | core busy |"
    );
    println!("|---|---|---:|---:|---:|---:|");
    for (&(handshake, kind), samples) in &results {
        let of = |figure: fn(&Sample) -> f64| samples.iter().map(figure).collect::<Vec<_>>();
        let ratios: Vec<f64> = (0..rounds)
            .filter_map(|round| Some((round, rival(&results, handshake, round)?)))
            .map(|(round, rival)| samples[round].cpu_micros / rival)
            .collect();
        println!(
            "| {handshake} | {kind} | {} | {} | {} | {:.0} % |",
            spread(&of(|sample| sample.per_second), 0),
            spread(&of(|sample| sample.cpu_micros), 0),
            if ratios.is_empty() { "-".to_owned() } else { spread(&ratios, 2) },
            stats::median(of(|sample| sample.busy_percent).into_iter()),
        );
    }
}

/// What the cheaper of the others took in this round, if any was measured.
fn rival(results: &Results, handshake: Handshake, round: usize) -> Option<f64> {
    results
        .iter()
        .filter(|((what, kind), _)| *what == handshake && *kind != Kind::Tidegate)
        .map(|(_, samples)| samples[round].cpu_micros)
        .min_by(f64::total_cmp)
}

fn spread(values: &[f64], digits: usize) -> String {
    let (low, high) = stats::range(values);
    let median = stats::median(values.iter().copied());
    format!("{median:.digits$} ({low:.digits$}-{high:.digits$})")
}

fn measure(kinds: &[Kind], material: &Material, rounds: usize, limit: Duration) -> Results {
    let peers: Vec<Peer> = kinds.iter().map(|&kind| Peer::start(kind, material)).collect();
    let mut results = Results::new();
    for round in 0..rounds {
        for handshake in Handshake::ALL {
            for turn in 0..peers.len() {
                let peer = &peers[(round + turn) % peers.len()];
                if handshake.is_known_to(peer.kind) {
                    let sample = run(handshake, peer, limit);
                    eprintln!(
                        "round {}: {handshake} {}: {:.0} handshakes/s, {:.1} us CPU each",
                        round + 1,
                        peer.kind,
                        sample.per_second,
                        sample.cpu_micros
                    );
                    results.entry((handshake, peer.kind)).or_default().push(sample);
                }
            }
        }
    }
    results
}

/// Warms `peer` up and shakes hands with it until `limit` is over.
fn run(handshake: Handshake, peer: &Peer, limit: Duration) -> Sample {
    let clients: Vec<_> = (0..CLIENTS).map(|_| handshake.client()).collect();
    for client in &clients {
        for _ in 0..WARM_UP {
            shake(client, peer.https);
        }
    }
    let before = cpu_seconds(peer.pid());
    let start = Instant::now();
    let repeat = |client: &Arc<ClientConfig>| {
        let mut count = 0;
        while count < MOST && start.elapsed() < limit {
            assert_eq!(shake(client, peer.https), handshake.expected(), "{}", peer.kind);
            count += 1;
        }
        count
    };
    let count: usize = thread::scope(|scope| {
        let threads: Vec<_> =
            clients.iter().map(|client| scope.spawn(move || repeat(client))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds(peer.pid()) - before;
    Sample {
        per_second: count as f64 / seconds,
        cpu_micros: cpu * 1e6 / count as f64,
        busy_percent: cpu * 100.0 / seconds,
    }
}

/// Makes a connection, awaits a ticket, closes, and awaits that the proxy closes too.
fn shake(config: &Arc<ClientConfig>, address: SocketAddr) -> HandshakeKind {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).unwrap();
    }
    // All three send tickets unasked, once they have seen the client's part of the handshake.
    while tls.tls13_tickets_received() == 0 {
        assert!(tls.read_tls(&mut tcp).unwrap() > 0, "closed without a ticket");
        tls.process_new_packets().unwrap();
    }
    tls.send_close_notify();
    tls.write_tls(&mut tcp).unwrap();
    while tls.read_tls(&mut tcp).unwrap() > 0 {
        tls.process_new_packets().unwrap();
    }
    tls.handshake_kind().unwrap()
}

/// Takes any certificate and any signature.
#[derive(Debug)]
struct Believe;

impl ServerCertVerifier for Believe {
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
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
