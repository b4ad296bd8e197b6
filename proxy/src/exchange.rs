//! The exchange with an upstream: attempts, and what may be tried again.
//!
//! A request is sent again always when not one byte of it was written (or the server says it
//! did not process it: REFUSED_STREAM, a stream above GOAWAY's last id); otherwise only if its
//! method is idempotent (RFC 9110 section 9.2.2) or the route allows it, no byte of a response
//! came, the body is still held, and the upstream's retry budget has something left.

use crate::{
    body::{Replayable, UpstreamBody},
    reason::Reason,
    respond::Refusal,
    upstream::{
        ConnectError, Endpoint, H1Sender, InFlight, Lease, Upstream, connect_h1, connect_h2,
    },
};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tidegate_config::UpstreamProtocol;
use tokio::time::{Instant, timeout, timeout_at};

/// A request ready for an upstream.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Origin form for HTTP/1, absolute for HTTP/2.
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// `None` = no body.
    pub(crate) body: Option<Replayable>,
    pub(crate) retry_unsafe: bool,
    /// Whether a 101 is what the client asked for.
    pub(crate) upgrade: bool,
}

/// An upstream's answer, head only.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
    pub(crate) attempts: u32,
}

/// Why an attempt failed.
struct Failure {
    reason: Reason,
    detail: String,
    /// Whether the upstream may have seen some of the request.
    sent: bool,
    /// The connection came from a pool: its server may just have closed it.
    stale: bool,
}

/// A refusal after some attempts; the last endpoint tried is told.
pub(crate) struct Failed {
    pub(crate) refusal: Refusal,
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    pub(crate) attempts: u32,
}

/// Sends `request` to one of the upstream's endpoints, trying again where the rules allow.
pub(crate) async fn exchange(
    upstream: &Upstream,
    worker: usize,
    request: &Outgoing,
    deadline: Option<Instant>,
) -> Result<Answer, Failed> {
    upstream.deposit();
    let mut tried: Vec<Arc<Endpoint>> = Vec::new();
    let mut attempts = 0;
    let mut fresh = false;
    loop {
        let Some(in_flight) = upstream.choose(worker, &tried) else {
            let detail = format!("upstream `{}` has no usable endpoint", upstream.name);
            let refusal = Refusal::new(Reason::NoEndpoint, detail);
            return Err(Failed { refusal, endpoint: tried.pop(), attempts });
        };
        attempts += 1;
        let endpoint = Arc::clone(in_flight.endpoint());
        let failure = match attempt(upstream, worker, request, in_flight, deadline, fresh).await {
            Ok((response, lease)) => return Ok(Answer { response, lease, attempts }),
            Err(failure) => failure,
        };
        let again = attempts <= upstream.document.retries.attempts
            && may_repeat(request, &failure)
            && (!failure.sent || upstream.withdraw());
        if !again {
            let detail = format!("{}: {}", endpoint.address, failure.detail);
            let refusal = Refusal::new(failure.reason, detail);
            return Err(Failed { refusal, endpoint: Some(endpoint), attempts });
        }
        upstream.shared.retries.fetch_add(1, Relaxed);
        tracing::debug!(
            upstream = %upstream.name,
            endpoint = %endpoint.address,
            cause = failure.detail,
            "trying again"
        );
        fresh = failure.stale;
        if !failure.stale {
            tried.push(endpoint);
        }
    }
}

fn may_repeat(request: &Outgoing, failure: &Failure) -> bool {
    let whole = request.body.as_ref().is_none_or(Replayable::is_whole);
    let repeatable = match failure.reason {
        Reason::ConnectFailed | Reason::ConnectTimeout | Reason::UpstreamReset => true,
        _ => false, // a slow or broken answer is an answer
    };
    let idempotent = request.retry_unsafe
        || matches!(
            request.method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        );
    repeatable && whole && (!failure.sent || (idempotent && !request.upgrade))
}

async fn attempt(
    upstream: &Upstream,
    worker: usize,
    request: &Outgoing,
    in_flight: InFlight,
    deadline: Option<Instant>,
    fresh: bool,
) -> Result<(Response<Incoming>, Lease), Failure> {
    let endpoint = in_flight.endpoint();
    let pool = &upstream.document.pool;
    match upstream.document.protocol {
        UpstreamProtocol::Http1 => {
            let (mut sender, stale) = match pooled(upstream, endpoint, worker, fresh).await {
                Some(sender) => (sender, true),
                None => {
                    let connect = Box::pin(connect_h1(upstream, endpoint));
                    (within(deadline, connect).await?, false)
                }
            };
            let sending = sender.try_send_request(assemble(request, Version::HTTP_11));
            let sent = head_in_time(upstream, request, deadline, sending).await;
            let response = sent.map_err(|error| classify(error, request, stale))?;
            // After an upgrade the connection belongs to the tunnel.
            let keep = response.status() != http::StatusCode::SWITCHING_PROTOCOLS;
            let sender = keep.then_some(sender);
            let body = request.body.clone();
            let lease =
                Lease { sender, _stream: None, body, in_flight, worker, max_idle: pool.idle };
            Ok((response, lease))
        }
        UpstreamProtocol::Http2 => {
            let room = endpoint.pools[worker].h2(pool.streams.get());
            let ((mut sender, stream), shared) = match room {
                Some(connection) => (connection, true),
                None => {
                    let connect = Box::pin(connect_h2(upstream, endpoint, worker));
                    (within(deadline, connect).await?, false)
                }
            };
            let sending = sender.try_send_request(assemble(request, Version::HTTP_2));
            let sent = head_in_time(upstream, request, deadline, sending).await;
            // A stream that was refused says nothing about the connection the others share.
            let response =
                sent.map_err(|error| classify(error, request, shared && sender.is_closed()))?;
            let _stream = Some(stream);
            let lease = Lease { sender: None, _stream, body: None, in_flight, worker, max_idle: 0 };
            Ok((response, lease))
        }
    }
}

