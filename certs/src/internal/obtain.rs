//! Agreeing with other processes on one root and one intermediate, through the store.

use super::{DAY, InternalCa, authority::Authority, internal};
use crate::{
    clock::after,
    error::CertsError,
    stored::{self, StoredCertificate, Unreadable},
};
use std::{sync::Arc, time::Duration};
use tidegate_store::{Committed, Compare, Entry, Op, Revision, Store, StoreError};
use time::OffsetDateTime;

/// Turns to agree with another process.
const TURNS: u32 = 4;
/// A root this close to its end is replaced.
const ROOT_REST: Duration = DAY.saturating_mul(30);

/// What a new one takes the place of.
#[derive(Default)]
struct Previous {
    revision: Revision,
    /// It could not be read, and is kept aside.
    broken: Option<Entry>,
}

/// The intermediate in the store; made, as its root, if there is none that can be used or it is
/// due. If the store cannot be written one that is due is better than none, and one that only this
/// process knows than one that has ended. What an operator is to know goes to `notices`.
pub(crate) async fn obtain(
    store: &Arc<dyn Store>,
    now: OffsetDateTime,
    notices: &mut Vec<String>,
) -> Result<InternalCa, CertsError> {
    for _ in 0..TURNS {
        let (held, previous) = load(store, stored::INTERMEDIATE, notices, InternalCa::read).await?;
        let held = match held {
            Some((ca, _)) if !ca.is_due(now) => {
                set_broken_root_aside(store, now, notices).await?;
                return Ok(ca);
            }
            held => held.map(|(ca, _)| ca),
        };
        // Another process was quicker.
        let Some(root) = root(store, now, notices).await? else { continue };
        let made = root.authority.intermediate(&root.pem, now);
        let made = made.map_err(|error| internal("its intermediate", &error))?;
        let kept = match root.kept {
            Ok(()) => put(store, stored::INTERMEDIATE, previous, &made, now).await,
            Err(error) => Err(error),
        };
        let made = InternalCa::read(&made).map_err(|cause| internal("its intermediate", &cause));
        match kept {
            Ok(true) => {
                tracing::info!("the internal CA has an intermediate now");
                return made;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "the internal CA's new intermediate cannot be stored");
                let held = held.filter(|held| held.not_after > now);
                return held.map_or_else(|| Ok(made?.until_stored(now)), Ok);
            }
        }
    }
    Err(internal("its intermediate", &"other processes keep changing it in the store"))
}

struct Root {
    authority: Authority,
    pem: String,
    /// Without it in the store nothing below it is stored: it would be lost, and what it signed not.
    kept: Result<(), StoreError>,
}

/// The root is not needed while the intermediate is good, but its loss is to be known early.
async fn set_broken_root_aside(
    store: &Arc<dyn Store>,
    now: OffsetDateTime,
    notices: &mut Vec<String>,
) -> Result<(), CertsError> {
    let (_, previous) = load(store, stored::ROOT, notices, Authority::read).await?;
    let Some(broken) = previous.broken else { return Ok(()) };
    notices.push(
        "the internal CA's root is lost: what it signed stays good, and there is a new root to trust \
         when the intermediate is renewed"
            .to_owned(),
    );
    let compare = Compare::Revision { key: stored::ROOT.to_owned(), is: previous.revision };
    let kept = Op::Put { key: stored::broken_key(stored::ROOT, now), value: broken.value };
    let gone = Op::Delete { key: stored::ROOT.to_owned() };
    if let Err(error) = store.txn(vec![compare], vec![kept, gone]).await {
        notices.push(format!("the broken root could not be kept aside: {error}"));
    }
    Ok(())
}

/// The root in the store; made if there is none that can be used. `None` if another process made
/// one in between.
async fn root(
    store: &Arc<dyn Store>,
    now: OffsetDateTime,
    notices: &mut Vec<String>,
) -> Result<Option<Root>, CertsError> {
    let (held, previous) = load(store, stored::ROOT, notices, Authority::read).await?;
    if let Some((root, stored)) = held {
        if root.carries_intermediates() && after(now, ROOT_REST) < root.not_after {
            return Ok(Some(Root { authority: root, pem: stored.chain, kept: Ok(()) }));
        }
        notices.push("the internal CA's root ends soon, or allows no intermediate".to_owned());
    }
    let is_first = previous.revision == Revision(0);
    let made = Authority::root(now).map_err(|error| internal("its root", &error))?;
    let kept = match put(store, stored::ROOT, previous, &made, now).await {
        Ok(true) => Ok(()),
        Ok(false) => return Ok(None),
        Err(error) => Err(error),
    };
    match is_first {
        _ if kept.is_err() => {}
        true => tracing::info!("the internal CA has a root now"),
        false => notices.push(
            "the internal CA has a new root: clients have to trust it anew (`tidegate certs trust`)"
                .to_owned(),
        ),
    }
    let authority = Authority::read(&made).map_err(|cause| internal("its root", &cause))?;
    Ok(Some(Root { authority, pem: made.chain, kept }))
}

/// What is stored under `key`, if it can be read, and what a new one would replace.
async fn load<T>(
    store: &Arc<dyn Store>,
    key: &str,
    notices: &mut Vec<String>,
    read: fn(&StoredCertificate) -> Result<T, String>,
) -> Result<(Option<(T, StoredCertificate)>, Previous), CertsError> {
    let Some(entry) = store.get(key).await? else { return Ok((None, Previous::default())) };
    let revision = entry.revision;
    let decoded = stored::decode::<StoredCertificate>(&entry.value);
    if let Err(Unreadable::Newer(format)) = decoded {
        // To make another would be to have every client trust a new root.
        return Err(CertsError::Newer { key: key.to_owned(), format });
    }
    let read = decoded.map_err(|cause| cause.to_string()).and_then(|stored| {
        let held = read(&stored)?;
        Ok((held, stored))
    });
    match read {
        Ok(held) => Ok((Some(held), Previous { revision, broken: None })),
        Err(cause) => {
            notices.push(format!(
                "`{key}` in the store was broken ({cause}); it is kept aside below `{}`",
                stored::BROKEN
            ));
            Ok((None, Previous { revision, broken: Some(entry) }))
        }
    }
}

/// Puts a new one in the place of what was found; `false` if there is another by now.
async fn put(
    store: &Arc<dyn Store>,
    key: &str,
    previous: Previous,
    made: &StoredCertificate,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let compare = Compare::Revision { key: key.to_owned(), is: previous.revision };
    let mut ops = vec![Op::Put { key: key.to_owned(), value: stored::encode(made) }];
    if let Some(broken) = previous.broken {
        ops.push(Op::Put { key: stored::broken_key(key, now), value: broken.value });
    }
    Ok(store.txn(vec![compare], ops).await? != Committed::No)
}
