//! `hexDecode` and `hexEncode`.

use super::bytes::pair;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Two bytes to one, whether they are digits or not; an odd one at the end is lost.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    Some(input.chunks_exact(2).map(|two| pair(two[0], two[1])).collect())
}

pub(super) fn encode(input: &[u8]) -> Option<Vec<u8>> {
    Some(input.iter().flat_map(|byte| digits(*byte)).collect())
}

/// The two lower-case digits of a byte.
pub(super) fn digits(byte: u8) -> [u8; 2] {
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}
