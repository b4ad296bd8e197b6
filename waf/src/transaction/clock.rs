//! The time of day, for the rules that ask (`TIME`, `TIME_WDAY`, ..): always UTC.

use super::Transaction;
use crate::seclang::Collection;

impl Transaction<'_> {
    /// `seconds` are counted from 1970.
    pub(super) fn clock(&mut self, seconds: u64) {
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let (year, month, day) = date(days);
        let time = format!("{hour:02}:{minute:02}:{second:02}");
        self.set(Collection::Time, time.as_bytes());
        for (collection, value) in [
            (Collection::TimeHour, hour),
            (Collection::TimeMin, minute),
            (Collection::TimeSec, second),
            (Collection::TimeDay, day),
            // As C counts: from 0, and weeks from Sunday. 1970 began on a Thursday.
            (Collection::TimeMon, month - 1),
            (Collection::TimeWday, (days + 4) % 7),
            (Collection::TimeYear, year),
        ] {
            self.set(collection, value.to_string().as_bytes());
        }
    }
}

/// Year, month and day of the month of a day counted from 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // Years that begin in March end with the day that may be missing; eras of 400 of them are
    // equally long.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (20_777, (2026, 11, 20)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }
}
