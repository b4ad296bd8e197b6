//! Who is asking, and whether they may.

use super::{Problem, probes};
use crate::{
    clock::{Moment, Stamp},
    plane::Plane,
    role::Role,
};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderValue, header};
use std::sync::Arc;

/// Where a connection of the control API comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A TCP connection; the peer is known by its token only.
    Tcp,
    /// A Unix socket; the kernel says who is there.
    Unix {
        /// The peer's effective user id when it connected.
        uid: u32,
    },
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Unique and stable: a token's id, or `uid:N`.
    pub(crate) subject: String,
    /// The author of what it does: a token's name, or `uid:N`.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
}

impl Caller {
    /// A stamp of what the caller does now.
    pub(crate) fn stamp(&self, reason: Option<&str>) -> Stamp {
        Stamp::now(&self.name, reason)
    }
}

/// Finds out who the caller is and refuses those nobody knows, except at the probes.
pub(crate) async fn identify(
    State(plane): State<Arc<Plane>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(Peer::Tcp);
    let open = [probes::LIVEZ, probes::READYZ].contains(&request.uri().path());
    match caller(&plane, peer, request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
        }
        Err(_) if open => {}
        Err(problem) => return Err(problem),
    }
    Ok(next.run(request).await)
}

/// A token counts even on a Unix socket: whoever shows one wants to be that one.
fn caller(plane: &Plane, peer: Peer, headers: &HeaderMap) -> Result<Caller, Problem> {
    let mut presented = headers.get_all(header::AUTHORIZATION).iter();
    match (presented.next(), presented.next(), peer) {
        (Some(value), None, _) => bearer(plane, value),
        (Some(_), Some(_), _) => Err(refused("Authorization is given twice")),
        (None, _, Peer::Unix { uid }) => by_uid(uid),
        (None, _, Peer::Tcp) => Err(refused(
            "send `Authorization: Bearer TOKEN` (make one with `tidegate token create` on the \
             machine itself)",
        )),
    }
}

fn bearer(plane: &Plane, value: &HeaderValue) -> Result<Caller, Problem> {
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let Some(token) = token else {
        return Err(refused("expected `Authorization: Bearer TOKEN`"));
    };
    let token = plane
        .tokens
        .verify(token, Moment::now())
        .ok_or_else(|| refused("the token is unknown, revoked or expired"))?;
    Ok(Caller { subject: token.id, name: token.name, role: token.role })
}

/// Root and the user the process runs as own it anyhow.
fn by_uid(uid: u32) -> Result<Caller, Problem> {
    if uid == 0 || uid == rustix::process::geteuid().as_raw() {
        let name = format!("uid:{uid}");
        Ok(Caller { subject: name.clone(), name, role: Role::Admin })
    } else {
        Err(refused(format!("user {uid} is neither root nor the one Tidegate runs as")))
    }
}

fn refused(detail: impl Into<String>) -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"tidegate\"");
    Problem::unauthenticated(detail).header(header::WWW_AUTHENTICATE, challenge)
}

/// Refuses callers below the role.
pub(crate) async fn require(
    State(needed): State<Role>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(caller) = request.extensions().get::<Caller>() else {
        return Err(refused("nobody is known to be asking"));
    };
    if caller.role < needed {
        let Caller { name, role, .. } = caller;
        return Err(Problem::forbidden(format!("`{name}` is a {role}; this needs a {needed}")));
    }
    Ok(next.run(request).await)
}
