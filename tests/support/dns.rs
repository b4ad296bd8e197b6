//! A DNS server on loopback that knows what a story tells it, over UDP, and counts questions.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{net::UdpSocket, task::JoinHandle};

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;

/// What is answered to a question.
#[derive(Clone)]
enum Answer {
    /// The contents of records.
    Records(Vec<Vec<u8>>),
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
    server: JoinHandle<()>,
}

impl Dns {
    /// Starts one that knows nothing.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (zone, questions) = (Zone::default(), Arc::new(AtomicU64::new(0)));
        let server = tokio::spawn(serve(socket, Arc::clone(&zone), Arc::clone(&questions)));
        Self { address, zone, questions, server }
    }

    /// The name of an address.
    pub fn name(&self, address: &str, name: &str) -> &Self {
        self.put(&reverse(address), PTR, Answer::Records(vec![encoded(name)]))
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

    /// Questions asked so far.
    pub fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }

    fn put(&self, name: &str, kind: u16, answer: Answer) -> &Self {
        self.zone.lock().unwrap().insert((name.to_owned(), kind), answer);
        self
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(socket: UdpSocket, zone: Zone, questions: Arc<AtomicU64>) {
    let mut query = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut query).await.unwrap();
        questions.fetch_add(1, Ordering::Relaxed);
        let answer = respond(&query[..length], &zone.lock().unwrap());
        socket.send_to(&answer, from).await.unwrap();
    }
}

/// The query again, as an answer, with records behind it.
fn respond(query: &[u8], zone: &HashMap<(String, u16), Answer>) -> Vec<u8> {
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
        Some(Answer::Records(records)) => (0, records.clone()),
        Some(Answer::Failure) => (2, Vec::new()),
        None if exists => (0, Vec::new()),
        None => (3, Vec::new()),
    };
    let mut answer = query.to_vec();
    answer[2..4].copy_from_slice(&[0x81, 0x80 | code]);
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
