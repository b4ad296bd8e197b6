//! A rule's second argument: `!@rx pattern`.

use super::fault::show;

macro_rules! operators {
    ($($variant:ident = $($name:literal)|+,)*) => {
        /// The operators the engine has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum OperatorName { $($variant,)* }

        impl OperatorName {
            fn parse(name: &[u8]) -> Option<Self> {
                $($(if name.eq_ignore_ascii_case($name.as_bytes()) { return Some(Self::$variant); })+)*
                None
            }
        }
    };
}

operators! {
    BeginsWith = "beginsWith",
    Contains = "contains",
    ContainsWord = "containsWord",
    DetectSqli = "detectSQLi",
    DetectXss = "detectXSS",
    EndsWith = "endsWith",
    Eq = "eq",
    Ge = "ge",
    GeoLookup = "geoLookup",
    Gt = "gt",
    IpMatch = "ipMatch",
    IpMatchFromFile = "ipMatchFromFile" | "ipMatchF",
    Le = "le",
    Lt = "lt",
    NoMatch = "noMatch",
    Pm = "pm",
    PmFromFile = "pmFromFile" | "pmf",
    Rbl = "rbl",
    Rx = "rx" | "rxGlobal",
    Streq = "streq",
    StrMatch = "strmatch",
    UnconditionalMatch = "unconditionalMatch",
    ValidateByteRange = "validateByteRange",
    ValidateUrlEncoding = "validateUrlEncoding",
    ValidateUtf8Encoding = "validateUtf8Encoding",
    Within = "within",
}

/// An operator and its argument, not yet compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OperatorText {
    pub(crate) negated: bool,
    pub(crate) name: OperatorName,
    pub(crate) argument: Vec<u8>,
}

impl OperatorText {
    /// Without `@` the text is a pattern for `rx`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut rest = text.trim_ascii_start();
        let negated = rest.first() == Some(&b'!');
        if negated {
            rest = rest[1..].trim_ascii_start();
        }
        if rest.first() != Some(&b'@') {
            return Ok(Self { negated, name: OperatorName::Rx, argument: rest.to_vec() });
        }
        rest = &rest[1..];
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        let name = OperatorName::parse(&rest[..end])
            .ok_or_else(|| format!("unsupported operator `@{}`", show(&rest[..end])))?;
        Ok(Self { negated, name, argument: rest[end..].trim_ascii_start().to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_negation_names_and_bare_patterns() {
        let parsed = OperatorText::parse(b"!@WITHIN a b").unwrap();
        assert_eq!(
            (parsed.negated, parsed.name, parsed.argument.as_slice()),
            (true, OperatorName::Within, &b"a b"[..])
        );
        let bare = OperatorText::parse(b"^x$").unwrap();
        assert_eq!((bare.negated, bare.name), (false, OperatorName::Rx));
        assert!(OperatorText::parse(b"@inspectFile x").is_err());
    }
}
