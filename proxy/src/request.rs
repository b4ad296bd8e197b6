//! The way of one request, from its head to its response's head. Reads like the list in
//! docs/architecture.md; every decision is in a file of its own.

use crate::{
    body::{ClientBody, Replayable, ResponseBody, Watch},
    client::{self, Forwarding},
    conn::Connection,
    exchange::{Failed, Outgoing, exchange},
    h1, hop, identity,
    limit::{Decision, Limit, Subject},
    normalise,
    observe::{Facts, Observation, Target},
    pause::Pause,
    reason::Reason,
    respond::{self, Refusal},
    route::RequestKey,
    snapshot::{Listening, Route, RouteAction, Service, Snapshot, Version},
    sticky,
    stream::StreamClock,
    tunnel,
    waf::{self, Waf},
};
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE, TRANSFER_ENCODING, UPGRADE},
    uri::PathAndQuery,
};
use std::{borrow::Cow, pin::Pin, sync::Arc};
use tidegate_config::UpstreamProtocol;
use tokio::time::Instant;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers one request. The answer's body reports when it is over.
///
/// The future is allocated per request, so its size is time: what is rare and large on the way
/// (connecting) is boxed there.
pub(crate) async fn serve(
    connection: Arc<Connection>,
    request: Request<ClientBody>,
    clock: Option<Arc<StreamClock>>,
) -> Response<ResponseBody> {
    let connection = &connection;
    let snapshot = connection.core.snapshot();
    let listening = connection.listening(&snapshot);
    let peer = connection.peer.ip();
    let client = client::address(peer, request.headers(), &listening.document.trusted_proxies);
    let facts = Facts::new(&request, client, connection);
    let mut observation = Observation::begin(connection, facts);
    observation.clock = clock;

    let answered = answer(connection, &snapshot, &listening, request, &mut observation).await;
    let (mut response, pending) = match answered {
        Ok(answer) => answer,
        Err(refusal) => {
            observation.facts.reason = Some(refusal.reason);
            observation.facts.detail.clone_from(&refusal.detail);
            (respond::refusal(&refusal).map(ResponseBody::full), None)
        }
    };
    if let Some(route) = &observation.facts.route {
        respond::apply(&route.response_headers, response.headers_mut());
    }
    if let Some(id) = &observation.facts.request_id {
        response.headers_mut().insert(REQUEST_ID, id.clone());
    }
    if observation.facts.method == Method::HEAD {
        response = respond::without_body(response);
    }
    observation.head(response.status().as_u16());
    let Pending { lease, pause, deadline } = pending.unwrap_or_default();
    if let Some(deadline) = &deadline {
        response.extensions_mut().insert(h1::Until(deadline.deadline()));
        if let Some(clock) = &observation.clock {
            clock.over_by(deadline.deadline());
        }
    }
    response.map(|body| body.watched(Watch { observation, lease, pause, deadline }))
}

