//! Leases between the processes of one machine.
//!
//! A lease ends at a time of the machine's boot clock, which all its processes share and nobody
//! can set: a jump of the wall clock neither ends nor prolongs a lease. A lease taken before a
//! reboot (another *era*) is over, since nobody who held it can still run; so is one whose holder
//! is a process that has ended ([`crate::holder()`]). Where the system
//! has no boot id, the era is constant and the wall clock counts; a jump back then prolongs a
//! lease, but by at most its own length ([`remaining`]), and a holder that is overtaken by a
//! jump forward is told apart by its token.

use super::schema;
use crate::{Lease, holder::has_ended};
use rusqlite::{Connection, OptionalExtension};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time that processes of this machine agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Which clock, such as the boot id.
    pub(super) era: String,
    /// Milliseconds of that clock.
    pub(super) ms: u64,
}

/// Reads the clock of leases.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    boot: Option<String>,
}

impl Clock {
    pub(super) fn of_this_machine() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .map(|id| id.trim().to_owned())
            .filter(|id| !id.is_empty());
        Self { boot }
    }

    pub(super) fn now(&self) -> Moment {
        match &self.boot {
            Some(boot) => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                let ms = now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000;
                Moment { era: boot.clone(), ms }
            }
            None => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Moment { era: "wall".to_owned(), ms: now.as_millis() as u64 }
            }
        }
    }
}

struct Row {
    holder: String,
    token: u64,
    era: String,
    expires_ms: u64,
}

pub(super) fn acquire(
    conn: &Connection,
    name: &str,
    holder: &str,
    ttl: Duration,
    now: &Moment,
) -> rusqlite::Result<Option<Lease>> {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).min(i64::MAX as u64 / 4);
    let expires_ms = now.ms.saturating_add(ttl_ms);
    let token = match read(conn, name)? {
        Some(row) if remaining(&row, now, ttl_ms) => {
            if row.holder == holder {
                row.token
            } else if has_ended(&row.holder) {
                schema::add(conn, "token", 1)?
            } else {
                return Ok(None);
            }
        }
        _ => schema::add(conn, "token", 1)?,
    };
    conn.prepare_cached(
        "INSERT INTO leases (name, holder, token, era, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO UPDATE SET holder = ?2, token = ?3, era = ?4, expires_ms = ?5",
    )?
    .execute((name, holder, token, &now.era, expires_ms))?;
    // Leases of names that are gone must not pile up.
    conn.prepare_cached("DELETE FROM leases WHERE era <> ?1 OR expires_ms <= ?2")?
        .execute((&now.era, now.ms))?;
    Ok(Some(Lease { name: name.to_owned(), holder: holder.to_owned(), token }))
}

pub(super) fn release(conn: &Connection, lease: &Lease) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM leases WHERE name = ?1 AND holder = ?2 AND token = ?3")?
        .execute((&lease.name, &lease.holder, lease.token))?;
    Ok(())
}

/// Whether `lease` is held now under its token.
pub(super) fn is_held(conn: &Connection, lease: &Lease, now: &Moment) -> rusqlite::Result<bool> {
    Ok(read(conn, &lease.name)?.is_some_and(|row| {
        row.token == lease.token
            && row.holder == lease.holder
            && row.era == now.era
            && now.ms < row.expires_ms
    }))
}

fn remaining(row: &Row, now: &Moment, ttl_ms: u64) -> bool {
    // More time left than anybody asks for: the wall clock went back.
    let jumped =
        row.era == "wall" && row.expires_ms.saturating_sub(now.ms) > ttl_ms.saturating_mul(2);
    row.era == now.era && now.ms < row.expires_ms && !jumped
}

fn read(conn: &Connection, name: &str) -> rusqlite::Result<Option<Row>> {
    conn.prepare_cached("SELECT holder, token, era, expires_ms FROM leases WHERE name = ?1")?
        .query_row([name], |row| {
            Ok(Row {
                holder: row.get(0)?,
                token: row.get(1)?,
                era: row.get(2)?,
                expires_ms: row.get(3)?,
            })
        })
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn at(ms: u64) -> Moment {
        Moment { era: "boot-1".into(), ms }
    }

    fn memory() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        schema::create(&mut conn, 0).unwrap();
        conn
    }

    #[test]
    fn the_lease_of_a_process_that_was_killed_is_taken_over_under_another_token() {
        let conn = memory();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let start = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().to_owned();
        let this = crate::holder("next");
        let namespace = this.rsplit('.').next().unwrap();
        let before = format!("before#{}.{start}.{namespace}", child.id());
        let first = acquire(&conn, "leader", &before, TTL, &at(0)).unwrap().unwrap();
        assert_eq!(acquire(&conn, "leader", &this, TTL, &at(1)).unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
        let second = acquire(&conn, "leader", &this, TTL, &at(2)).unwrap().unwrap();
        assert!(second.token > first.token);
        assert!(!is_held(&conn, &first, &at(3)).unwrap());
    }

    #[test]
    fn a_lease_changes_hands_only_when_it_has_ended_and_then_its_token_rises() {
        let conn = memory();
        let first = acquire(&conn, "leader", "a", TTL, &at(0)).unwrap().unwrap();
        assert_eq!(acquire(&conn, "leader", "b", TTL, &at(9_999)).unwrap(), None);
        let kept = acquire(&conn, "leader", "a", TTL, &at(9_999)).unwrap().unwrap();
        assert_eq!(kept, first);
        assert!(is_held(&conn, &first, &at(19_998)).unwrap());
        let second = acquire(&conn, "leader", "b", TTL, &at(19_999)).unwrap().unwrap();
        assert!(second.token > first.token);
        assert!(!is_held(&conn, &first, &at(19_999)).unwrap());
        release(&conn, &first).unwrap();
        assert!(is_held(&conn, &second, &at(19_999)).unwrap(), "an old holder cannot release");
    }

    #[test]
    fn a_released_lease_is_free_and_its_token_is_not_given_again() {
        let conn = memory();
        let first = acquire(&conn, "leader", "a", TTL, &at(0)).unwrap().unwrap();
        release(&conn, &first).unwrap();
        let second = acquire(&conn, "leader", "b", TTL, &at(1)).unwrap().unwrap();
        assert!(second.token > first.token);
    }

    #[test]
    fn a_reboot_ends_every_lease() {
        let conn = memory();
        acquire(&conn, "leader", "a", TTL, &at(5)).unwrap();
        let later = Moment { era: "boot-2".into(), ms: 1 };
        assert!(acquire(&conn, "leader", "b", TTL, &later).unwrap().is_some());
    }

    #[test]
    fn a_wall_clock_that_went_back_does_not_hold_a_lease_for_ever() {
        let conn = memory();
        let wall = |ms| Moment { era: "wall".into(), ms };
        acquire(&conn, "leader", "a", TTL, &wall(86_400_000)).unwrap();
        assert!(acquire(&conn, "leader", "b", TTL, &wall(1_000)).unwrap().is_some());
    }
}
