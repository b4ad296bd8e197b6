//! One request through a policy: its head, then its body, held up to the policy's limits, before
//! an upstream is contacted.

use super::{Geo, Inspected, Outcome, Waf};
use crate::{
    body::ClientBody, conn::Connection, hop, observe::Observation, reason::Reason, respond::Refusal,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Version, header::CONTENT_TYPE};
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_config::{Country, WafMode};
use tidegate_waf::{Cause, Limit, Transaction, Verdict};

/// Bytes looked at before other connections of the worker get their turn: about a millisecond.
const TURN: u64 = 256 * 1024;

/// Looks at a request. What was read of its body is in the request that is given back; an error
/// is the answer.
pub(crate) async fn inspect(
    waf: &Waf,
    connection: &Connection,
    observation: &mut Observation,
    request: Request<ClientBody>,
) -> Result<Request<ClientBody>, Refusal> {
    let mut transaction =
        Transaction::new(&waf.policy, &ends(connection, observation, &waf.guard.geo));
    head(&mut transaction, &request);
    let mut verdict = transaction.request_headers();
    let mut request = request;
    if verdict.is_pass() {
        let (parts, body) = request.into_parts();
        let (body, held) = match is_stream(&parts.headers) {
            true => (body, Bytes::new()),
            false => hold(body, most(waf, &parts.headers)).await?,
        };
        request = Request::from_parts(parts, body);
        transaction.begin_request_body(&held);
        verdict = loop {
            match transaction.advance(TURN) {
                Some(verdict) => break verdict,
                None => tokio::task::yield_now().await,
            }
        };
    }
    let refusal = settle(waf, &mut transaction, &verdict, observation);
    refusal.map_or(Ok(request), Err)
}

fn ends<'a>(
    connection: &Connection,
    observation: &'a Observation,
    geo: &Geo,
) -> tidegate_waf::Connection<'a> {
    let id = observation.facts.request_id.as_ref();
    tidegate_waf::Connection {
        client: observation.facts.client,
        client_port: connection.peer.port(),
        server: connection.local.ip().to_canonical(),
        server_port: connection.local.port(),
        unique_id: id.map_or(b"", |id| id.as_bytes()),
        time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        country: geo.country(observation.facts.client).map(Country::code),
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

/// gRPC and WebSocket: their bodies have no end one could wait for.
fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) || hop::wants_websocket(headers)
}

/// How much of a body is held.
fn most(waf: &Waf, headers: &HeaderMap) -> usize {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let multipart = kind.is_some_and(|kind| {
        kind.get(..19).is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/form-data"))
    });
    let limit = if multipart { waf.document.upload_limit } else { waf.document.body_limit };
    limit.0 as usize
}

/// Reads a body to its end, or to just over `most`; gives what an upstream is to read, and what
/// the rules are to see.
async fn hold(mut body: ClientBody, most: usize) -> Result<(ClientBody, Bytes), Refusal> {
    if body.is_empty() {
        return Ok((ClientBody::Empty, Bytes::new()));
    }
    let mut held = BytesMut::new();
    let mut trailers = None;
    let mut ended = false;
    while held.len() <= most && !ended {
        match body.next().await {
            None => ended = true,
            Some(Err(reason)) => return Err(reason.into()),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => held.extend_from_slice(&data),
                Err(frame) => {
                    trailers = frame.into_trailers().ok();
                    ended = true;
                }
            },
        }
    }
    let held = held.freeze();
    let rest = if ended { ClientBody::Empty } else { body };
    Ok((ClientBody::held(held.clone(), trailers, rest), held))
}

/// Counts, logs, and says what the client gets.
fn settle(
    waf: &Waf,
    transaction: &mut Transaction<'_>,
    verdict: &Verdict,
    observation: &mut Observation,
) -> Option<Refusal> {
    let score = |name| {
        transaction.variable(name).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok())
    };
    // The Core Rule Set's name for it since 4.0, and before.
    let score = score("blocking_inbound_anomaly_score").or_else(|| score("anomaly_score"));
    let cause = cause(verdict);
    let outcome = match cause {
        Some(Cause::Rule(_)) => Outcome::Blocked,
        Some(Cause::Limit(_)) => Outcome::Limited,
        None if waf.document.mode == WafMode::Detect
            && self::cause(transaction.would_be()).is_some() =>
        {
            Outcome::Detected
        }
        None => Outcome::Passed,
    };
    // In detect mode a check may have found something before.
    let check = observation.facts.inspected.take().and_then(|earlier| earlier.check);
    let outcome = if check.is_some() { outcome.at_least_detected() } else { outcome };
    let matches = transaction.matches();
    waf.counts.count(outcome, matches.iter().map(|found| found.id));
    if !matches.is_empty() || outcome != Outcome::Passed {
        let inspected = Inspected { check, ..Inspected::new(&waf.name, outcome, score, matches) };
        observation.facts.inspected = Some(Box::new(inspected));
    }
    cause.map(|cause| refusal(waf, cause))
}

fn cause(verdict: &Verdict) -> Option<Cause> {
    match verdict {
        Verdict::Pass => None,
        Verdict::Deny { cause, .. } | Verdict::Drop { cause } | Verdict::Redirect { cause, .. } => {
            Some(*cause)
        }
    }
}

fn refusal(waf: &Waf, cause: Cause) -> Refusal {
    let policy = &waf.name;
    match cause {
        Cause::Rule(id) => {
            Refusal::new(Reason::WafBlocked, format!("WAF policy `{policy}`: rule {id}"))
        }
        Cause::Limit(limit) => {
            let reason = match limit {
                Limit::Body | Limit::BodyWithFiles => Reason::BodyTooLarge,
                _ => Reason::WafLimit,
            };
            Refusal::new(reason, format!("WAF policy `{policy}`: limit `{}`", limit.word()))
        }
    }
}
