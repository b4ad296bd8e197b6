//! `md5`, `sha1` and `length`: a value's fingerprint in its place. The digests are
//! raw bytes; rules add `hexEncode` for text.

use md5::Md5;
use sha1::{Digest, Sha1};

pub(super) fn md5(input: &[u8]) -> Option<Vec<u8>> {
    Some(Md5::digest(input).to_vec())
}

pub(super) fn sha1(input: &[u8]) -> Option<Vec<u8>> {
    Some(Sha1::digest(input).to_vec())
}

pub(super) fn length(input: &[u8]) -> Option<Vec<u8>> {
    Some(input.len().to_string().into_bytes())
}
