//! Wall-clock time in records and answers: who did what when. Nothing is held or limited by it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A moment, as RFC 3339 in UTC with whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(#[serde(with = "time::serde::rfc3339")] OffsetDateTime);

impl Moment {
    /// The present.
    pub fn now() -> Self {
        Self::whole(OffsetDateTime::now_utc())
    }

    /// The moment `seconds` later; the last one the calendar knows if that is beyond it.
    pub fn after(self, seconds: u64) -> Self {
        let seconds = time::Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
        Self(self.0.saturating_add(seconds))
    }

    fn whole(moment: OffsetDateTime) -> Self {
        Self(moment.replace_nanosecond(0).unwrap_or(moment))
    }
}

/// Who changed something, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The token's name, or `uid:N` of a local peer.
    pub author: String,
    /// When.
    pub time: Moment,
    /// Why, in the author's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Stamp {
    /// A stamp of this moment.
    pub fn now(author: &str, reason: Option<&str>) -> Self {
        Self { author: author.to_owned(), time: Moment::now(), reason: reason.map(str::to_owned) }
    }
}