/// What outlives the response head when an upstream answers.
pub(crate) struct Pending {
    lease: Option<crate::upstream::Lease>,
    pub(crate) pause: Pause,
    pub(crate) deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Default for Pending {
    fn default() -> Self {
        Self { lease: None, pause: Pause::new(std::time::Duration::MAX), deadline: None }
    }
}

type Answered = (Response<ResponseBody>, Option<Pending>);

/// An answer that nothing is to follow.
fn now(response: Response<ResponseBody>) -> Result<Answered, Refusal> {
    Ok((response, None))
}

async fn answer(
    connection: &Arc<Connection>,
    snapshot: &Snapshot,
    listening: &Listening,
    mut request: Request<ClientBody>,
    observation: &mut Observation,
) -> Result<Answered, Refusal> {
    // Normalise.
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Reason::Method.into());
    }
    if request.version() == http::Version::HTTP_2 {
        narrow_h2(listening, &mut request)?;
    }
    identity::remove_claims(request.headers_mut());
    let trusted = client::is_trusted(connection.peer.ip(), &listening.document.trusted_proxies);
    observation.facts.request_id = Some(request_id(&request, trusted));
    let authority = authority(&request)?;
    observation.facts.host = Some(authority.clone());
    let host = host(&authority);
    let uri = request.uri().clone();
    let path = normalised_path(&uri)?;
    if let Some(token) = path.strip_prefix("/.well-known/acme-challenge/")
        && let Some(key) = connection.core.certs.http01(token)
    {
        let plain = HeaderValue::from_static("application/octet-stream");
        return now(respond::fixed(StatusCode::OK, key.into(), plain));
    }
    let client = identity::admit(connection, listening, &host, request.version())?;
    if let Some(port) = listening.document.redirect_https {
        let to = https_url(&host, port, &path, uri.query());
        return now(respond::redirect(StatusCode::PERMANENT_REDIRECT, &to));
    }

    // Route.
    let key = RequestKey {
        listener: &listening.name,
        host: &host,
        path: &path,
        method: request.method(),
        headers: request.headers(),
    };
    let Some(route) = snapshot.routes.find(&key) else { return Err(Reason::NoRoute.into()) };
    observation.facts.route = Some(Arc::clone(route));

    // Admit.
    let subject =
        Subject { client: observation.facts.client, path: &path, headers: request.headers() };
    let limited = admit(&connection.core.table, route, &subject)?;
    check_length(route, &request)?;
    let waf = match &route.waf {
        Some(waf) if waf::check(waf, connection, observation, &request, &path)? => Some(waf),
        _ => None,
    };
    let admitted =
        Admitted { connection, snapshot, route, authority, path: &path, trusted, limited, client };
    match waf {
        // Boxed: a transaction is large, and most routes have no policy.
        Some(waf) => Box::pin(inspected(waf, &admitted, request, observation)).await,
        None => act(&admitted, request, observation, None).await,
    }
}

/// A request that got past what is cheap to ask.
struct Admitted<'a> {
    connection: &'a Arc<Connection>,
    snapshot: &'a Snapshot,
    route: &'a Route,
    authority: HeaderValue,
    path: &'a str,
    trusted: bool,
    limited: Option<(&'a Limit, Decision)>,
    client: Option<identity::Client<'a>>,
}

/// Under a WAF policy: looked at before an upstream is contacted, and its answer before the client
/// gets it.
async fn inspected(
    waf: &Arc<Waf>,
    admitted: &Admitted<'_>,
    request: Request<ClientBody>,
    observation: &mut Observation,
) -> Result<Answered, Refusal> {
    let mut inspection = waf::Inspection::new(
        waf,
        admitted.connection,
        admitted.snapshot,
        admitted.route,
        observation,
    );
    let answered = match inspection.request(request, admitted.path, observation).await {
        Err(refusal) => Err(refusal),
        Ok(request) => match act(admitted, request, observation, Some(&mut inspection)).await {
            Ok((response, Some(mut pending))) => {
                let looked_at = inspection.response(response, &mut pending, observation).await;
                looked_at.map(|response| (response, Some(pending)))
            }
            answered => answered,
        },
    };
    inspection.finish(observation);
    answered
}

