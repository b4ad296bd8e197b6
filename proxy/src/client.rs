//! Who is asking: the client's address, and the forwarding headers upstreams get.
//!
//! A forwarding header is a claim. It is believed only from the listener's `trusted_proxies`;
//! anyone else's is replaced by what this process saw itself.

use crate::{forwarded, identity};
use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FWD_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Whether `address` lies in one of `networks`; IPv4-mapped IPv6 counts as IPv4.
pub(crate) fn is_trusted(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The client's address: the peer's, or, when the peer is trusted, the rightmost entry of
/// `X-Forwarded-For` (or, without one, of `Forwarded`) that is not trusted itself (the leftmost
/// entry if all are). An entry that is no address ends the search: what stands left of it was
/// not vouched for.
pub(crate) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let backwards = |name| {
        let mut values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        values.reverse();
        values.into_iter()
    };
    if headers.contains_key(FOR) {
        let entries = backwards(FOR).flat_map(|value| value.rsplit(|&b| b == b','));
        first_untrusted(peer, entries, trusted)
    } else {
        first_untrusted(peer, backwards(FORWARDED).flat_map(forwarded::nodes), trusted)
    }
}

fn first_untrusted<'h>(
    peer: IpAddr,
    entries: impl Iterator<Item = &'h [u8]>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut client = peer;
    for entry in entries {
        let Some(next) = parse_entry(entry) else { break };
        client = next;
        if !is_trusted(client, trusted) {
            break;
        }
    }
    client
}

/// An entry of X-Forwarded-For: an address, perhaps with a port or in brackets.
fn parse_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|a| a.ip()))
        .or_else(|e| text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or(e)?.parse())
        .ok()?;
    Some(address.to_canonical())
}

/// The address a limit or a sticky assignment counts by: IPv6 clients own a /64.
pub(crate) fn key(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// What is said about the client to upstreams.
pub(crate) struct Forwarding<'a> {
    pub(crate) peer: IpAddr,
    pub(crate) client: IpAddr,
    pub(crate) trusted: bool,
    pub(crate) https: bool,
    pub(crate) host: &'a HeaderValue,
    pub(crate) port: u16,
    pub(crate) identity: Option<&'a identity::Client<'a>>,
}

/// Puts our account of the client in place of claims; a trusted peer's account is extended.
pub(crate) fn forward(headers: &mut HeaderMap, about: &Forwarding<'_>) {
    let scheme = HeaderValue::from_static(if about.https { "https" } else { "http" });
    let peer = ip_value(about.peer);
    if about.trusted {
        let mut chain = Vec::with_capacity(64);
        for value in headers.get_all(FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(peer.as_bytes());
        let chain = HeaderValue::from_maybe_shared(chain).unwrap_or_else(|_| peer.clone());
        headers.insert(FOR, chain);
        if headers.contains_key(FORWARDED)
            && let Some(chain) = forwarded::continued(
                headers.get_all(FORWARDED).iter(),
                about.peer,
                about.host,
                about.https,
            )
        {
            headers.insert(FORWARDED, chain);
        }
        headers.entry(PROTO).or_insert(scheme);
        headers.entry(FWD_HOST).or_insert_with(|| about.host.clone());
        headers.entry(PORT).or_insert_with(|| HeaderValue::from(about.port));
    } else {
        if headers.keys().any(is_claim) {
            let claims: Vec<_> = headers.keys().filter(|name| is_claim(name)).cloned().collect();
            for name in claims {
                headers.remove(name);
            }
        }
        headers.insert(FOR, peer.clone());
        headers.insert(PROTO, scheme);
        headers.insert(FWD_HOST, about.host.clone());
        headers.insert(PORT, HeaderValue::from(about.port));
    }
    let client = if about.client == about.peer { peer } else { ip_value(about.client) };
    headers.insert(REAL_IP, client);
    if let Some(client) = about.identity {
        client.tell(headers);
    }
}

/// Whether a field says something about the client or its request that only a proxy may say.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded")
        || matches!(
            name,
            "forwarded"
                | "x-real-ip"
                | "x-client-ip"
                | "x-url-scheme"
                | "true-client-ip"
                | "x-original-url"
                | "x-rewrite-url"
                | "x-original-host"
                | "front-end-https"
                | "x-cluster-client-ip"
                | "x-original-forwarded-for"
        )
}

