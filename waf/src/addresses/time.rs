//! Moments as lists write them, to seconds since 1970.

use super::{NEVER, Until, address::number};

/// `2026-12-01T00:00:00Z`, with an offset (`+02:00`) or as a day (`2026-12-01`, from midnight
/// UTC): RFC 3339.
pub(super) fn moment(text: &[u8]) -> Option<Until> {
    let digits = |from: usize, count: usize| {
        text.get(from..from + count).and_then(|part| number(part, count)).map(i64::from)
    };
    let is = |at: usize, wanted: &[u8]| text.get(at).is_some_and(|byte| wanted.contains(byte));
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let calendar = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    if !calendar || !is(4, b"-") || !is(7, b"-") {
        return None;
    }
    let midnight = days_since_1970(year, month, day) * 86_400;
    if text.len() == 10 {
        return bounded(midnight);
    }
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    // A leap second is the last one of its minute.
    let clock = hour < 24 && minute < 60 && second <= 60;
    if !clock || !is(10, b"Tt ") || !is(13, b":") || !is(16, b":") {
        return None;
    }
    let fraction = text[19..]
        .strip_prefix(b".")
        .map_or(0, |rest| 1 + rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let zone = 19 + fraction;
    let offset = match &text[zone..] {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits(zone + 1, 2)?, digits(zone + 4, 2)?);
            if hours > 23 || minutes > 59 || fraction == 1 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
        }
        _ => return None,
    };
    bounded(midnight + hour * 3_600 + minute * 60 + second.min(59) - offset)
}

/// What lies behind the range never comes, what lies before it has passed.
pub(super) fn bounded(seconds: i64) -> Option<Until> {
    Some(Until::try_from(seconds.max(0)).unwrap_or(NEVER))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    years + (1..month).map(|month| days_of(year, month)).sum::<i64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29", 951_782_400),
            ("2026-12-01T00:00:00Z", 1_796_083_200),
            ("2026-12-01T02:00:00+02:00", 1_796_083_200),
            ("2026-11-30T19:30:00.25-04:30", 1_796_083_200),
            ("1969-01-01", 0),
            ("2999-01-01", NEVER),
        ] {
            assert_eq!(moment(text.as_bytes()), Some(seconds), "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-12-01T24:00:00Z",
            "2026-12-01T00:00:00",
            "2026-12-01T00:00:00+2:00",
            "2026-12-01 noon",
            "2026-12-01T00:00:00.Z1",
        ] {
            assert_eq!(moment(text.as_bytes()), None, "{text}");
        }
    }
}
