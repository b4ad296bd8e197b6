//! A stub that asks recursive resolvers: for the names of an address, the addresses of a name,
//! and any other record.

use crate::{
    exchange::ask,
    message::{Code, Data, Kind, Message, Question},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};
use tokio::time::timeout;

/// How long a question may take, over all servers.
const PATIENCE: Duration = Duration::from_secs(2);
/// Further servers are not asked: they would get too little of that.
const SERVERS: usize = 3;

/// Asks the servers in their order until one answers.
#[derive(Clone, Debug)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
}

/// Nobody answered, or nobody could say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no resolver answered")]
pub struct Failed;

impl Resolver {
    /// Asks these, or, if there is none, those of `/etc/resolv.conf`.
    pub fn new(servers: &[SocketAddr]) -> Self {
        let servers = match servers.is_empty() {
            true => of_system(Path::new("/etc/resolv.conf")),
            false => servers.to_vec(),
        };
        Self { servers: servers.into_iter().take(SERVERS).collect() }
    }

    /// The names an address has (PTR), in lower case; none if it has none.
    pub async fn names_of(&self, address: IpAddr) -> Result<Vec<String>, Failed> {
        let name = reverse(address);
        let found = self.ask(&name, Kind::Ptr).await?.found(&name, Kind::Ptr);
        Ok(found
            .into_iter()
            .filter_map(|data| match data {
                Data::Name(name) => Some(name),
                _ => None,
            })
            .collect())
    }

    /// Whether a name leads to an address (A, AAAA).
    pub async fn leads_to(&self, name: &str, address: IpAddr) -> Result<bool, Failed> {
        let kind = if address.is_ipv4() { Kind::A } else { Kind::Aaaa };
        let found = self.ask(name, kind).await?.found(name, kind);
        Ok(found.contains(&Data::Address(address)))
    }

    /// Asks for the records of a name; the answer says that they exist, or that they do not.
    pub async fn ask(&self, name: &str, kind: Kind) -> Result<Message, Failed> {
        let share = PATIENCE / self.servers.len().max(1) as u32;
        let question = Question { name, kind, recursive: true };
        for &server in &self.servers {
            if let Ok(Ok(message)) = timeout(share, ask(server, &question)).await
                && matches!(message.code, Code::NO_ERROR | Code::NO_NAME)
            {
                return Ok(message);
            }
        }
        Err(Failed)
    }
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
