//! A DNS server on loopback that knows what a story tells it, over UDP and TCP, and counts
//! questions.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
/// No code of an answer: a flag beside it.
const TRUNCATED: u8 = 16;

/// What is answered to a question.
#[derive(Clone)]
enum Answer {
    /// The contents of records.
    Records(Vec<Vec<u8>>),
    /// The same, but too long for a datagram: the rest is to be had over TCP.
    Long(Vec<Vec<u8>>),
    /// SERVFAIL.
    Failure,
}

type Zone = Arc<Mutex<HashMap<(String, u16), Answer>>>;

/// A running server; names it was not told of do not exist.
pub struct Dns {
    /// Where it answers.
    pub address: SocketAddr,
    zone: Zone,
    questions: Arc<AtomicU64>,
    /// Ends with this.
    _server: JoinSet<()>,
}

impl Dns {
    /// Starts one that knows nothing.
    pub async fn start() -> Self {
        let (datagrams, streams) = sockets().await;
        let address = datagrams.local_addr().unwrap();
        let (zone, questions) = (Zone::default(), Arc::new(AtomicU64::new(0)));
        let mut server = JoinSet::new();
        server.spawn(serve(datagrams, Arc::clone(&zone), Arc::clone(&questions)));
        server.spawn(serve_tcp(streams, Arc::clone(&zone)));
        Self { address, zone, questions, _server: server }
    }

    /// The name of an address.
    pub fn name(&self, address: &str, name: &str) -> &Self {
        self.put(&reverse(address), PTR, Answer::Records(vec![encoded(name)]))
    }

    /// The name of an address, told over TCP only.
    pub fn long_name(&self, address: &str, name: &str) -> &Self {
        self.put(&reverse(address), PTR, Answer::Long(vec![encoded(name)]))
    }

    /// The address of a name.
    pub fn address(&self, name: &str, address: &str) -> &Self {
        let (kind, octets) = match address.parse().unwrap() {
            IpAddr::V4(address) => (A, address.octets().to_vec()),
            IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
        };
        self.put(name, kind, Answer::Records(vec![octets]))
    }

    /// Nobody can say what the name of an address is.
    pub fn fail(&self, address: &str) -> &Self {
        self.put(&reverse(address), PTR, Answer::Failure)
    }

    /// Questions asked so far, over UDP.
    pub fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }

    fn put(&self, name: &str, kind: u16, answer: Answer) -> &Self {
        self.zone.lock().unwrap().insert((name.to_owned(), kind), answer);
        self
    }
}

/// Of both kinds, on one port.
async fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // Another test may have it for TCP.
        if let Ok(streams) = TcpListener::bind(datagrams.local_addr().unwrap()).await {
            return (datagrams, streams);
        }
    }
}

async fn serve(socket: UdpSocket, zone: Zone, questions: Arc<AtomicU64>) {
    let mut query = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut query).await.unwrap();
        questions.fetch_add(1, Ordering::Relaxed);
        let answer = respond(&query[..length], &zone.lock().unwrap(), false);
        socket.send_to(&answer, from).await.unwrap();
    }
}

async fn serve_tcp(listener: TcpListener, zone: Zone) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // Whoever asks may go away before the answer.
        let _ = answer_tcp(stream, &zone).await;
    }
}

async fn answer_tcp(mut stream: TcpStream, zone: &Zone) -> std::io::Result<()> {
    let mut query = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut query).await?;
    let answer = respond(&query, &zone.lock().unwrap(), true);
    stream.write_u16(answer.len() as u16).await?;
    stream.write_all(&answer).await
}

/// The query again, as an answer, with records behind it.
fn respond(query: &[u8], zone: &HashMap<(String, u16), Answer>, whole: bool) -> Vec<u8> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let name = labels.join(".");
    let exists = zone.keys().any(|(known, _)| *known == name);
    let (code, records) = match zone.get(&(name, kind)) {
        Some(Answer::Long(_)) if !whole => (TRUNCATED, Vec::new()),
        Some(Answer::Records(records) | Answer::Long(records)) => (0, records.clone()),
        Some(Answer::Failure) => (2, Vec::new()),
        None if exists => (0, Vec::new()),
        None => (3, Vec::new()),
    };
    let mut answer = query.to_vec();
    let truncated = if code == TRUNCATED { 2 } else { 0 };
    answer[2..4].copy_from_slice(&[0x81 | truncated, 0x80 | (code & 15)]);
    answer[7] = records.len() as u8;
    for record in records {
        answer.extend_from_slice(&[0xc0, 12]);
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0, record.len() as u8]);
        answer.extend_from_slice(&record);
    }
    answer
}

fn encoded(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        std::iter::once(label.len() as u8).chain(label.bytes()).collect::<Vec<_>>()
    });
    labels.chain([0]).collect()
}

fn reverse(address: &str) -> String {
    match address.parse().unwrap() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = (0..32).map(|at| format!("{:x}.", (address.to_bits() >> (4 * at)) & 15));
            nibbles.collect::<String>() + "ip6.arpa"
        }
    }
}
