//! The certificates we manage ourselves, for the whole process.

use crate::{held::Held, name_map::NameMap, names};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tidegate_config::TlsIssuer;

/// Who issues for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    Acme,
    Internal,
}

impl Origin {
    /// Who issues for `name` on a listener with `issuer`.
    pub(crate) fn of(name: &str, issuer: TlsIssuer) -> Self {
        if issuer == TlsIssuer::Internal || names::is_local(name) {
            Self::Internal
        } else {
            Self::Acme
        }
    }

    /// As part of keys, labels and answers.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Acme => "acme",
            Self::Internal => "internal",
        }
    }
}

/// One certificate per origin and name; bounded by the names ever wanted and still stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    acme: NameMap<Arc<Held>>,
    internal: NameMap<Arc<Held>>,
}

impl Table {
    pub(crate) fn of(&self, origin: Origin) -> &NameMap<Arc<Held>> {
        match origin {
            Origin::Acme => &self.acme,
            Origin::Internal => &self.internal,
        }
    }

    fn of_mut(&mut self, origin: Origin) -> &mut NameMap<Arc<Held>> {
        match origin {
            Origin::Acme => &mut self.acme,
            Origin::Internal => &mut self.internal,
        }
    }
}

/// The table as it is now: read without locks, replaced whole.
#[derive(Debug, Default)]
pub(crate) struct Managed(ArcSwap<Table>);

impl Managed {
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Table>> {
        self.0.load()
    }

    /// Puts a certificate in force, whatever is there.
    pub(crate) fn replace(&self, origin: Origin, name: &str, held: &Arc<Held>) {
        self.0.rcu(|table| {
            let mut table = table.as_ref().clone();
            table.of_mut(origin).insert(name, Arc::clone(held));
            table
        });
    }

    /// Puts certificates in force unless one at least as new is there; says whether any was.
    pub(crate) fn adopt(&self, fresh: &[(Origin, String, Arc<Held>)]) -> bool {
        let mut adopted = false;
        self.0.rcu(|table| {
            adopted = false;
            let mut table = table.as_ref().clone();
            for (origin, name, held) in fresh {
                let names = table.of_mut(*origin);
                if names.get(name).is_none_or(|old| is_newer(held, old)) {
                    names.insert(name, Arc::clone(held));
                    adopted = true;
                }
            }
            table
        });
        adopted
    }

    /// Drops certificates.
    pub(crate) fn forget(&self, names: &[(Origin, String)]) {
        if names.is_empty() {
            return;
        }
        self.0.rcu(|table| {
            let mut table = table.as_ref().clone();
            for (origin, name) in names {
                table.of_mut(*origin).remove(name);
            }
            table
        });
    }
}

/// Issued later; lifetimes say nothing, they differ between CAs.
fn is_newer(fresh: &Held, old: &Held) -> bool {
    let (fresh, old) = (&fresh.certificate, &old.certificate);
    fresh.serial != old.serial
        && (fresh.not_before, fresh.not_after) >= (old.not_before, old.not_after)
}
