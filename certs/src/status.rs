//! What an operator sees of certificates.

use crate::{
    Inner,
    clock::rfc3339,
    files,
    held::Held,
    internal::RENEW_AT_PERCENT,
    job::renews_at,
    on_demand::Wish,
    schedule::Schedule,
    state::{Attempt, State},
    table::Origin,
};
use serde::Serialize;
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};
use time::OffsetDateTime;

/// A certificate that is served or wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// The names it covers, or the one it is wanted for.
    pub names: Vec<String>,
    /// Where it comes from.
    pub source: Source,
    /// The issuer of `[acme]` that issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Whether it is had on demand: no document names it, a client asked for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub on_demand: bool,
    /// Its chain's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Whether it is there.
    pub state: CertificateState,
    /// The issuer's distinguished name.
    pub issuer: Option<String>,
    /// The serial number, in hexadecimal.
    pub serial: Option<String>,
    /// RFC 3339.
    pub not_before: Option<String>,
    /// RFC 3339.
    pub not_after: Option<String>,
    /// When it is ordered or issued again (RFC 3339); files are renewed by their owner.
    pub next_renewal: Option<String>,
    /// Until when the OCSP answer is good that clients are shown (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staple_until: Option<String>,
    /// What is wrong and what to do about it.
    pub last_error: Option<String>,
    /// What is worth knowing though nothing is wrong, such as names it does not cover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Files of a listener.
    File,
    /// The internal CA.
    Internal,
    /// An issuer of `[acme]`.
    Acme,
}

/// Whether a certificate is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateState {
    /// It is served.
    Held,
    /// There is none yet; it is being ordered or will be.
    Ordering,
    /// There is none, and none is to be had as things are.
    Missing,
}

const UNWANTED: &str = "no listener has a use for it: shown to clients that ask for its names, and \
     not renewed";

const UNSTAPLED: &str = "says that it is shown with an OCSP answer, and there is none yet: clients that \
     insist on it refuse the certificate";

const SHALLOW: &str = "many clients refuse a wildcard right below a top-level name: name the hosts \
     in `names` of `tls`";

pub(crate) fn list(inner: &Inner) -> Vec<CertificateStatus> {
    let now = inner.clock.now();
    let table = inner.managed.load();
    let state = inner.state.lock();
    let mut all: Vec<CertificateStatus> = Vec::new();
    for ((cert, _), pair) in &state.files {
        let held = &pair.loaded.held;
        all.push(CertificateStatus {
            file: Some(cert.clone()),
            last_error: pair.error.clone().or_else(|| files::warning(held, now)),
            ..of_held(held, Source::File)
        });
    }
    let mut shown = BTreeSet::new();
    for (origin, name) in &state.wanted.names {
        let held = match origin {
            Origin::Internal => table.of(*origin).get(name),
            Origin::Acme => state.shown_for(&table, name).0,
        };
        shown.extend(held.map(Arc::as_ptr));
        all.push(match origin {
            Origin::Internal => internal(&state, name, held),
            Origin::Acme => acme(&state, name, held, &inner.schedule, now),
        });
    }
    for (name, wish) in &state.wishes {
        if !state.names(Origin::Acme, name) {
            let held = table.of(Origin::Acme).get(name);
            shown.extend(held.map(Arc::as_ptr));
            all.push(demanded(&state, name, wish, held, &inner.schedule, now));
        }
    }
    for (origin, source) in [(Origin::Acme, Source::Acme), (Origin::Internal, Source::Internal)] {
        for held in table.of(origin).values() {
            // One that has several names is there under each.
            if shown.insert(Arc::as_ptr(held)) {
                all.push(CertificateStatus {
                    remark: Some(UNWANTED.to_owned()),
                    ..of_held(held, source)
                });
            }
        }
    }
    for (name, reason) in &state.wanted.impossible {
        all.push(CertificateStatus {
            last_error: Some((*reason).to_owned()),
            ..absent(name, Source::Acme, CertificateState::Missing)
        });
    }
    all.sort_by(|one, other| one.names.cmp(&other.names));
    all
}

