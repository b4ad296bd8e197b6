//! Compiled operators: tests of one value.
//!
//! An operator knows nothing of rules or transactions. Those whose argument has macros get it
//! expanded by the transaction, once for each evaluation of a rule.

mod bytes;
mod literals;
mod pattern;
mod phrases;
mod translate;

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

pub(crate) use bytes::{ByteSet, leading_number};
pub(crate) use literals::Need;
pub(crate) use pattern::{Found, Groups, Pattern};
pub(crate) use phrases::{Phrases, from_argument, from_file};

use crate::{
    compile::Macro,
    libinjection::{is_sqli, is_xss},
};

/// A test of a value.
#[derive(Debug)]
pub(crate) enum Operator {
    Pattern(Arc<Pattern>),
    /// A pattern with macros: compiled when its text is known.
    PatternOf(Macro),
    Phrases(Arc<Phrases>),
    Text(TextTest, Macro),
    Number(NumberTest, Macro),
    Address(Vec<IpNet>),
    /// Some byte is outside of the set.
    ByteRange(ByteSet),
    UrlEncoding,
    Utf8Encoding,
    Sqli,
    Xss,
    /// The value is the client's address and its country is known: the transaction's to say.
    Country,
    Always,
    Never,
}

/// How a value and an argument compare as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextTest {
    Equals,
    Contains,
    ContainsWord,
    BeginsWith,
    EndsWith,
    /// The value is a part of the argument.
    Within,
}

/// How a value and an argument compare as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberTest {
    Eq,
    Ge,
    Gt,
    Le,
    Lt,
}

/// What an operator is given to test.
pub(crate) struct Search<'a> {
    /// The value.
    pub(crate) text: &'a [u8],
    /// The expanded argument of operators that have one.
    pub(crate) argument: &'a [u8],
    /// Whether groups are wanted.
    pub(crate) capture: bool,
}

/// What a test leaves behind; kept to be filled again.
#[derive(Default)]
pub(crate) struct Trace {
    /// The places found.
    pub(crate) groups: Groups,
    /// Work beyond reading the value once, added up.
    pub(crate) work: u64,
}

impl Operator {
    /// Whether the value passes the test; with `capture` the places found are in `trace.groups`.
    ///
    /// [`Operator::PatternOf`] and [`Operator::Country`] are the transaction's: it has the compiled
    /// pattern, and knows the client.
    pub(crate) fn test(&self, search: &Search<'_>, trace: &mut Trace) -> Found {
        let text = search.text;
        let Trace { groups, work } = trace;
        let found = match self {
            Self::Pattern(pattern) if search.capture => return pattern.capture(text, groups, work),
            Self::Pattern(pattern) => return pattern.find(text, work),
            Self::PatternOf(_) | Self::Country | Self::Never => false,
            Self::Phrases(phrases) => match phrases.find(text) {
                Some(place) => {
                    groups.clear();
                    groups.push(Some(place));
                    true
                }
                None => false,
            },
            Self::Text(test, _) => test.holds(text, search.argument),
            Self::Number(test, _) => {
                test.holds(leading_number(text), leading_number(search.argument))
            }
            Self::Address(networks) => std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse::<IpAddr>().ok())
                .is_some_and(|address| networks.iter().any(|network| network.contains(&address))),
            Self::ByteRange(set) => text.iter().any(|&byte| !set.contains(byte)),
            Self::UrlEncoding => bytes::bad_url_encoding(text),
            Self::Utf8Encoding => bytes::bad_utf8(text),
            Self::Sqli => is_sqli(text).is_some(),
            Self::Xss => is_xss(text),
            Self::Always => true,
        };
        if found && search.capture && !matches!(self, Self::Phrases(_)) {
            groups.clear();
            groups.push(Some((0, text.len() as u32)));
        }
        if found { Found::Yes } else { Found::No }
    }

    /// The argument that has to be expanded before [`Operator::test`].
    pub(crate) const fn argument(&self) -> Option<&Macro> {
        match self {
            Self::PatternOf(argument) | Self::Text(_, argument) | Self::Number(_, argument) => {
                Some(argument)
            }
            _ => None,
        }
    }
}

impl TextTest {
    fn holds(self, text: &[u8], argument: &[u8]) -> bool {
        match self {
            Self::Equals => text == argument,
            Self::Contains => memchr::memmem::find(text, argument).is_some(),
            Self::ContainsWord => contains_word(text, argument),
            Self::BeginsWith => text.starts_with(argument),
            Self::EndsWith => text.ends_with(argument),
            Self::Within => memchr::memmem::find(argument, text).is_some(),
        }
    }
}

impl NumberTest {
    pub(crate) const fn holds(self, value: i64, argument: i64) -> bool {
        match self {
            Self::Eq => value == argument,
            Self::Ge => value >= argument,
            Self::Gt => value > argument,
            Self::Le => value <= argument,
            Self::Lt => value < argument,
        }
    }
}

fn contains_word(text: &[u8], word: &[u8]) -> bool {
    if word.is_empty() {
        return true;
    }
    let is_word = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    memchr::memmem::find_iter(text, word).any(|at| {
        !is_word(at.checked_sub(1).and_then(|before| text.get(before)))
            && !is_word(text.get(at + word.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert!(TextTest::Within.holds(b"GET", b"GET POST"));
        assert!(TextTest::Within.holds(b"", b"GET"));
        assert!(TextTest::ContainsWord.holds(b"a word, here", b"word"));
        assert!(!TextTest::ContainsWord.holds(b"swords word2", b"word"));
        assert!(TextTest::EndsWith.holds(b"a.b", b".b"));
    }

    #[test]
    fn addresses() {
        let operator =
            Operator::Address(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let test = |text: &[u8]| {
            let search = Search { text, argument: b"", capture: false };
            operator.test(&search, &mut Trace::default()) == Found::Yes
        };
        assert!(test(b"10.1.2.3") && test(b"::1"));
        assert!(!test(b"11.0.0.1") && !test(b"x"));
    }
}
