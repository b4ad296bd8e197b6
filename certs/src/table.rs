//! The certificates we manage ourselves, for the whole process.

use crate::{held::Held, name_map::NameMap, names};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tidegate_config::TlsIssuer;
use tidegate_store::Revision;

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

/// A certificate for a name.
pub(crate) type Fresh = (Origin, String, Arc<Held>);

/// The table as it is now: read without locks, replaced whole.
#[derive(Debug, Default)]
pub(crate) struct Managed(ArcSwap<Table>);

impl Managed {
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Table>> {
        self.0.load()
    }

    pub(crate) fn load_full(&self) -> Arc<Table> {
        self.0.load_full()
    }

    /// Puts certificates just issued in force, whatever is there: each is newer than anything
    /// the store has shown so far.
    pub(crate) fn replace(&self, fresh: &[Fresh]) {
        if fresh.is_empty() {
            return;
        }
        self.0.rcu(|table| {
            let mut table = table.as_ref().clone();
            for (origin, name, held) in fresh {
                let names = table.of_mut(*origin);
                if let Some(old) = names.get(name) {
                    held.seen_at(old.revision());
                }
                names.insert(name, Arc::clone(held));
            }
            table
        });
    }

    /// Puts certificates from the store in force where they are newer, by the store's revision:
    /// dates say little, CAs backdate as they like. Says which were.
    pub(crate) fn adopt(&self, mut fresh: Vec<Fresh>) -> Vec<Fresh> {
        let table = self.load();
        fresh.retain(|(origin, name, held)| match table.of(*origin).get(name) {
            Some(old) if old.certificate.serial == held.certificate.serial => {
                old.seen_at(held.revision());
                false
            }
            Some(old) => old.revision() < held.revision(),
            None => true,
        });
        drop(table);
        if fresh.is_empty() {
            // Looked before the table is copied: a reconnect brings thousands that are known.
            return fresh;
        }
        self.0.rcu(|table| {
            let mut table = table.as_ref().clone();
            for (origin, name, held) in &fresh {
                let names = table.of_mut(*origin);
                if names.get(name).is_none_or(|old| old.revision() < held.revision()) {
                    names.insert(name, Arc::clone(held));
                }
            }
            table
        });
        fresh
    }

    /// Whether what `revision` wrote for `name` has been looked at.
    pub(crate) fn knows(&self, origin: Origin, name: &str, revision: Revision) -> bool {
        self.load().of(origin).get(name).is_some_and(|held| held.revision() >= revision)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{Certificate, tests::pem};
    use time::OffsetDateTime;

    const NAME: &str = "a.example.com";

    fn fresh(revision: u64, day: i64) -> Fresh {
        let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let (chain, key) = pem(&[NAME], start + time::Duration::days(day), 90);
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        (Origin::Acme, NAME.to_owned(), Held::stored(certificate, Revision(revision)))
    }

    fn served(managed: &Managed) -> String {
        managed.load().of(Origin::Acme).get(NAME).unwrap().certificate.serial.clone()
    }

    #[test]
    fn the_later_write_wins_whatever_its_dates_say() {
        let managed = Managed::default();
        let (first, backdated) = (fresh(3, 0), fresh(5, -30));
        assert_eq!(managed.adopt(vec![first.clone()]).len(), 1);
        assert_eq!(managed.adopt(vec![backdated.clone()]).len(), 1);
        assert_eq!(served(&managed), backdated.2.certificate.serial);
        assert!(managed.adopt(vec![first, backdated]).is_empty());
        assert!(managed.knows(Origin::Acme, NAME, Revision(5)));
        assert!(!managed.knows(Origin::Acme, NAME, Revision(6)));
    }

    #[test]
    fn what_was_just_issued_is_not_undone_by_what_the_store_still_has() {
        let managed = Managed::default();
        let (stored, issued) = (fresh(3, 0), fresh(0, -1));
        managed.adopt(vec![stored.clone()]);
        managed.replace(std::slice::from_ref(&issued));
        assert!(managed.adopt(vec![stored]).is_empty());
        assert_eq!(served(&managed), issued.2.certificate.serial);
        assert_eq!(managed.adopt(vec![fresh(4, -2)]).len(), 1, "another process ordered later");
    }
}
