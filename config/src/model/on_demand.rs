use super::{
    HostPattern,
    host::{is_local_name, no_spaces},
    tls::tls_host,
};
use crate::{
    Rate, Secret,
    shape::{Misfit, Reader, TextShape, duration, optional, set, table, text, whole},
};
use std::{net::IpAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

table! {
    /// `on_demand = { ask = "http://127.0.0.1:9000/allowed" }`: names that nothing else answers for
    /// get a certificate from `[acme]` at the first handshake that asks for one. Only what `names`
    /// has or `ask` allows, and never IP addresses or local names.
    pub struct OnDemand {
        /// Names that are allowed without asking: exact, or `*.example.com` for one label or more.
        names: Vec<HostPattern> = [] as set(tls_host()),
        /// The URL that is asked about any other name, by `GET URL?domain=NAME`: an answer of 200
        /// within 10 s allows it, anything else, a redirect too, does not. An https URL, or an http
        /// one on this machine (`localhost` or a loopback address).
        ask: Option<Secret> as optional(ask()),
        /// PEM file of roots to trust for an https `ask`, instead of the system's; read again when
        /// `on_demand` changes.
        ca: Option<PathBuf>,
        /// New names for the clients of one network (/24, or /64 of IPv6), allowed or not, as a
        /// bucket of that many that refills evenly; counted before anybody is asked. The networks of
        /// a /16, or /48, have four times that together. Default `10/m`.
        rate: Rate = "10/m",
        /// The same for all clients of the listener together. Default `100/m`.
        total_rate: Rate = "100/m",
        /// How long a handshake waits for its certificate; it is refused then, and the order goes
        /// on. `limits.handshake_timeout` ends it earlier. Default `8s`, 1 s to 5 min.
        wait: Duration = "8s" as duration("1s", "5m"),
        /// A certificate that no client has used for so long is not renewed. Default `720h` (30
        /// days), 24 h to 8760 h.
        keep: Duration = "720h" as duration("24h", "8760h"),
        /// Names had on demand at the same time, for all listeners; no new ones above. Default
        /// 10,000, at most 100,000.
        max_names: NonZeroUsize = 10_000 as whole(1..=100_000),
    }
    check = check;
}

impl Eq for OnDemand {}

impl OnDemand {
    /// Whether `names` allows `host`, a name or a wildcard (which stands for any number of labels)
    /// in lower case.
    pub fn lists(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name {
            HostPattern::Exact(name) => name == host,
            HostPattern::Wildcard(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
            HostPattern::Regex(_) => false, // refused by the document
        })
    }
}

fn check(on_demand: &OnDemand, reader: &mut Reader<'_, '_, '_>) {
    if reader.present(&["names", "ask"]).is_empty() {
        reader
            .fault_at(None, "nothing is allowed: expected `names`, `ask` or both")
            .help("name what may be ordered, or a URL that knows");
    }
    let plain = on_demand.ask.as_ref().is_some_and(|url| url.reveal().starts_with("http:"));
    if on_demand.ca.is_some() && (plain || reader.get("ask").is_none()) {
        reader.fault_at(Some("ca"), "`ca` is for an https `ask`").help("leave it out");
    }
    for (index, name) in on_demand.names.iter().enumerate() {
        let (HostPattern::Exact(bare) | HostPattern::Wildcard(bare)) = name else { continue };
        if is_local_name(bare) {
            reader
                .fault_in("names", index, format!("`{name}` is local: nobody issues for it"))
                .help("list it in `names` of `tls`: the internal CA issues for local names");
        }
    }
}

fn ask() -> TextShape<Secret> {
    text("an https URL, or an http one on this machine", |text| {
        let uri = text.parse::<http::Uri>().map_err(|_| Misfit::form())?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(Misfit::form().help("put a token into the path or query"));
        }
        match (uri.scheme_str(), uri.host()) {
            (Some("https"), Some(host)) if !host.is_empty() => {}
            (Some("http"), Some(host)) if is_loopback(host) => {}
            (Some("http"), Some(_)) => {
                return Err(Misfit::form().help("an answer in plain text could be anybody's"));
            }
            _ => return Err(Misfit::form()),
        }
        no_spaces(text).map(Secret::new)
    })
    // A token may stand in its path or query.
    .secret()
}

/// RFC 6761 section 6.3 lets `localhost` be nothing else.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_machine() {
        for good in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in ["10.0.0.1", "example.com", "localhost.example.com", "[::2]", "127.0.0.1.nip.io"]
        {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
