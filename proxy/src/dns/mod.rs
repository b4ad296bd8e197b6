//! The proxy's own questions to the DNS: a stub that asks recursive resolvers for the names of
//! an address and the addresses of a name. Nothing is cached here, and no request waits for it.
//!
//! Over UDP from a port of its own for each question, over TCP where the answer does not fit.
//! What it needs are three kinds of records and one question at a time; a resolver library
//! brings forty crates for what else it can do.

mod message;

use message::{Data, Kind, Reply};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// How long a question may take, over all servers.
const PATIENCE: Duration = Duration::from_secs(2);
/// Further servers are not asked: they would get too little of that.
const SERVERS: usize = 3;

/// Asks the servers in their order until one answers.
pub(crate) struct Resolver {
    servers: Vec<SocketAddr>,
}

/// Nobody answered, or nobody could say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

impl Resolver {
    /// Asks these, or, if there is none, those of `/etc/resolv.conf`.
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        let servers = match servers.is_empty() {
            true => of_system(Path::new("/etc/resolv.conf")),
            false => servers.to_vec(),
        };
        Self { servers: servers.into_iter().take(SERVERS).collect() }
    }

    /// The names an address has (PTR), in lower case; none if it has none.
    pub(crate) async fn names_of(&self, address: IpAddr) -> Result<Vec<String>, Failed> {
        let found = self.ask(&reverse(address), Kind::Ptr).await?;
        Ok(found
            .into_iter()
            .filter_map(|data| match data {
                Data::Name(name) => Some(name),
                Data::Address(_) => None,
            })
            .collect())
    }

    /// Whether a name leads to an address (A, AAAA).
    pub(crate) async fn leads_to(&self, name: &str, address: IpAddr) -> Result<bool, Failed> {
        let kind = if address.is_ipv4() { Kind::A } else { Kind::Aaaa };
        Ok(self.ask(name, kind).await?.contains(&Data::Address(address)))
    }

    async fn ask(&self, name: &str, kind: Kind) -> Result<Vec<Data>, Failed> {
        let share = PATIENCE / self.servers.len().max(1) as u32;
        for &server in &self.servers {
            match timeout(share, exchange(server, name, kind)).await {
                Ok(Ok(Reply::Found(data))) => return Ok(data),
                Ok(Ok(Reply::Failed | Reply::Truncated) | Err(_)) | Err(_) => {}
            }
        }
        Err(Failed)
    }
}

/// One question to one server.
async fn exchange(server: SocketAddr, name: &str, kind: Kind) -> io::Result<Reply> {
    let id = rand::random();
    let Some(query) = message::query(id, name, kind) else { return Ok(Reply::Failed) };
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Only the server's datagrams arrive.
    socket.connect(server).await?;
    socket.send(&query).await?;
    let mut answer = [0; 4096];
    loop {
        let length = socket.recv(&mut answer).await?;
        match message::reply(&answer[..length], id, name, kind) {
            // Not the answer to this question: somebody guesses.
            None => {}
            Some(Reply::Truncated) => return over_tcp(server, &query, id, name, kind).await,
            Some(reply) => return Ok(reply),
        }
    }
}

async fn over_tcp(
    server: SocketAddr,
    query: &[u8],
    id: u16,
    name: &str,
    kind: Kind,
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(message::reply(&answer, id, name, kind).unwrap_or(Reply::Failed))
}

/// The name under which the names of an address are kept.
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let nibbles = (0..32).map(|at| format!("{:x}.", (bits >> (4 * at)) & 15));
            nibbles.collect::<String>() + "ip6.arpa"
        }
    }
}

/// The resolvers of the system; the local one if it names none.
fn of_system(file: &Path) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let named: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .collect();
    if named.is_empty() { vec![(Ipv4Addr::LOCALHOST, 53).into()] } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names() {
        assert_eq!(reverse("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa");
        let v6 = reverse("2001:db8::5".parse().unwrap());
        assert!(v6.starts_with("5.0.0.0.") && v6.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"), "{v6}");
        assert_eq!(v6.len(), 72);
    }
}
