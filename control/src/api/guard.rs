//! Against other sites in the operator's browser: a page whose name was rebound to our address
//! (its `Host` betrays it), and forms and scripts that send requests here (their `Origin` and
//! `Sec-Fetch-Site` do).

use super::{Peer, Problem};
use crate::plane::Plane;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, Uri, header, uri::Authority};
use std::{net::IpAddr, sync::Arc};

/// Refuses requests for a foreign host or from a foreign origin.
pub(crate) async fn check(
    State(plane): State<Arc<Plane>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    // No browser reaches a Unix socket.
    if !matches!(request.extensions().get(), Some(Peer::Unix { .. })) {
        let host = host(request.uri(), request.headers())?;
        if !ours(host.host(), &plane.hosts) {
            return Err(Problem::foreign_host(format!("`{host}` is not a name of this API")));
        }
        same_origin(&host, request.headers())?;
    }
    Ok(next.run(request).await)
}

fn host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::bad_request("expected exactly one Host"));
    };
    let host: Authority = host
        .to_str()
        .ok()
        .and_then(|host| host.parse().ok())
        .ok_or_else(|| Problem::bad_request("the Host is malformed"))?;
    match uri.authority() {
        Some(authority) if *authority != host => {
            Err(Problem::bad_request("the request target and the Host differ"))
        }
        _ => Ok(host),
    }
}

/// Loopback names, configured names and IP addresses. A name can be rebound to our address; an
/// address in `Host` is the one the browser connected to (perhaps through a NAT, so it need not
/// be the one we are bound to).
fn ours(host: &str, configured: &[String]) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    bare.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || host.ends_with(".localhost")
        || configured.iter().any(|name| name.eq_ignore_ascii_case(&host))
}

fn same_origin(host: &Authority, headers: &HeaderMap) -> Result<(), Problem> {
    for origin in headers.get_all(header::ORIGIN) {
        let same =
            origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok()).is_some_and(
                |origin| origin.scheme().is_some() && origin.authority() == Some(host),
            );
        if !same {
            return Err(Problem::foreign_origin("the Origin is not the API's own"));
        }
    }
    match headers.get("sec-fetch-site").map(|site| site.as_bytes()) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Problem::foreign_origin("a page of another site sent the request")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_rebound_are_not_ours() {
        let configured = ["edge.example.com".to_owned()];
        for good in ["localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "[::1]", "10.0.0.1"] {
            assert!(ours(good, &configured), "{good}");
        }
        assert!(ours("Edge.example.com", &configured));
        for bad in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "::1]"] {
            assert!(!ours(bad, &configured), "{bad}");
        }
    }
}