/// Carries the route's action out.
async fn act(
    admitted: &Admitted<'_>,
    request: Request<ClientBody>,
    observation: &mut Observation,
    inspection: Option<&mut waf::Inspection<'_>>,
) -> Result<Answered, Refusal> {
    let &Admitted {
        connection,
        snapshot,
        route,
        ref authority,
        path,
        trusted,
        limited,
        ref client,
    } = admitted;
    let service = match &route.action {
        RouteAction::Service(at) => &snapshot.services[*at],
        RouteAction::Redirect { to, status, keep_path } => {
            let to = location(to, *keep_path, path, request.uri().query());
            return now(respond::redirect(*status, &to));
        }
        RouteAction::Respond { status, body, content_type } => {
            return now(respond::fixed(*status, body.clone(), content_type.clone()));
        }
    };

    // Release.
    let random = rand::random();
    let chosen = sticky::choose(
        service,
        connection.core.salt,
        request.headers(),
        observation.facts.client,
        connection.tls.is_some(),
        random,
    );
    let Some(chosen) = chosen else { return Err(Reason::NoEndpoint.into()) };
    let version = &service.versions[chosen.version];
    observation.assigned(target(service, version));

    // Balance and exchange.
    let upgrade = may_upgrade(&request);
    let forwarding = Forwarding {
        peer: connection.peer.ip().to_canonical(),
        client: observation.facts.client,
        trusted,
        https: connection.tls.is_some(),
        host: authority,
        port: connection.local.port(),
        identity: client.as_ref(),
    };
    let outgoing = outgoing(request, route, version, &forwarding, path, observation, upgrade)?;
    let timeouts = &version.upstream.document.timeouts;
    let deadline = timeouts.total.map(|total| Instant::now() + total);
    let worker = connection.worker.index;
    let exchanged = exchange(&version.upstream, worker, &outgoing, deadline).await;
    let answer = exchanged.map_err(|failed| refused(failed, observation))?;
    observation.facts.endpoint = Some(answer.lease.in_flight.endpoint().address);
    observation.facts.attempts = answer.attempts;

    // Respond.
    let mut response = answer.response;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if !upgrade {
            return Err(Refusal::new(Reason::UpstreamMalformed, "101 to no upgrade"));
        }
        if let Some(inspection) = inspection {
            inspection.switching(response.status(), response.headers(), observation)?;
        }
        return now(tunnel::switch(connection, response, answer.lease, timeouts.idle));
    }
    hop::strip_response(response.headers_mut());
    if let Some(cookie) = chosen.set_cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    if let Some((limit, decision)) = limited {
        limit.describe(decision, response.headers_mut());
    }
    let pending = Pending {
        lease: Some(answer.lease),
        pause: Pause::new(timeouts.idle),
        deadline: deadline.map(|at| Box::pin(tokio::time::sleep_until(at))),
    };
    Ok((response.map(ResponseBody::upstream), Some(pending)))
}

/// What the HTTP/1 codec does while reading, for HTTP/2: the library bounds what it holds, we the
/// bytes and number of the fields, the target and the host; fields with `_` in their name, which some
/// servers read as `-`, are dropped.
fn narrow_h2(listening: &Listening, request: &mut Request<ClientBody>) -> Result<(), Refusal> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    if target.len() > listening.h1.uri_bytes {
        return Err(Reason::UriTooLong.into());
    }
    let origin = target.starts_with('/') && h1::is_valid_target(target.as_bytes());
    let asterisk = target == "*" && *request.method() == Method::OPTIONS;
    if !origin && !asterisk {
        return Err(Reason::Malformed.into());
    }
    // As RFC 9113 section 6.5.2 counts a field list: 32 bytes more for each.
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 32;
    let list: usize = target.len() + request.headers().iter().map(bytes).sum::<usize>();
    if request.headers().len() > listening.h1.headers || list > listening.h1.header_bytes {
        return Err(Reason::HeaderTooLarge.into());
    }
    // RFC 9113 section 8.2.1. An upstream that speaks HTTP/1 takes the blanks off again, and what
    // was not a content type here is one there.
    if request.headers().values().any(has_outer_blanks) {
        return Err(Refusal::new(Reason::Malformed, "a field value begins or ends with a blank"));
    }
    let mut lengths = request.headers().get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() || length.is_some_and(|length| !h1::is_valid_length(length)) {
        return Err(Reason::Malformed.into());
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let host = authority.or(request.headers().get(HOST).map(HeaderValue::as_bytes));
    if request.headers().get_all(HOST).iter().nth(1).is_some()
        || !host.is_some_and(h1::is_valid_host)
    {
        return Err(Reason::BadHost.into());
    }
    let ambiguous = |name: &&HeaderName| name.as_str().contains('_');
    let dropped: Vec<_> = request.headers().keys().filter(ambiguous).cloned().collect();
    for name in dropped {
        request.headers_mut().remove(name);
    }
    join_cookies(request.headers_mut());
    Ok(())
}

