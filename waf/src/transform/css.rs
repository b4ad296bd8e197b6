//! `cssDecode`: the escapes of CSS 2.

use memchr::memchr;

use super::bytes::{is_space, narrow, nibble, pair};

/// Decodes backslash escapes: one to six hexadecimal digits (of which the last two
/// count) with one space after them, or a byte that stands for itself. A backslash
/// before a line feed, or at the end, disappears.
///
/// Unlike libmodsecurity the result does not end at a NUL that the value holds or
/// an escape gives.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    let first = memchr(b'\\', input)?;
    let mut output = Vec::with_capacity(input.len());
    output.extend_from_slice(&input[..first]);
    let mut rest = &input[first..];
    while let [byte, tail @ ..] = rest {
        if *byte != b'\\' {
            output.push(*byte);
            rest = tail;
            continue;
        }
        let digits = tail.iter().take(6).take_while(|digit| digit.is_ascii_hexdigit()).count();
        let Some((hex, after)) = tail.split_at_checked(digits).filter(|(hex, _)| !hex.is_empty())
        else {
            match tail {
                [] => rest = tail,
                [b'\n', after @ ..] => rest = after,
                [literal, after @ ..] => {
                    output.push(*literal);
                    rest = after;
                }
            }
            continue;
        };
        output.push(escaped(hex));
        rest = match after {
            [space, after @ ..] if is_space(*space) => after,
            _ => after,
        };
    }
    Some(output)
}

/// The byte of one to six digits; full-width ASCII is recognised when nothing but
/// zeros stands before its four digits.
fn escaped(hex: &[u8]) -> u8 {
    match hex {
        [digit] => nibble(*digit),
        [zeros @ .., a, b, c, d] if zeros.iter().all(|zero| *zero == b'0') => {
            narrow(u16::from_be_bytes([pair(*a, *b), pair(*c, *d)]))
        }
        [.., high, low] => pair(*high, *low),
        [] => 0,
    }
}
