//! `urlDecode` and `urlEncode`.

use memchr::memchr2;

use super::{bytes::hex_pair, hex};

/// Decodes `%41` and makes `+` a blank; a `%` without two digits stays.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    let first = memchr2(b'%', b'+', input)?;
    let mut output = Vec::with_capacity(input.len());
    output.extend_from_slice(&input[..first]);
    let mut rest = &input[first..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'+' => output.push(b' '),
            b'%' => match hex_pair(tail) {
                Some(decoded) => {
                    output.push(decoded);
                    rest = &tail[2..];
                }
                None => output.push(b'%'),
            },
            other => output.push(*other),
        }
    }
    Some(output)
}

/// Encodes everything but ASCII letters, digits and `*`; a blank becomes `+`.
pub(super) fn encode(input: &[u8]) -> Option<Vec<u8>> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'*';
    let first = input.iter().position(|byte| !plain(byte))?;
    let mut output = Vec::with_capacity(input.len() + 16);
    output.extend_from_slice(&input[..first]);
    for byte in &input[first..] {
        match byte {
            b' ' => output.push(b'+'),
            byte if plain(byte) => output.push(*byte),
            byte => {
                output.push(b'%');
                output.extend_from_slice(&hex::digits(*byte));
            }
        }
    }
    Some(output)
}
