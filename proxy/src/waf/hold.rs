//! Bodies held in memory while rules look at them, and given back with what was not read.

use super::{
    budget::{Allowance, Full, HeldBody},
    pace::Pace,
};
use crate::{
    body::{ClientBody, ResponseBody},
    reason::Reason,
    request::Pending,
    respond::Refusal,
};
use bytes::Bytes;
use http_body::Body;
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// A body to be passed on, and what the rules are to see of it.
pub(super) struct Held<B> {
    pub(super) body: B,
    pub(super) seen: Result<Bytes, Unheld>,
}

/// Why a body is not held: it is passed on without having been looked at, or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unheld {
    Full(Full),
    /// It comes too slowly to keep memory for it.
    Slow,
}

impl Unheld {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Full(full) => full.refusal(),
            Self::Slow => {
                Refusal::new(Reason::BodyTimeout, "a body held for a WAF policy came too slowly")
            }
        }
    }
}

/// Reads a request's body to its end, or to just over `most`, unless it comes too slowly: `window`
/// is the longest pause it may make.
pub(super) async fn request(
    mut body: ClientBody,
    most: usize,
    window: Duration,
    allowance: &Allowance<'_>,
) -> Result<Held<ClientBody>, Refusal> {
    if body.is_empty() {
        return Ok(Held { body: ClientBody::Empty, seen: Ok(Bytes::new()) });
    }
    let mut held = HeldBody::new(allowance);
    let mut pace = Pace::new(window, Instant::now());
    let mut unheld = None;
    let mut trailers = None;
    let mut ended = false;
    while held.len() <= most && !ended && unheld.is_none() {
        match timeout_at(pace.due(), body.next()).await {
            Err(_) => unheld = Some(Unheld::Slow),
            Ok(None) => ended = true,
            Ok(Some(Err(reason))) => return Err(reason.into()),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    unheld = held.push(&data).err().map(Unheld::Full);
                    pace.came(held.len(), Instant::now);
                }
                Err(frame) => {
                    trailers = frame.into_trailers().ok();
                    ended = true;
                }
            },
        }
    }
    let held = held.freeze();
    let rest = if ended { ClientBody::Empty } else { body };
    let body = ClientBody::held(held.clone(), trailers, rest);
    Ok(Held { body, seen: unheld.map_or(Ok(held), Err) })
}

/// The same of a response's body, within the time its upstream has.
pub(super) async fn response(
    mut body: ResponseBody,
    most: usize,
    allowance: &Allowance<'_>,
    pending: &mut Pending,
) -> Result<Held<ResponseBody>, Refusal> {
    let mut held = HeldBody::new(allowance);
    let mut unheld = None;
    let mut trailers = None;
    let mut ended = body.is_end_stream();
    while held.len() <= most && !ended && unheld.is_none() {
        let frame = poll_fn(|cx| {
            if let Some(deadline) = &mut pending.deadline
                && deadline.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Err(Refusal::from(Reason::TotalTimeout)));
            }
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(frame) => {
                    pending.pause.over();
                    let broken = |_| Refusal::from(Reason::UpstreamTruncated);
                    Poll::Ready(frame.transpose().map_err(broken))
                }
                Poll::Pending => {
                    ready!(pending.pause.poll(cx));
                    Poll::Ready(Err(Reason::UpstreamTruncated.into()))
                }
            }
        });
        match frame.await?.map(http_body::Frame::into_data) {
            None => ended = true,
            Some(Ok(data)) => unheld = held.push(&data).err().map(Unheld::Full),
            Some(Err(frame)) => {
                trailers = frame.into_trailers().ok();
                ended = true;
            }
        }
    }
    let held = held.freeze();
    let rest = if ended { ResponseBody::empty() } else { body };
    let body = ResponseBody::held(held.clone(), trailers, rest);
    Ok(Held { body, seen: unheld.map_or(Ok(held), Err) })
}
