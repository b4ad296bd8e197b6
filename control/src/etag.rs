//! Strong entity tags: a digest of what a resource says, so that every node and every process
//! gives the same one.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;

/// A strong entity tag (RFC 9110 section 8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The tag of a representation.
    pub fn of(representation: &impl Serialize) -> Self {
        let json = serde_json::to_vec(representation).expect("representations are JSON");
        Self(hex::encode(&Sha256::digest(json)[..12]))
    }

    /// The tags of an `If-Match` list. Weak ones never match (section 13.1.1) and are left out;
    /// `None` if it is no list of tags.
    pub fn parse_list(text: &str) -> Option<Vec<Self>> {
        let mut tags = Vec::new();
        for item in text.split(',') {
            let item = item.trim();
            let (weak, tag) = match item.strip_prefix("W/") {
                Some(tag) => (true, tag),
                None => (false, item),
            };
            let opaque = tag.strip_prefix('"')?.strip_suffix('"')?;
            if opaque.contains('"') {
                return None;
            }
            if !weak {
                tags.push(Self(opaque.to_owned()));
            }
        }
        Some(tags)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_and_leaves_weak_tags_out() {
        let list = |text| ETag::parse_list(text).map(|tags| tags.len());
        assert_eq!(list("\"a\""), Some(1));
        assert_eq!(list("\"a\", \"b\" , W/\"c\""), Some(2));
        for bad in ["", "a", "\"a", "\"a\"b\"", "\"a\",,"] {
            assert_eq!(list(bad), None, "{bad}");
        }
        let tag = ETag::of(&[1, 2]);
        assert_eq!(ETag::parse_list(&tag.to_string()), Some(vec![tag]));
    }
}
