//! `lowercase` and `uppercase`, of ASCII letters only.

pub(super) fn lower(input: &[u8]) -> Option<Vec<u8>> {
    let first = input.iter().position(u8::is_ascii_uppercase)?;
    let mut output = input.to_vec();
    output[first..].make_ascii_lowercase();
    Some(output)
}

pub(super) fn upper(input: &[u8]) -> Option<Vec<u8>> {
    let first = input.iter().position(u8::is_ascii_lowercase)?;
    let mut output = input.to_vec();
    output[first..].make_ascii_uppercase();
    Some(output)
}