fn internal(state: &State, name: &str, held: Option<&Arc<Held>>) -> CertificateStatus {
    // RFC 6125 leaves it open, webpki and browsers do not.
    let shallow = name.strip_prefix("*.").is_some_and(|rest| !rest.contains('.'));
    let last_error = state.internal_errors.get(name).cloned();
    let last_error = last_error.or_else(|| shallow.then(|| SHALLOW.to_owned()));
    match held {
        Some(held) => CertificateStatus {
            next_renewal: Some(rfc3339(held.certificate.renew_at(RENEW_AT_PERCENT))),
            last_error,
            ..of_held(held, Source::Internal)
        },
        None => CertificateStatus {
            last_error,
            ..absent(name, Source::Internal, CertificateState::Missing)
        },
    }
}

fn acme(
    state: &State,
    name: &str,
    held: Option<&Arc<Held>>,
    schedule: &Schedule,
    now: OffsetDateTime,
) -> CertificateStatus {
    let none = Attempt::default();
    let attempt = state.attempts.get(name).unwrap_or(&none);
    let renewal = state.renewals.get(name);
    let due = match (held, &state.wanted.acme) {
        (Some(held), Some(acme)) => renews_at(&held.certificate, acme, renewal),
        _ => now,
    };
    let next = attempt.next.map_or(due, |next| next.max(due));
    let given_up = attempt.is_given_up(schedule, now);
    let status = match held {
        Some(held) => of_held(held, Source::Acme),
        None if given_up => absent(name, Source::Acme, CertificateState::Missing),
        None => absent(name, Source::Acme, CertificateState::Ordering),
    };
    let last_error = attempt.error.as_ref().map(|error| match given_up {
        true => format!(
            "given up after {} days of failures, until `[acme]` changes in how it orders or \
             `tidegate certs renew {name}` asks for it: {error}",
            schedule.give_up.as_secs() / 86_400
        ),
        false => error.clone(),
    });
    CertificateStatus {
        authority: held.and_then(|_| state.issued.get(name).map(|issued| issued.authority.clone())),
        next_renewal: (!given_up).then(|| rfc3339(next)),
        last_error,
        remark: one_label(name).or(status.remark.clone()),
        ..status
    }
}

/// One that is not renewed says why.
fn demanded(
    state: &State,
    name: &str,
    wish: &Wish,
    held: Option<&Arc<Held>>,
    schedule: &Schedule,
    now: OffsetDateTime,
) -> CertificateStatus {
    let status = acme(state, name, held, schedule, now);
    let status = CertificateStatus { on_demand: true, ..status };
    let why_not = match state.keep() {
        None => "no listener has names on demand any more",
        _ if wish.now.withdrawn => "it is no longer allowed",
        Some(keep) if wish.is_unused(keep, now) => "no client used it for so long",
        Some(_) => return status,
    };
    let remark = Some(format!("not renewed: {why_not}"));
    CertificateStatus { next_renewal: None, remark, ..status }
}

/// A route's wildcard matches any number of labels, a certificate's one (RFC 9525 section 6.3).
fn one_label(name: &str) -> Option<String> {
    let rest = name.strip_prefix("*.")?;
    Some(format!("covers one label before `{rest}`, so neither `{rest}` nor `a.b.{rest}`"))
}

fn of_held(held: &Held, source: Source) -> CertificateStatus {
    let certificate = &held.certificate;
    CertificateStatus {
        names: certificate.names.clone(),
        source,
        authority: None,
        on_demand: false,
        file: None,
        state: CertificateState::Held,
        issuer: Some(certificate.issuer.clone()),
        serial: Some(certificate.serial.clone()),
        not_before: Some(rfc3339(certificate.not_before)),
        not_after: Some(rfc3339(certificate.not_after)),
        next_renewal: None,
        staple_until: held.standing().until.map(rfc3339),
        last_error: None,
        remark: (certificate.must_staple && held.standing().until.is_none())
            .then(|| UNSTAPLED.to_owned()),
    }
}

fn absent(name: &str, source: Source, state: CertificateState) -> CertificateStatus {
    CertificateStatus {
        names: vec![name.to_owned()],
        source,
        authority: None,
        on_demand: false,
        file: None,
        state,
        issuer: None,
        serial: None,
        not_before: None,
        not_after: None,
        next_renewal: None,
        staple_until: None,
        last_error: None,
        remark: None,
    }
}
