//! `parityEven7bit`, `parityOdd7bit` and `parityZero7bit`: the eighth bit as the
//! parity of the seven others, or clear.
//!
//! As in libmodsecurity the parity is taken over all eight bits, so a byte whose
//! eighth bit is set already may get the other one.

fn each(input: &[u8], map: impl Fn(u8) -> u8) -> Option<Vec<u8>> {
    let first = input.iter().position(|byte| map(*byte) != *byte)?;
    let mut output = input.to_vec();
    for byte in &mut output[first..] {
        *byte = map(*byte);
    }
    Some(output)
}

fn is_odd(byte: u8) -> bool {
    byte.count_ones() % 2 == 1
}

pub(super) fn even(input: &[u8]) -> Option<Vec<u8>> {
    each(input, |byte| if is_odd(byte) { byte | 0x80 } else { byte & 0x7f })
}

pub(super) fn odd(input: &[u8]) -> Option<Vec<u8>> {
    each(input, |byte| if is_odd(byte) { byte & 0x7f } else { byte | 0x80 })
}

pub(super) fn zero(input: &[u8]) -> Option<Vec<u8>> {
    each(input, |byte| byte & 0x7f)
}
