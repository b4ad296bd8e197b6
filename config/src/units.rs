//! Values with a unit or a grammar of their own. Each parses from a string once, at the edge.

use std::{fmt, str::FromStr, sync::Arc};

/// The name of a thing in the document: 1-64 of `a-z A-Z 0-9 _ - .`, starting with a letter or
/// digit. Names are metric labels and path segments of the API, hence the small alphabet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a string is not a [`Name`].
#[derive(Debug, thiserror::Error)]
#[error("expected a name of 1 to 64 letters, digits, `_`, `-` or `.`, found `{0}`")]
pub struct InvalidName(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let valid = (1..=64).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if valid { Ok(Self(text.into())) } else { Err(InvalidName(text.to_owned())) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A number of bytes; written `"64KiB"`, `"12.5MiB"`, `"1GiB"` or `"512B"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A rate; written `"100/s"`, `"30/m"` or `"1000/h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Events per `per`, at least 1.
    pub count: u32,
    /// The period: one second, minute or hour.
    pub per: std::time::Duration,
}

/// A weight: 0 to 10,000 with at most two decimals, kept in hundredths. Weights are relative
/// to the other versions of their service; written as shares of 100 they are percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Weight(u32);

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

/// Where a value that must not be shown came from and what it is. `Debug` and `Display` show
/// `***` only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(value.into())
    }

    /// The secret itself; callers hand it to a cipher or a peer and to nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
