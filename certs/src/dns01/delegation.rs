//! Where a record belongs: aliases are followed, and the zone's own servers are found.

use std::net::{IpAddr, SocketAddr};
use tidegate_dns::{Data, Kind, Resolver, same_name};

/// Aliases followed.
const ALIASES: usize = 8;
/// Name servers asked; a zone has two to six.
const SERVERS: usize = 8;
const PORT: u16 = 53;

/// The name that `name` is an alias of in the end (CNAME), or itself. Whoever cannot change the
/// zone of a name lets its `_acme-challenge` lead to one that can be changed.
pub(super) async fn target(resolver: &Resolver, name: &str) -> Result<String, String> {
    let mut target = name.to_owned();
    for _ in 0..=ALIASES {
        let asked = resolver.ask(&target, Kind::Cname).await;
        let answer = asked.map_err(|error| {
            format!("aliases of `{target}` cannot be found: {error}; see `servers` in `[dns]`")
        })?;
        match answer.found(&target, Kind::Cname).into_iter().next() {
            Some(Data::Name(next)) if same_name(&next, &target) => break,
            Some(Data::Name(next)) => target = next,
            _ => return Ok(target),
        }
    }
    Err(format!("`{name}` is an alias without an end: correct its CNAME records"))
}

/// The addresses of the servers of the zone that `name` lies in.
pub(super) async fn servers(resolver: &Resolver, name: &str) -> Result<Vec<SocketAddr>, String> {
    let zone = zone(resolver, name).await?;
    let mut servers = Vec::new();
    for server in names(resolver, &zone).await.into_iter().take(SERVERS) {
        for kind in [Kind::A, Kind::Aaaa] {
            let Ok(answer) = resolver.ask(&server, kind).await else { continue };
            // One of each family stands for the server.
            let address = answer.found(&server, kind).into_iter().find_map(address);
            servers.extend(address.map(|address| SocketAddr::new(address, PORT)));
        }
    }
    match servers.is_empty() {
        false => Ok(servers),
        true => Err(format!(
            "the name servers of `{zone}` cannot be found: set `servers` of `propagation`"
        )),
    }
}

async fn zone(resolver: &Resolver, name: &str) -> Result<String, String> {
    let mut rest = Some(name);
    while let Some(name) = rest {
        // Most resolvers tell of the zone at once, some leave that out.
        if let Ok(answer) = resolver.ask(name, Kind::Soa).await
            && let Some(zone) = answer.zone()
        {
            return Ok(zone.to_owned());
        }
        rest = name.split_once('.').map(|(_, rest)| rest);
    }
    Err(format!("the zone of `{name}` cannot be found: set `servers` of `propagation`"))
}

async fn names(resolver: &Resolver, zone: &str) -> Vec<String> {
    let Ok(answer) = resolver.ask(zone, Kind::Ns).await else { return Vec::new() };
    let names = answer.found(zone, Kind::Ns).into_iter().filter_map(|data| match data {
        Data::Name(name) => Some(name),
        _ => None,
    });
    names.collect()
}

fn address(data: Data) -> Option<IpAddr> {
    match data {
        Data::Address(address) => Some(address),
        _ => None,
    }
}

#[cfg(test)]
#[path = "../../../tests/support/bind.rs"]
mod bind;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn aliases_end_and_zones_have_servers() {
        let records = "one IN CNAME two\ntwo IN CNAME _acme-challenge.elsewhere.example.net.\n\
                       round IN CNAME and.round\nand.round IN CNAME round";
        let bind = bind::Bind::start("hmac-sha256", records);
        let resolver = Resolver::new(&[bind.address]);
        let plain = "_acme-challenge.example.com";
        assert_eq!(target(&resolver, plain).await.unwrap(), plain);
        let near = target(&resolver, "two.example.com").await;
        // The server is not asked for other zones, and says so.
        assert!(near.unwrap_err().contains("no resolver answered"));
        let endless = target(&resolver, "round.example.com").await.unwrap_err();
        assert!(endless.contains("an alias without an end"), "{endless}");
        let servers = servers(&resolver, "_acme-challenge.a.example.com").await.unwrap();
        assert_eq!(servers, ["127.0.0.1:53".parse().unwrap()]);
    }
}