fn has_outer_blanks(value: &HeaderValue) -> bool {
    matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

/// Browsers send each cookie in a field of its own; upstreams that speak HTTP/1 expect one
/// (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut http::HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(crumbs.join(&b"; "[..])))
    {
        headers.insert(COOKIE, joined);
    }
}

fn refused(failed: Failed, observation: &mut Observation) -> Refusal {
    observation.facts.endpoint = failed.endpoint.map(|endpoint| endpoint.address);
    observation.facts.attempts = failed.attempts;
    failed.refusal
}

/// The client's id from a trusted peer, else a fresh one: 32 hexadecimal digits.
fn request_id(request: &Request<ClientBody>, trusted: bool) -> HeaderValue {
    if trusted
        && let Some(id) = request.headers().get(REQUEST_ID)
        && (1..=128).contains(&id.len())
    {
        return id.clone();
    }
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let random = rand::random::<u128>().to_ne_bytes();
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(random) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// Host, or `:authority`; on h2 both may be there and must agree (RFC 9113 section 8.3.1).
fn authority(request: &Request<ClientBody>) -> Result<HeaderValue, Refusal> {
    let header = request.headers().get(HOST);
    let Some(authority) = request.uri().authority() else {
        return Ok(header.cloned().unwrap_or_else(|| HeaderValue::from_static("")));
    };
    let disagrees = header
        .is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()));
    if disagrees || authority.as_str().contains('@') {
        return Err(Reason::BadHost.into());
    }
    HeaderValue::try_from(authority.as_str()).map_err(|_| Reason::BadHost.into())
}

/// The host routes match: lower case, without port and trailing dot.
pub(crate) fn host(authority: &HeaderValue) -> Cow<'_, str> {
    let text = authority.to_str().unwrap_or_default();
    let without_port = match text.strip_prefix('[') {
        Some(v6) => v6.find(']').map_or(text, |end| &text[..end + 2]),
        None => text.split_once(':').map_or(text, |(host, _)| host),
    };
    let host = without_port.strip_suffix('.').unwrap_or(without_port);
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

fn normalised_path(uri: &Uri) -> Result<Cow<'_, str>, Refusal> {
    if uri.path() == "*" {
        return Ok(Cow::Borrowed("*")); // OPTIONS *
    }
    normalise::path(uri.path()).map_err(|bad| Refusal::new(Reason::BadPath, bad.to_string()))
}

pub(crate) fn https_url(host: &str, port: u16, path: &str, query: Option<&str>) -> String {
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    joined(&format!("https://{host}{port}"), path, query)
}

/// Where a redirecting route sends a request.
pub(crate) fn location(to: &str, keep_path: bool, path: &str, query: Option<&str>) -> String {
    if keep_path { joined(to, path, query) } else { to.to_owned() }
}

fn joined(base: &str, path: &str, query: Option<&str>) -> String {
    let base = base.strip_suffix('/').unwrap_or(base);
    // Two slashes in front would make the path a host; browsers read `\` as one.
    let rest = path.trim_start_matches(['/', '\\']);
    let path = match base.is_empty() && path.len() - rest.len() > 1 {
        true => Cow::Owned(format!("/{rest}")),
        false => Cow::Borrowed(path),
    };
    match query {
        Some(query) => format!("{base}{path}?{query}"),
        None => format!("{base}{path}"),
    }
}

