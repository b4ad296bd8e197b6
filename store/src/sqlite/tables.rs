//! Reads and writes, in SQL. Everything here runs inside a transaction of its caller.

use super::{lease, lease::Moment, schema};
use crate::{Change, Committed, Compare, Entry, Op, Revision};
use rusqlite::{Connection, OptionalExtension, Row};

/// Deletions remembered for watchers that resume from an earlier revision.
const DELETIONS: u64 = 50_000;
/// How often (in revisions) older ones are forgotten.
const FORGET_EVERY: u64 = 512;

/// How far a watcher has read. Changes are ordered by revision, then key.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) revision: u64,
    /// The last key read of `revision`; `None` once all of it was read.
    pub(super) key: Option<String>,
}

pub(super) fn get(conn: &Connection, key: &str) -> rusqlite::Result<Option<Entry>> {
    conn.prepare_cached("SELECT key, value, revision FROM entries WHERE key = ?1")?
        .query_row([key], entry)
        .optional()
}

pub(super) fn range(conn: &Connection, prefix: &str) -> rusqlite::Result<(Vec<Entry>, Revision)> {
    let entries = conn
        .prepare_cached(
            "SELECT key, value, revision FROM entries
             WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key",
        )?
        .query_map((prefix, after_prefix(prefix)), entry)?
        .collect::<Result<_, _>>()?;
    Ok((entries, Revision(schema::counter(conn, "revision")?)))
}

pub(super) fn txn(
    conn: &Connection,
    compares: &[Compare],
    ops: &[Op],
    now: &Moment,
) -> rusqlite::Result<Committed> {
    for compare in compares {
        let holds = match compare {
            Compare::Revision { key, is } => revision_of(conn, key)? == is.0,
            Compare::Held(lease) => lease::is_held(conn, lease, now)?,
        };
        if !holds {
            return Ok(Committed::No);
        }
    }
    let present = schema::counter(conn, "revision")?;
    let revision = present + 1;
    let mut wrote = false;
    for op in ops {
        wrote |= match op {
            Op::Put { key, value } => put(conn, key, value, revision)?,
            Op::Delete { key } => delete(conn, key, revision)?,
        };
    }
    if !wrote {
        return Ok(Committed::Yes(Revision(present)));
    }
    schema::add(conn, "revision", 1)?;
    if revision.is_multiple_of(FORGET_EVERY) {
        forget(conn, DELETIONS)?;
    }
    Ok(Committed::Yes(Revision(revision)))
}

/// The next changes under `prefix`, at most `limit`, and the cursor behind them.
pub(super) fn changes(
    conn: &Connection,
    prefix: &str,
    cursor: &Cursor,
    limit: usize,
) -> rusqlite::Result<(Vec<Change>, Cursor)> {
    let present = schema::counter(conn, "revision")?;
    let from = cursor.revision;
    let found: Vec<Change> = conn
        .prepare_cached(
            "SELECT key, value, revision FROM entries
             WHERE (revision > ?1 OR (revision = ?1 AND key > ?2))
               AND key >= ?3 AND (?4 IS NULL OR key < ?4)
             UNION ALL
             SELECT key, NULL, revision FROM deletions
             WHERE (revision > ?1 OR (revision = ?1 AND key > ?2))
               AND key >= ?3 AND (?4 IS NULL OR key < ?4)
             ORDER BY revision, key LIMIT ?5",
        )?
        .query_map(
            (
                from,
                // A key no key is greater than, when all of this revision was read.
                cursor.key.as_deref().unwrap_or("\u{10ffff}\u{10ffff}"),
                prefix,
                after_prefix(prefix),
                limit,
            ),
            change,
        )?
        .collect::<Result<_, _>>()?;
    let cursor = match found.last() {
        Some(Change::Put(Entry { key, revision, .. }) | Change::Delete { key, revision })
            if found.len() == limit =>
        {
            Cursor { revision: revision.0, key: Some(key.clone()) }
        }
        _ => Cursor { revision: present.max(from), key: None },
    };
    Ok((found, cursor))
}

