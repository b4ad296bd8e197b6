//! One request and its response through a policy. The request's head and body, held up to the
//! policy's limits, are looked at before an upstream is contacted; the response's before the
//! client gets it.

use super::{
    Inspected, Outcome, Waf,
    budget::{Allowance, Full, Share},
    hold::{self, Held, Unheld},
};
use crate::{
    body::{ClientBody, ResponseBody},
    conn::Connection,
    normalise::hides_parent,
    observe::Observation,
    reason::Reason,
    request::Pending,
    respond::Refusal,
    snapshot::{Route, RouteAction, Snapshot},
};
use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tidegate_config::{Country, UpstreamProtocol, WafMode, WafOverLimit};
use tidegate_waf::{Cause, Limit, Transaction, Verdict};

/// Bytes looked at before other connections of the worker get their turn: about a millisecond.
const TURN: u64 = 256 * 1024;

/// Bytes that looking at one request takes without being counted: what else a request in progress
/// costs is of this order.
const UNCOUNTED: usize = 64 << 10;

/// Bytes that looking at one body may take beside it, whatever a client's part of the budget is.
const BESIDE: usize = 4 << 20;

/// What a policy knows of a request so far.
pub(crate) struct Inspection<'s> {
    waf: &'s Arc<Waf>,
    transaction: Transaction<'s>,
    allowance: Allowance<'s>,
    /// What the transaction takes, if that is more than [`UNCOUNTED`].
    share: Option<Share>,
    /// The longest pause of a request's body.
    body_timeout: Duration,
    /// What the route allows of it.
    body_limit: Option<u64>,
    /// Whether nobody behind this route takes a gRPC body for anything else.
    speaks_grpc: bool,
}

impl<'s> Inspection<'s> {
    pub(crate) fn new(
        waf: &'s Arc<Waf>,
        connection: &'s Connection,
        snapshot: &Snapshot,
        route: &Route,
        observation: &Observation,
    ) -> Self {
        let id = observation.facts.request_id.as_ref();
        let client = observation.facts.client;
        // Few rule sets ask for it, and a look into the database is not free.
        let asked = waf.policy.rules().asks_country();
        let country = asked.then(|| waf.guard.geo.country(client)).flatten();
        let ends = tidegate_waf::Connection {
            client,
            client_port: connection.peer.port(),
            server: connection.local.ip().to_canonical(),
            server_port: connection.local.port(),
            unique_id: id.map_or(b"", |id| id.as_bytes()),
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            country: country.map(Country::code),
        };
        let document = &waf.document;
        let largest = document.body_limit.max(document.upload_limit).max(document.response_limit);
        let most = snapshot.config.server.held_bodies.0 as usize;
        let one = largest.0 as usize + BESIDE;
        Self {
            waf,
            transaction: Transaction::new(&waf.policy, &ends),
            allowance: Allowance::new(&connection.core.held_bodies, client, most, one),
            share: None,
            body_timeout: connection.listener.limits.load().body_timeout,
            body_limit: route.body_limit,
            speaks_grpc: speaks_grpc(snapshot, route),
        }
    }

    /// Looks at a request; `path` is the path as routes match it. What was read of its body is in
    /// the request that is given back; an error is the answer.
    pub(crate) async fn request(
        &mut self,
        mut request: Request<ClientBody>,
        path: &str,
        observation: &mut Observation,
    ) -> Result<Request<ClientBody>, Refusal> {
        head(&mut self.transaction, &request);
        tell_path(&mut self.transaction, path);
        if self.transaction.request_headers().is_pass() {
            // The client may go while its body is waited for.
            if !self.transaction.matches().is_empty() {
                self.settle(observation);
            }
            let (parts, body) = request.into_parts();
            let body = self.request_body(&parts, body, observation).await?;
            request = Request::from_parts(parts, body);
        }
        if self.waf.document.response_bodies {
            // Rules read text.
            request.headers_mut().remove(ACCEPT_ENCODING);
        }
        self.settle(observation).map_or(Ok(request), Err)
    }