/// Asks every limit of the route; the tightest answer is told to the client.
fn admit<'r>(
    table: &crate::limit::Table,
    route: &'r Route,
    subject: &Subject<'_>,
) -> Result<Option<(&'r Limit, Decision)>, Refusal> {
    let mut tightest: Option<(&Limit, Decision)> = None;
    for limit in &route.limits {
        let Some(decision) = limit.check(subject, table) else { continue };
        match decision {
            Decision::Refuse { .. } => {
                let mut refusal =
                    Refusal::new(Reason::RateLimited, format!("limit `{}`", limit.name));
                limit.describe(decision, refusal.headers.get_or_insert_default());
                return Err(refusal);
            }
            Decision::Pass { remaining, .. } => {
                let tighter = tightest.is_none_or(|(_, t)| match t {
                    Decision::Pass { remaining: least, .. } => remaining < least,
                    Decision::Refuse { .. } => false,
                });
                if tighter {
                    tightest = Some((limit, decision));
                }
            }
        }
    }
    Ok(tightest)
}

/// A body whose length is told and over the limit is refused before a byte of it is read.
fn check_length(route: &Route, request: &Request<ClientBody>) -> Result<(), Refusal> {
    let Some(limit) = route.body_limit else { return Ok(()) };
    let told: Option<u64> =
        request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    match told {
        Some(length) if length > limit => Err(Reason::BodyTooLarge.into()),
        _ => Ok(()),
    }
}

fn target(service: &Service, version: &Version) -> Target {
    Target {
        service: service.name.clone(),
        version: version.name.clone(),
        cells: Arc::clone(&version.cells),
    }
}

/// Whether the client may be switched to WebSocket: HTTP/1.1 only.
fn may_upgrade(request: &Request<ClientBody>) -> bool {
    request.version() == http::Version::HTTP_11
        && *request.method() == Method::GET
        && hop::wants_websocket(request.headers())
}

fn outgoing(
    request: Request<ClientBody>,
    route: &Route,
    version: &Version,
    forwarding: &Forwarding<'_>,
    path: &str,
    observation: &Observation,
    upgrade: bool,
) -> Result<Outgoing, Refusal> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    hop::strip_request(&mut headers);
    client::forward(&mut headers, forwarding);
    if let Some(id) = &observation.facts.request_id {
        headers.insert(REQUEST_ID, id.clone());
    }
    respond::apply(&route.request_headers, &mut headers);
    if upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    let target = forwarded_target(&parts.uri, path)?;
    let document = &version.upstream.document;
    let uri = match document.protocol {
        UpstreamProtocol::Http1 => {
            headers.entry(HOST).or_insert_with(|| forwarding.host.clone());
            if !body.is_empty() && !headers.contains_key(CONTENT_LENGTH) {
                // Said here, because hyper sends a GET's body only if it is framed.
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            Uri::from(target)
        }
        UpstreamProtocol::Http2 => {
            let host = headers.remove(HOST).unwrap_or_else(|| forwarding.host.clone());
            let scheme = if document.tls.is_some() { "https" } else { "http" };
            let uri = Uri::builder().scheme(scheme).authority(host.as_bytes());
            let uri = uri.path_and_query(target).build();
            uri.map_err(|error| Refusal::new(Reason::BadHost, error.to_string()))?
        }
    };
    let body = (!body.is_empty()).then(|| Replayable::new(body, route.body_limit));
    Ok(Outgoing {
        method: parts.method,
        uri,
        headers,
        body,
        retry_unsafe: route.retry_unsafe,
        upgrade,
    })
}

/// The target as it is sent on: the path that was matched, the query as it came.
fn forwarded_target(uri: &Uri, path: &str) -> Result<PathAndQuery, Refusal> {
    if uri.path() == path
        && let Some(same) = uri.path_and_query()
    {
        return Ok(same.clone());
    }
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    PathAndQuery::try_from(text).map_err(|error| Refusal::new(Reason::BadPath, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_never_takes_its_host_from_the_path() {
        assert_eq!(location("/", true, "//evil.test/x", None), "/evil.test/x");
        assert_eq!(location("https://a.test/", true, "//b", Some("q=1")), "https://a.test//b?q=1");
        assert_eq!(location("/", true, "/\\evil.test/x", None), "/evil.test/x");
        assert_eq!(location("/new", true, "/x", None), "/new/x");
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        let mut headers = http::HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1"));
        headers.append(COOKIE, HeaderValue::from_static("b=2"));
        join_cookies(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }
}
