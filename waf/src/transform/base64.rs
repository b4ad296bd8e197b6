//! `base64Decode`, `base64DecodeExt` and `base64Encode`.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Six bits for each byte of the alphabet, 255 for any other.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut index = 0;
    while index < ALPHABET.len() {
        values[ALPHABET[index] as usize] = index as u8;
        index += 1;
    }
    values
};

fn value(byte: u8) -> Option<u8> {
    let value = VALUES[usize::from(byte)];
    (value < 64).then_some(value)
}

/// Strict decoding: anything but well-formed base64, broken into lines or not,
/// gives an empty value, and of an incomplete last group nothing is kept.
/// The value ends at a NUL, as C strings do: the alternative is to refuse it, and
/// then a rule would see nothing at all.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    let input = &input[..memchr::memchr(0, input).unwrap_or(input.len())];
    if !is_well_formed(input) {
        return Some(Vec::new());
    }
    let mut output = Vec::with_capacity(input.len() / 4 * 3);
    let mut group = 0u32;
    let mut held = 0;
    let mut padding = 0;
    for byte in input {
        let bits = match value(*byte) {
            Some(bits) => bits,
            None if *byte == b'=' => {
                padding += 1;
                0
            }
            None => continue,
        };
        group = group << 6 | u32::from(bits);
        held += 1;
        if held == 4 {
            let [_, bytes @ ..] = group.to_be_bytes();
            output.extend_from_slice(&bytes[..3 - padding]);
            group = 0;
            held = 0;
        }
    }
    Some(output)
}

/// Digits, then at most two `=`, between line breaks; blanks only before a line
/// break or at the end.
fn is_well_formed(input: &[u8]) -> bool {
    let mut padding = 0;
    let mut blanks = false;
    let mut rest = input;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match *byte {
            b' ' => blanks = true,
            b'\r' if tail.first() == Some(&b'\n') => {
                blanks = false;
                rest = &tail[1..];
            }
            b'\n' => blanks = false,
            _ if blanks => return false,
            b'=' if padding < 2 => padding += 1,
            digit if value(digit).is_none() || padding > 0 => return false,
            _ => {}
        }
    }
    true
}

/// Forgiving decoding: bytes outside the alphabet are passed over and an
/// incomplete last group gives what it has. A `=` after a single digit of a group
/// makes the value empty unless a second `=` follows at once.
///
/// Unlike libmodsecurity a final digit `9` that starts a group does not make the
/// value empty (there it is mistaken for `=`, whose code is its value, 61).
pub(super) fn decode_forgiving(input: &[u8]) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(input.len() / 4 * 3 + 2);
    let mut digits = 0usize;
    let mut carry = 0u8;
    for (index, byte) in input.iter().enumerate() {
        if *byte == b'=' {
            if digits % 4 == 1 && input.get(index + 1) != Some(&b'=') {
                return Some(Vec::new());
            }
            continue;
        }
        let Some(bits) = value(*byte) else { continue };
        match digits % 4 {
            0 => carry = bits << 2,
            1 => {
                output.push(carry | bits >> 4);
                carry = bits << 4;
            }
            2 => {
                output.push(carry | bits >> 2);
                carry = bits << 6;
            }
            _ => output.push(carry | bits),
        }
        digits += 1;
    }
    Some(output)
}

/// Encoding, with padding and without line breaks.
pub(super) fn encode(input: &[u8]) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(input.len().div_ceil(3) * 4);
    for chunk in input.chunks(3) {
        let mut bytes = [0; 4];
        bytes[1..=chunk.len()].copy_from_slice(chunk);
        let group = u32::from_be_bytes(bytes);
        for place in 0..4 {
            output.push(if place <= chunk.len() {
                ALPHABET[(group >> (18 - 6 * place) & 63) as usize]
            } else {
                b'='
            });
        }
    }
    Some(output)
}