    /// Holds and looks at a body; gives back what an upstream is to read.
    async fn request_body(
        &mut self,
        parts: &Parts,
        mut body: ClientBody,
        observation: &mut Observation,
    ) -> Result<ClientBody, Refusal> {
        let mut seen = Ok(Bytes::new());
        if !(self.speaks_grpc && is_grpc(parts)) {
            let (limit, most) = most(self.waf, &parts.headers);
            // Nobody has to send what is refused for its length.
            if body.size_hint().lower() > most as u64 && !self.transaction.exceed(limit).is_pass() {
                return Ok(body);
            }
            // More than the route allows is never looked at.
            let allowed =
                usize::try_from(self.body_limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
            let most = most.min(allowed);
            Held { body, seen } =
                hold::request(body, most, self.body_timeout, &self.allowance).await?;
            if seen.as_ref().is_ok_and(|seen| seen.len() > allowed) {
                return Err(Reason::BodyTooLarge.into());
            }
        }
        if let Err(unheld) = seen {
            self.unheld(unheld, observation)?;
        }
        self.transaction.begin_request_body(&seen.unwrap_or_default());
        if let Err(full) = self.evaluate().await {
            self.unheld(Unheld::Full(full), observation)?;
        }
        if self.transaction.bytes() > UNCOUNTED {
            // An upstream may take its time.
            self.transaction.rest();
            let _ = self.charge();
        }
        Ok(body)
    }

    /// A request cannot be held, or not be looked at: it is refused, or goes on as it is.
    fn unheld(&mut self, why: Unheld, observation: &mut Observation) -> Result<(), Refusal> {
        if self.transaction.exceed(Limit::Held).is_pass() {
            return Ok(());
        }
        self.settle(observation);
        Err(why.refusal())
    }

    /// Looks at what an upstream answers; an error is the answer in its place.
    pub(crate) async fn response(
        &mut self,
        response: Response<ResponseBody>,
        pending: &mut Pending,
        observation: &mut Observation,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let (parts, mut body) = response.into_parts();
        if self.response_head(parts.status, &parts.headers).is_pass() {
            let readable = self.transaction.wants_response_body()
                && has_body(&observation.facts.method, parts.status)
                && !parts.headers.contains_key(CONTENT_ENCODING);
            let mut seen = Ok(Bytes::new());
            if readable {
                let most = self.waf.document.response_limit.0 as usize;
                Held { body, seen } = hold::response(body, most, &self.allowance, pending).await?;
            }
            if let Err(unheld) = seen {
                self.unheld_response(unheld, observation)?;
            }
            self.transaction.begin_response_body(&seen.unwrap_or_default());
            if let Err(full) = self.evaluate().await {
                self.unheld_response(Unheld::Full(full), observation)?;
            }
        }
        let refusal = self.settle(observation);
        refusal.map_or(Ok(Response::from_parts(parts, body)), Err)
    }

    /// Looks at the head of an answer that switches protocols; what follows is no response.
    pub(crate) fn switching(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        observation: &mut Observation,
    ) -> Result<(), Refusal> {
        self.response_head(status, headers);
        self.settle(observation).map_or(Ok(()), Err)
    }

    fn response_head(&mut self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        self.transaction.response_line(b"HTTP/1.1", status.as_u16());
        for (name, value) in headers {
            self.transaction.response_header(name.as_str().as_bytes(), value.as_bytes());
        }
        self.transaction.response_headers()
    }

    /// The same of a response. Its upstream has acted already: where the rest of a long one may
    /// pass, so may one that there is no room for.
    fn unheld_response(
        &mut self,
        why: Unheld,
        observation: &mut Observation,
    ) -> Result<(), Refusal> {
        if self.waf.document.on_limit.response == WafOverLimit::Block {
            return self.unheld(why, observation);
        }
        self.transaction.exceed_and_pass(Limit::Held);
        Ok(())
    }

    /// Lets the rules that sum up have their say. Every request comes here that is not dropped
    /// on its way.
    pub(crate) fn finish(mut self, observation: &mut Observation) {
        self.transaction.log();
        self.settle(observation);
    }

    /// Evaluates the phase that was begun, to its end or for as long as there is memory.
    async fn evaluate(&mut self) -> Result<(), Full> {
        loop {
            match self.transaction.advance(TURN) {
                Some(verdict) if !verdict.is_pass() => return Ok(()),
                Some(_) => return self.charge(),
                None => self.charge()?,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Counts what the transaction takes by now; where that is too much, what can be made again
    /// is let go of.
    fn charge(&mut self) -> Result<(), Full> {
        if self.cover().is_ok() {
            return Ok(());
        }
        self.transaction.rest();
        self.cover()
    }

    fn cover(&mut self) -> Result<(), Full> {
        let bytes = self.transaction.bytes();
        if bytes <= UNCOUNTED {
            self.share = None;
            return Ok(());
        }
        self.share.get_or_insert_with(|| self.allowance.share()).cover(bytes)
    }

    /// Notes what is known by now, and says what the client gets. Called after each part, since a
    /// client may leave before the next.
    fn settle(&self, observation: &mut Observation) -> Option<Refusal> {
        let cause = self.transaction.verdict().cause();
        let would = self.transaction.would_be().cause();
        let outcome = match cause {
            Some(Cause::Rule(_)) => Outcome::Blocked,
            Some(Cause::Limit(_)) => Outcome::Limited,
            None if self.waf.document.mode == WafMode::Detect && would.is_some() => {
                Outcome::Detected
            }
            None => Outcome::Passed,
        };
        // In detect mode a check may have found something before the rules ran.
        let check = observation.facts.inspected.take().and_then(|earlier| earlier.check);
        let outcome = if check.is_some() { outcome.at_least_detected() } else { outcome };
        let rules = Inspected::new(self.waf, outcome, cause.or(would), &self.transaction);
        let inspected = Inspected { check, ..rules };
        observation.facts.inspected = Some(Box::new(inspected));
        cause.map(|cause| refusal(self.waf, cause))
    }
}

/// The head as the client sent it: rules judge spellings, so nothing is normalised.
fn head(transaction: &mut Transaction<'_>, request: &Request<ClientBody>) {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let version: &[u8] = match request.version() {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        _ => b"HTTP/1.1",
    };
    transaction.request_line(request.method().as_str().as_bytes(), target.as_bytes(), version);
    if !request.headers().contains_key(http::header::HOST)
        && let Some(authority) = request.uri().authority()
    {
        transaction.request_header(b"host", authority.as_str().as_bytes());
    }
    for (name, value) in request.headers() {
        transaction.request_header(name.as_str().as_bytes(), value.as_bytes());
    }
}

/// Tells the path that a request goes to, for exclusions. One that some servers read as another
/// has none.
pub(super) fn tell_path(transaction: &mut Transaction<'_>, path: &str) {
    if !hides_parent(path) {
        transaction.route_path(path);
    }
}

/// Whether all who may get this route's requests speak HTTP/2. A service that speaks HTTP/1 may read
/// a body by its bytes, whatever its content type says.
fn speaks_grpc(snapshot: &Snapshot, route: &Route) -> bool {
    let RouteAction::Service(at) = route.action else { return false };
    let versions = &snapshot.services[at].versions;
    versions.iter().all(|version| version.upstream.document.protocol == UpstreamProtocol::Http2)
}

/// gRPC: its bodies have no end one could wait for. What says so and is anything else is held:
/// gRPC is HTTP/2's, and has one content type. WebSocket needs nothing here, since what it sends
/// comes after the request; a body before that is one like any other.
fn is_grpc(parts: &Parts) -> bool {
    let mut kinds = parts.headers.get_all(CONTENT_TYPE).iter().map(|kind| kind.as_bytes());
    let says_so = |kind: &[u8]| {
        let rest = kind.strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest, [] | [b'+' | b';', ..]))
    };
    parts.version == Version::HTTP_2 && kinds.next().is_some_and(says_so) && kinds.next().is_none()
}

/// How much of a body is held, and by which limit; of several content types the last one counts,
/// as for the rules.
fn most(waf: &Waf, headers: &HeaderMap) -> (Limit, usize) {
    let kind = headers.get_all(CONTENT_TYPE).iter().next_back().map(|kind| kind.as_bytes());
    let multipart = kind.is_some_and(|kind| {
        kind.trim_ascii()
            .get(..19)
            .is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/form-data"))
    });
    match multipart {
        true => (Limit::BodyWithFiles, waf.document.upload_limit.0 as usize),
        false => (Limit::Body, waf.document.body_limit.0 as usize),
    }
}

fn has_body(method: &Method, status: StatusCode) -> bool {
    *method != Method::HEAD && !matches!(status.as_u16(), 100..200 | 204 | 304)
}

fn refusal(waf: &Waf, cause: Cause) -> Refusal {
    let policy = &waf.name;
    match cause {
        Cause::Rule(id) => Refusal::new(reason(cause), format!("WAF policy `{policy}`: rule {id}")),
        Cause::Limit(limit) => {
            let detail = format!("WAF policy `{policy}`: limit `{}`", limit.word());
            Refusal::new(reason(cause), detail)
        }
    }
}

/// What the client is told: whatever status a rule names, a refusal is one.
pub(super) fn reason(cause: Cause) -> Reason {
    match cause {
        Cause::Rule(_) | Cause::Limit(Limit::ResponseBody) => Reason::WafBlocked,
        Cause::Limit(Limit::Body | Limit::BodyWithFiles) => Reason::BodyTooLarge,
        Cause::Limit(Limit::Held) => Reason::Overloaded,
        Cause::Limit(_) => Reason::WafLimit,
    }
}
