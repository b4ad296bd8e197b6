//! Sets of byte values, and the tests on bytes that need no pattern.

/// A set of byte values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    /// The bytes for which `test` holds.
    pub(crate) fn of(test: impl Fn(u8) -> bool) -> Self {
        let mut set = Self::default();
        for byte in 0..=255 {
            if test(byte) {
                set.add(byte);
            }
        }
        set
    }

    /// The bytes that occur in `text`.
    pub(crate) fn in_text(text: &[u8]) -> Self {
        let mut set = Self::default();
        for &byte in text {
            set.add(byte);
        }
        set
    }

    pub(crate) const fn add(&mut self, byte: u8) {
        self.0[(byte >> 6) as usize] |= 1 << (byte & 63);
    }

    pub(crate) fn add_range(&mut self, low: u8, high: u8) {
        for byte in low..=high {
            self.add(byte);
        }
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    pub(crate) const fn contains(&self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] & (1 << (byte & 63)) != 0
    }

    pub(crate) const fn meets(&self, other: &Self) -> bool {
        (self.0[0] & other.0[0])
            | (self.0[1] & other.0[1])
            | (self.0[2] & other.0[2])
            | (self.0[3] & other.0[3])
            != 0
    }

    pub(crate) const fn len(&self) -> u32 {
        self.0[0].count_ones()
            + self.0[1].count_ones()
            + self.0[2].count_ones()
            + self.0[3].count_ones()
    }

    /// `@validateByteRange`'s argument: `9,10,32-126`.
    pub(crate) fn parse_ranges(text: &[u8]) -> Option<Self> {
        let mut set = Self::default();
        for range in std::str::from_utf8(text).ok()?.split(',') {
            let (low, high) = match range.split_once('-') {
                Some((low, high)) => (low.trim().parse().ok()?, high.trim().parse().ok()?),
                None => {
                    let one = range.trim().parse().ok()?;
                    (one, one)
                }
            };
            if low > high {
                return None;
            }
            set.add_range(low, high);
        }
        Some(set)
    }
}

/// Whether a `%` begins anything but two hexadecimal digits.
pub(crate) fn bad_url_encoding(text: &[u8]) -> bool {
    memchr::memchr_iter(b'%', text)
        .any(|at| !matches!(text.get(at + 1..at + 3), Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

/// Whether the text is not UTF-8, overlong forms, surrogates and cut sequences included.
pub(crate) fn bad_utf8(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_err()
}

/// The number a text begins with, as C's `atoll` reads it: no digits are zero.
pub(crate) fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = digits.iter().take_while(|b| b.is_ascii_digit()).fold(0_i64, |value, &digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let set = ByteSet::parse_ranges(b"9, 32-34").unwrap();
        assert!(set.contains(9) && set.contains(33) && !set.contains(35));
        assert_eq!(set.len(), 4);
        assert!(ByteSet::parse_ranges(b"300").is_none());
        assert!(ByteSet::parse_ranges(b"5-1").is_none());
    }

    #[test]
    fn numbers_as_c_reads_them() {
        assert_eq!(leading_number(b" 12ab"), 12);
        assert_eq!(leading_number(b"-3"), -3);
        assert_eq!(leading_number(b"x"), 0);
        assert_eq!(leading_number(b"99999999999999999999"), i64::MAX);
    }

    #[test]
    fn encodings() {
        assert!(bad_url_encoding(b"a%2"));
        assert!(bad_url_encoding(b"%zz"));
        assert!(!bad_url_encoding(b"a%20b"));
        assert!(bad_utf8(b"\xc0\xaf"));
        assert!(!bad_utf8("é".as_bytes()));
    }
}
