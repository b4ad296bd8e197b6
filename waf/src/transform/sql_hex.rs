//! `sqlHexDecode`: hexadecimal literals of SQL (`0x414243`) as the text they are.

use memchr::memchr2;

use super::bytes::hex_pair;

/// Decodes each `0x` that at least one pair of digits follows. As in libmodsecurity
/// the byte after a literal is copied without being looked at, so of two literals
/// without anything between them the second stays.
///
/// Unlike libmodsecurity this neither loses the last byte of a value nor stops at
/// a NUL.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    memchr2(b'x', b'X', input)?;
    let mut output = Vec::with_capacity(input.len());
    let mut rest = input;
    while let [byte, tail @ ..] = rest {
        if let [b'0', b'x' | b'X', digits @ ..] = rest
            && hex_pair(digits).is_some()
        {
            rest = digits;
            while let Some(decoded) = hex_pair(rest) {
                output.push(decoded);
                rest = &rest[2..];
            }
            if let [next, tail @ ..] = rest {
                output.push(*next);
                rest = tail;
            }
        } else {
            output.push(*byte);
            rest = tail;
        }
    }
    Some(output)
}
