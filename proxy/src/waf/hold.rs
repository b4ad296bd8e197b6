//! Bodies held in memory while rules look at them, and given back with what was not read.

use super::budget::{Budget, HeldBody};
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
    sync::Arc,
    task::{Poll, ready},
};

/// What may be held, and of what.
pub(super) struct Allowance<'a> {
    pub(super) of: &'a Arc<Budget>,
    /// Bytes of all bodies together.
    pub(super) most: usize,
}

/// Reads a request's body to its end, or to just over `most`; gives what an upstream is to read,
/// and what the rules are to see.
pub(super) async fn request(
    mut body: ClientBody,
    most: usize,
    budget: &Allowance<'_>,
) -> Result<(ClientBody, Bytes), Refusal> {
    if body.is_empty() {
        return Ok((ClientBody::Empty, Bytes::new()));
    }
    let mut held = HeldBody::new(budget.of);
    let mut trailers = None;
    let mut ended = false;
    while held.len() <= most && !ended {
        match body.next().await {
            None => ended = true,
            Some(Err(reason)) => return Err(reason.into()),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => held.push(&data, budget.most)?,
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

/// The same of a response's body, within the time its upstream has.
pub(super) async fn response(
    mut body: ResponseBody,
    most: usize,
    budget: &Allowance<'_>,
    pending: &mut Pending,
) -> Result<(ResponseBody, Bytes), Refusal> {
    let mut held = HeldBody::new(budget.of);
    let mut trailers = None;
    let mut ended = body.is_end_stream();
    while held.len() <= most && !ended {
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
            Some(Ok(data)) => held.push(&data, budget.most)?,
            Some(Err(frame)) => {
                trailers = frame.into_trailers().ok();
                ended = true;
            }
        }
    }
    let held = held.freeze();
    let rest = if ended { ResponseBody::empty() } else { body };
    Ok((ResponseBody::held(held.clone(), trailers, rest), held))
}