/// Forgets all but the newest `keep` deletions.
fn forget(conn: &Connection, keep: u64) -> rusqlite::Result<()> {
    let oldest: Option<u64> = conn
        .query_row(
            "SELECT revision FROM deletions ORDER BY revision DESC, key DESC LIMIT 1 OFFSET ?1",
            [keep],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(revision) = oldest {
        conn.execute("DELETE FROM deletions WHERE revision <= ?1", [revision])?;
        conn.execute("UPDATE meta SET value = ?1 WHERE name = 'forgotten'", [revision])?;
    }
    Ok(())
}

fn revision_of(conn: &Connection, key: &str) -> rusqlite::Result<u64> {
    let found = conn
        .prepare_cached("SELECT revision FROM entries WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

fn put(conn: &Connection, key: &str, value: &[u8], revision: u64) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "INSERT INTO entries (key, revision, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET revision = ?2, value = ?3",
    )?
    .execute((key, revision, value))?;
    conn.prepare_cached("DELETE FROM deletions WHERE key = ?1")?.execute([key])?;
    Ok(true)
}

fn delete(conn: &Connection, key: &str, revision: u64) -> rusqlite::Result<bool> {
    let existed = conn.prepare_cached("DELETE FROM entries WHERE key = ?1")?.execute([key])? > 0;
    if existed {
        conn.prepare_cached("INSERT OR REPLACE INTO deletions (key, revision) VALUES (?1, ?2)")?
            .execute((key, revision))?;
    }
    Ok(existed)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry { key: row.get(0)?, value: row.get(1)?, revision: Revision(row.get(2)?) })
}

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    let (key, revision) = (row.get(0)?, Revision(row.get(2)?));
    Ok(match row.get(1)? {
        Some(value) => Change::Put(Entry { key, value, revision }),
        None => Change::Delete { key, revision },
    })
}

/// The least text greater than everything that starts with `prefix`; `None` if there is none.
/// UTF-8 sorts by code point, so the last one is raised.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // Skips the surrogates, which are no characters.
        let next =
            if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        schema::create(&mut conn, 0).unwrap();
        conn
    }

    fn write(conn: &Connection, ops: &[Op]) {
        let now = Moment { era: "test".into(), ms: 0 };
        assert!(matches!(txn(conn, &[], ops, &now).unwrap(), Committed::Yes(_)));
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_text() {
        assert_eq!(after_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(after_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(after_prefix("\u{10ffff}"), None);
        assert_eq!(after_prefix(""), None);
    }

    #[test]
    fn a_full_page_of_changes_continues_within_its_revision() {
        let conn = memory();
        let ops: Vec<Op> =
            (0..5).map(|n| Op::Put { key: format!("k{n}"), value: vec![n] }).collect();
        write(&conn, &ops);
        write(&conn, &[Op::Delete { key: "k1".into() }]);
        let mut cursor = Cursor { revision: 0, key: None };
        let mut seen = Vec::new();
        loop {
            let (found, next) = changes(&conn, "k", &cursor, 2).unwrap();
            if found.is_empty() {
                break;
            }
            cursor = next;
            seen.extend(found.into_iter().map(|change| match change {
                Change::Put(entry) => format!("+{}", entry.key),
                Change::Delete { key, .. } => format!("-{key}"),
            }));
        }
        assert_eq!(seen, ["+k0", "+k2", "+k3", "+k4", "-k1"]);
        assert_eq!(cursor.revision, 2);
    }

    #[test]
    fn old_deletions_are_forgotten_and_that_is_remembered() {
        let conn = memory();
        for n in 0..4 {
            write(&conn, &[Op::Put { key: format!("k{n}"), value: vec![] }]);
            write(&conn, &[Op::Delete { key: format!("k{n}") }]);
        }
        forget(&conn, 2).unwrap();
        assert_eq!(schema::counter(&conn, "forgotten").unwrap(), 4);
        let (left, _) = changes(&conn, "", &Cursor { revision: 0, key: None }, 10).unwrap();
        assert_eq!(left.len(), 2);
    }
}
