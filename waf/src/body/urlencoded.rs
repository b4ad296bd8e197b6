//! `application/x-www-form-urlencoded`: forms, and query strings too.

use memchr::{memchr, memchr2};

use super::{Argument, Limits};

/// The arguments of a form or a query string, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Urlencoded {
    /// Decoded arguments; one is made of every text between two separators, so
    /// `a&&b` has three.
    pub arguments: Vec<Argument>,
    /// A `%` without two hexadecimal digits was met (`URLENCODED_ERROR`); it is kept.
    pub invalid_encoding: bool,
    /// There is more than the limits allow: bytes or arguments; the rest is not in
    /// `arguments`.
    pub over_limit: bool,
}

/// Takes `name=value` pairs between `separator`s (`&`, or what
/// `SecArgumentSeparator` says).
pub fn parse(input: &[u8], separator: u8, limits: &Limits) -> Urlencoded {
    let mut form = Urlencoded { over_limit: input.len() > limits.bytes, ..Urlencoded::default() };
    let mut rest = &input[..input.len().min(limits.bytes)];
    // A separator at the very end opens no further argument.
    while !rest.is_empty() {
        if form.arguments.len() == limits.arguments {
            form.over_limit = true;
            break;
        }
        let (pair, tail) = split(rest, separator);
        let (name, value) = split(pair, b'=');
        let name = decode(name, &mut form.invalid_encoding);
        let value = decode(value, &mut form.invalid_encoding);
        form.arguments.push(Argument { name, value });
        rest = tail;
    }
    form
}

/// What stands before and after the first `at`.
fn split(input: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr(at, input) {
        Some(index) => (&input[..index], &input[index + 1..]),
        None => (input, &[]),
    }
}

/// Decodes `%41` and `+`; what is no escape stays and is noted.
fn decode(input: &[u8], invalid: &mut bool) -> Vec<u8> {
    let mut output = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some(index) = memchr2(b'%', b'+', rest) {
        let (plain, escape) = rest.split_at(index);
        output.extend_from_slice(plain);
        let (byte, length) = match hex_pair(&escape[1..]) {
            _ if escape[0] == b'+' => (b' ', 1),
            Some(byte) => (byte, 3),
            None => {
                *invalid = true;
                (b'%', 1)
            }
        };
        output.push(byte);
        rest = &escape[length..];
    }
    output.extend_from_slice(rest);
    output
}

fn hex_pair(input: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    match input {
        [high, low, ..] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(input: &[u8]) -> Vec<(String, String)> {
        let form = parse(input, b'&', &Limits::default());
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        form.arguments
            .iter()
            .map(|argument| (text(&argument.name), text(&argument.value)))
            .collect()
    }

    #[test]
    fn pairs_by_behaviour() {
        for (behaviour, input, expected) in [
            ("simple", "a=1&b=2", vec![("a", "1"), ("b", "2")]),
            ("blanks and escapes", "a+b=%3c%2B", vec![("a b", "<+")]),
            ("only the first equals sign splits", "a=b=c", vec![("a", "b=c")]),
            ("no value", "a&b=", vec![("a", ""), ("b", "")]),
            ("no name", "=x", vec![("", "x")]),
            ("empty pairs", "&a&&b&", vec![("", ""), ("a", ""), ("", ""), ("b", "")]),
            ("escaped separators", "a%26=b%3d", vec![("a&", "b=")]),
            ("empty", "", vec![]),
        ] {
            let expected: Vec<_> =
                expected.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            assert_eq!(pairs(input.as_bytes()), expected, "{behaviour}");
        }
    }

    #[test]
    fn invalid_escapes_stay_and_are_noted() {
        for (input, value, invalid) in [
            ("a=%4g", "%4g", true),
            ("a=%", "%", true),
            ("a=%4", "%4", true),
            ("a=%%41", "%A", true),
            ("a=%41", "A", false),
        ] {
            let form = parse(input.as_bytes(), b'&', &Limits::default());
            assert_eq!(form.arguments[0].value, value.as_bytes(), "{input}");
            assert_eq!(form.invalid_encoding, invalid, "{input}");
        }
    }

    #[test]
    fn another_separator() {
        assert_eq!(parse(b"a=1;b=2&c", b';', &Limits::default()).arguments[1].value, b"2&c");
    }

    #[test]
    fn limits_end_it_and_are_noted() {
        let limits = Limits { arguments: 2, bytes: 100, ..Limits::default() };
        for (input, count, over) in [("a&b", 2, false), ("a&b&", 2, false), ("a&b&c", 2, true)] {
            let form = parse(input.as_bytes(), b'&', &limits);
            assert_eq!((form.arguments.len(), form.over_limit), (count, over), "{input}");
        }
        assert!(parse(&[b'a'; 101], b'&', &limits).over_limit);
    }

    proptest! {
        #[test]
        fn any_bytes_pass_and_never_grow(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let form = parse(&input, b'&', &Limits::default());
            let bytes: usize = form.arguments.iter().map(|argument| argument.name.len() + argument.value.len()).sum();
            prop_assert!(bytes <= input.len());
        }
    }
}
