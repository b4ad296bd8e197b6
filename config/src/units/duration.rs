use std::{fmt, time::Duration};

/// Why a string is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a duration such as `2s`, `500ms`, `5m` or `1h`, found `{0}`")]
pub struct InvalidDuration(String);

/// Largest first: the order in which [`show_duration`] looks for a unit without a remainder.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration: a whole number and one of `ms`, `s`, `m`, `h`.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    parse(text).ok_or_else(|| InvalidDuration(text.to_owned()))
}

/// Shows a duration as [`parse_duration`] reads it, in the largest unit without a remainder.
/// Parts of a millisecond, which the document cannot express, are shown with a fraction.
pub fn show_duration(duration: Duration) -> impl fmt::Display {
    Shown(duration)
}

struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.subsec_nanos().is_multiple_of(1_000_000);
        let (Ok(millis), true) = (u64::try_from(self.0.as_millis()), whole) else {
            return write!(f, "{:?}", self.0);
        };
        let fits = |factor: u64| millis >= factor && millis.is_multiple_of(factor);
        let (unit, factor) =
            UNITS.into_iter().find(|(_, factor)| fits(*factor)).unwrap_or(("s", 1_000));
        write!(f, "{}{unit}", millis / factor)
    }
}

fn parse(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(factor).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_one_number_and_one_unit() {
        let duration = |text| parse_duration(text).ok();
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Some(Duration::from_secs(3600)));
        for bad in ["", "2", "s", "2 s", "2 sconds", "1h30m", "1.5s", "-1s", "+1s", "2S"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(duration("18446744073709551615h"), None);
    }

    #[test]
    fn shows_the_largest_whole_unit() {
        let shown = |millis| show_duration(Duration::from_millis(millis)).to_string();
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(1_500), "1500ms");
        assert_eq!(shown(90_000), "90s");
        assert_eq!(shown(7_200_000), "2h");
    }

    proptest! {
        #[test]
        fn shown_durations_read_back(millis in 0..=u64::MAX / 3_600_000, unit in 0..4_usize) {
            let duration = Duration::from_millis(millis * UNITS[unit].1);
            prop_assert_eq!(parse_duration(&show_duration(duration).to_string()), Ok(duration));
        }
    }
}