/// A pooled connection has this long to notice that its last exchange is over.
const SETTLE: Duration = Duration::from_millis(20);

/// A pooled connection that is ready for a request.
async fn pooled(
    upstream: &Upstream,
    endpoint: &Endpoint,
    worker: usize,
    fresh: bool,
) -> Option<H1Sender> {
    if fresh {
        return None;
    }
    while let Some(mut sender) = endpoint.pools[worker].take(upstream.document.pool.idle_timeout) {
        // Its task may still be about to notice that the last response is over.
        if sender.is_ready() || matches!(timeout(SETTLE, sender.ready()).await, Ok(Ok(()))) {
            return Some(sender);
        }
    }
    None
}

fn assemble(request: &Outgoing, version: Version) -> Request<UpstreamBody> {
    let body = request.body.as_ref().map_or(UpstreamBody::EMPTY, Replayable::attempt);
    let mut assembled = Request::new(body);
    *assembled.method_mut() = request.method.clone();
    *assembled.uri_mut() = request.uri.clone();
    *assembled.version_mut() = version;
    *assembled.headers_mut() = request.headers.clone();
    assembled
}

async fn within<T>(
    deadline: Option<Instant>,
    connecting: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, Failure> {
    let unsent = |reason, detail| Failure { reason, detail, sent: false, stale: false };
    let connected = match deadline {
        None => connecting.await,
        Some(deadline) => match timeout_at(deadline, connecting).await {
            Ok(connected) => connected,
            Err(_) => return Err(unsent(Reason::TotalTimeout, "the total timeout passed".into())),
        },
    };
    connected.map_err(|error| {
        let reason = match error {
            ConnectError::Timeout(_) => Reason::ConnectTimeout,
            _ => Reason::ConnectFailed,
        };
        unsent(reason, error.to_string())
    })
}

/// How sending ended short of a response head.
enum SendError {
    Unsent(hyper::Error),
    Broken(hyper::Error),
    Slow(Duration),
    Deadline,
}

async fn head_in_time(
    upstream: &Upstream,
    request: &Outgoing,
    deadline: Option<Instant>,
    sending: impl Future<
        Output = Result<
            Response<Incoming>,
            hyper::client::conn::TrySendError<Request<UpstreamBody>>,
        >,
    >,
) -> Result<Response<Incoming>, SendError> {
    let patience = upstream.document.timeouts.response;
    let mut head_by = Instant::now() + patience;
    let mut taken = 0;
    let mut sending = std::pin::pin!(sending);
    loop {
        let until = deadline.map_or(head_by, |deadline| deadline.min(head_by));
        match timeout_at(until, sending.as_mut()).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(mut error)) => {
                return Err(match error.take_message() {
                    Some(_) => SendError::Unsent(error.into_error()),
                    None => SendError::Broken(error.into_error()),
                });
            }
            Err(_) if deadline == Some(until) => return Err(SendError::Deadline),
            Err(_) => {}
        }
        // The upstream's time runs from the request's last byte; until then the upload has to
        // move (a client that pauses has its own limit).
        let Some(body) = &request.body else { return Err(SendError::Slow(patience)) };
        head_by = match body.delivered() {
            Some(at) if at + patience > Instant::now() => at + patience,
            None if body.taken() > taken => Instant::now() + patience,
            _ => return Err(SendError::Slow(patience)),
        };
        taken = body.taken();
    }
}

fn classify(error: SendError, request: &Outgoing, stale: bool) -> Failure {
    // A body that the client broke is the client's fault, whatever the upstream made of it.
    if let Some(reason) = request.body.as_ref().and_then(Replayable::failed) {
        let detail = "the request body failed".to_owned();
        return Failure { reason, detail, sent: true, stale: false };
    }
    let (reason, detail, sent) = match error {
        SendError::Deadline => (Reason::TotalTimeout, "the total timeout passed".to_owned(), true),
        SendError::Slow(patience) => {
            (Reason::ResponseTimeout, format!("no response head within {patience:?}"), true)
        }
        SendError::Unsent(error) => (Reason::UpstreamReset, chain(&error), false),
        SendError::Broken(error) if error.is_parse() => {
            (Reason::UpstreamMalformed, chain(&error), true)
        }
        SendError::Broken(error) => (Reason::UpstreamReset, chain(&error), !refused(&error)),
    };
    Failure { reason, detail, sent, stale: stale && reason == Reason::UpstreamReset }
}

/// Whether the server says that it did not process the request (RFC 9113 section 8.7).
fn refused(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            // Only streams above a GOAWAY's last id end with it, whatever its code.
            return (h2.is_go_away() && h2.is_remote())
                || h2.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        source = error.source();
    }
    false
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
