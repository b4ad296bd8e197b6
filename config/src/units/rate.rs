use std::{fmt, str::FromStr, time::Duration};

/// A rate; written `"100/s"`, `"30/m"` or `"1000/h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Events per `per`, at least 1.
    pub count: u32,
    /// The period: one second, minute or hour.
    pub per: Duration,
}

/// Why a string is not a [`Rate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a rate such as `100/s`, `30/m` or `1000/h`, found `{0}`")]
pub struct InvalidRate(String);

const PERIODS: [(&str, Duration); 3] = [
    ("s", Duration::from_secs(1)),
    ("m", Duration::from_secs(60)),
    ("h", Duration::from_secs(3600)),
];

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        parse(text).ok_or_else(|| InvalidRate(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let (_, per) = PERIODS.into_iter().find(|(name, _)| *name == unit)?;
    // `u32::from_str` would take a leading `+`.
    let count = count.bytes().all(|b| b.is_ascii_digit()).then(|| count.parse().ok())??;
    (count > 0).then_some(Rate { count, per })
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PERIODS.into_iter().find(|(_, per)| *per == self.per) {
            Some((unit, _)) => write!(f, "{}/{unit}", self.count),
            None => write!(f, "{}/{:?}", self.count, self.per),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_not_a_rate() {
        for bad in ["", "100", "/s", "0/s", "+1/s", "1/d", "1 /s", "4294967296/s", "1/s/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn display_reads_back(count in 1..=u32::MAX, period in 0..3_usize) {
            let rate = Rate { count, per: PERIODS[period].1 };
            prop_assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate));
        }
    }
}