fn ip_value(address: IpAddr) -> HeaderValue {
    use std::io::Write;
    let mut text = Vec::with_capacity(39);
    let _ = write!(text, "{address}"); // a Vec takes every byte
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|n| n.parse().unwrap()).collect()
    }

    fn xff(values: &[&str]) -> HeaderMap {
        values.iter().map(|v| (FOR, HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn the_client_is_the_rightmost_untrusted_entry() {
        let trusted = nets(&["10.0.0.0/8"]);
        let peer = "10.0.0.1".parse().unwrap();
        for (headers, client) in [
            (xff(&[]), "10.0.0.1"),
            (xff(&["1.2.3.4"]), "1.2.3.4"),
            (xff(&["6.6.6.6, 1.2.3.4, 10.9.9.9"]), "1.2.3.4"),
            (xff(&["6.6.6.6", "1.2.3.4"]), "1.2.3.4"),
            (xff(&["1.2.3.4, nonsense, 10.2.2.2"]), "10.2.2.2"),
            (xff(&["10.3.3.3, 10.4.4.4"]), "10.3.3.3"),
            (xff(&["1.2.3.4:5678"]), "1.2.3.4"),
            (xff(&["[2001:db8::1]:99"]), "2001:db8::1"),
            (xff(&["[2001:db8::1]"]), "2001:db8::1"),
            (xff(&["::ffff:1.2.3.4"]), "1.2.3.4"),
        ] {
            assert_eq!(address(peer, &headers, &trusted), client.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn forwarded_is_read_where_there_is_no_x_forwarded_for() {
        let trusted = nets(&["10.0.0.0/8"]);
        let peer = "10.0.0.1".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED, HeaderValue::from_static("for=6.6.6.6, for=\"1.2.3.4:5678\""));
        headers.append(FORWARDED, HeaderValue::from_static("proto=https;for=10.9.9.9"));
        assert_eq!(address(peer, &headers, &trusted), "1.2.3.4".parse::<IpAddr>().unwrap());
        headers.insert(FOR, HeaderValue::from_static("4.4.4.4"));
        assert_eq!(address(peer, &headers, &trusted), "4.4.4.4".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn an_untrusted_peer_is_never_believed() {
        let peer = "9.9.9.9".parse().unwrap();
        let got = address(peer, &xff(&["1.2.3.4"]), &nets(&["10.0.0.0/8"]));
        assert_eq!(got, peer);
    }

    #[test]
    fn an_untrusted_peers_claims_are_replaced_or_dropped() {
        let claims = ["x-forwarded-for", "x-forwarded-ssl", "forwarded", "x-original-url"];
        let claim =
            |name: &&'static str| (HeaderName::from_static(name), "6.6.6.6".parse().unwrap());
        let mut headers: HeaderMap = claims.iter().map(claim).collect();
        let peer = "1.2.3.4".parse().unwrap();
        let host = HeaderValue::from_static("a.test");
        let about = Forwarding {
            peer,
            client: peer,
            trusted: false,
            https: false,
            host: &host,
            port: 80,
            identity: None,
        };
        forward(&mut headers, &about);
        assert_eq!(headers["x-forwarded-for"], "1.2.3.4");
        assert!(headers.values().all(|value| value != "6.6.6.6"), "{headers:?}");
    }

    #[test]
    fn ipv6_counts_by_its_64() {
        let a = key("2001:db8:1:2:3:4:5:6".parse().unwrap());
        assert_eq!(a, "2001:db8:1:2::".parse::<IpAddr>().unwrap());
    }
}
