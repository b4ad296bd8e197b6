//! `urlDecodeUni`: `urlDecode` with the `%u0041` of IIS.

use memchr::memchr2;

use super::{
    bytes::{hex_pair, hex_quad, narrow},
    unicode_map,
};

/// Decodes `%u0041`, `%41` and `+`. A code that best-fits to ASCII in code page
/// 20127 gives that, any other its low byte; an incomplete escape stays.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    let first = memchr2(b'%', b'+', input)?;
    let mut output = Vec::with_capacity(input.len());
    output.extend_from_slice(&input[..first]);
    let mut rest = &input[first..];
    while let [byte, tail @ ..] = rest {
        let (decoded, used) = match (byte, tail) {
            (b'+', _) => (b' ', 0),
            (b'%', [b'u' | b'U', digits @ ..]) => match hex_quad(digits) {
                Some(code) => (unicode_map::best_fit(code).unwrap_or_else(|| narrow(code)), 5),
                None => (b'%', 0),
            },
            (b'%', _) => match hex_pair(tail) {
                Some(decoded) => (decoded, 2),
                None => (b'%', 0),
            },
            _ => (*byte, 0),
        };
        output.push(decoded);
        rest = &tail[used..];
    }
    Some(output)
}
