use super::decimal;
use std::{fmt, str::FromStr};

/// A weight: 0 to 10,000 with at most two decimals, kept in hundredths. Weights are relative
/// to the other versions of their service; written as shares of 100 they are percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Weight(u32);

/// Why a string is not a [`Weight`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a weight from 0 to 10000 with at most two decimals, found `{0}`")]
pub struct InvalidWeight(String);

impl Weight {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// The largest weight, in hundredths.
    pub const MAX_HUNDREDTHS: u32 = 1_000_000;

    /// A weight from hundredths; `None` above [`Self::MAX_HUNDREDTHS`].
    pub fn try_from_hundredths(hundredths: u32) -> Option<Self> {
        (hundredths <= Self::MAX_HUNDREDTHS).then_some(Self(hundredths))
    }

    /// The weight in hundredths.
    pub fn hundredths(self) -> u32 {
        self.0
    }
}

impl FromStr for Weight {
    type Err = InvalidWeight;

    fn from_str(text: &str) -> Result<Self, InvalidWeight> {
        parse(text).ok_or_else(|| InvalidWeight(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Weight> {
    let (numerator, digits) = decimal(text)?;
    let hundredths = match digits {
        0 => numerator.checked_mul(100)?,
        1 => numerator.checked_mul(10)?,
        2 => numerator,
        _ => return None,
    };
    Weight::try_from_hundredths(u32::try_from(hundredths).ok()?)
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{}", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02}"),
        }
    }
}

impl serde::Serialize for Weight {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(100) {
            serializer.serialize_u32(self.0 / 100)
        } else {
            serializer.serialize_f64(f64::from(self.0) / 100.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_up_to_two_decimals() {
        let weight = |text: &str| text.parse().ok().map(Weight::hundredths);
        assert_eq!(weight("0"), Some(0));
        assert_eq!(weight("0.05"), Some(5));
        assert_eq!(weight("12.5"), Some(1_250));
        assert_eq!(weight("10000"), Some(1_000_000));
        assert_eq!(weight("33.3300"), Some(3_333));
        for bad in ["", "-1", "10000.01", "0.001", "1e2", "nan", "1.", ".5", "5%"] {
            assert_eq!(weight(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn display_reads_back(hundredths in 0..=Weight::MAX_HUNDREDTHS) {
            let weight = Weight::try_from_hundredths(hundredths).unwrap();
            prop_assert_eq!(weight.to_string().parse::<Weight>(), Ok(weight));
        }
    }
}
