//! Whether an authority that asks for a file (RFC 8555 section 8.3) would come to this node.

use super::{addresses::Addresses, probe::Probe};
use crate::{challenges::ChallengeKind, http::ask};
use http::{Request, header};
use std::{net::SocketAddr, time::Duration};

/// An answer is a line.
const MAX_ANSWER: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn look(
    probe: &Probe,
    name: &str,
    addresses: &Addresses,
    port: u16,
) -> Result<String, String> {
    let (token, wanted) = probe.of(ChallengeKind::Http01);
    let look = |address| {
        let url = SocketAddr::new(address, port);
        let url = format!("http://{url}/.well-known/acme-challenge/{token}");
        let (name, wanted) = (name.to_owned(), wanted.clone());
        async move {
            let request = Request::get(url).header(header::HOST, name).body(Default::default());
            let request = request.map_err(|error| error.to_string())?;
            let answer = ask(request, None, MAX_ANSWER, PATIENCE).await;
            let closed = |error| {
                format!(
                    "{error}: is port {port} open, and forwarded to this node? (seen from here)"
                )
            };
            let answer = answer.map_err(closed)?;
            match answer.status().is_success() && answer.body().trim_ascii() == wanted.as_bytes() {
                true => Ok(()),
                false => Err(format!(
                    "something else answers on port {port} ({}): correct the name's A and AAAA \
                     records, or let what answers there pass `/.well-known/acme-challenge/` on",
                    answer.status()
                )),
            }
        }
    };
    addresses.each(look).await
}
