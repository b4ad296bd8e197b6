use super::{decimal, split_unit};
use std::{fmt, str::FromStr};

/// A number of bytes; written `"64KiB"`, `"12.5MiB"`, `"1GiB"` or `"512B"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Why a string is not a [`ByteSize`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a size such as `64KiB`, `12.5MiB` or `512B`, found `{0}`")]
pub struct InvalidByteSize(String);

/// Largest first: the order in which `Display` looks for a unit without a remainder.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        parse(text).map(Self).ok_or_else(|| InvalidByteSize(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let (numerator, digits) = decimal(number)?;
    let scaled = u128::from(numerator).checked_mul(u128::from(factor))?;
    let divisor = 10_u128.checked_pow(digits)?;
    // A part of a byte is a typing error, not something to round away.
    (scaled % divisor == 0).then(|| u64::try_from(scaled / divisor).ok())?
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |factor: u64| self.0 >= factor && self.0.is_multiple_of(factor);
        let (unit, factor) =
            UNITS.into_iter().find(|(_, factor)| fits(*factor)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_binary_units_and_fractions_of_whole_bytes() {
        let size = |text: &str| text.parse::<ByteSize>().map(|size| size.0).ok();
        assert_eq!(size("0B"), Some(0));
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("12.5MiB"), Some(13_107_200));
        assert_eq!(size("1.50GiB"), Some(1_610_612_736));
        for bad in ["", "64", "KiB", "64KB", "64kib", "-1B", "0.3B", "1.KiB", ".5KiB", "1 KiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        assert_eq!(size("99999999999999999999GiB"), None);
        assert_eq!(size("18014398509481984KiB"), None, "one above the largest");
    }

    proptest! {
        #[test]
        fn display_reads_back(bytes: u64, shift in 0..64_u32) {
            let size = ByteSize(bytes >> shift << (shift / 2));
            prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*|[0-9.]{0,30}[KMG]?i?B?") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
