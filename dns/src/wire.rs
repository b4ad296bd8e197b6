//! What messages are made of: numbers and names (RFC 1035 section 4.1).

/// The longest name in text (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;
/// Pointers followed within one name. A name has at most 127 labels; whoever compresses well
/// needs one or two.
const MAX_POINTERS: usize = 16;

/// Whether two names are the same: upper and lower case are, and a dot at the end is none.
pub fn same_name(one: &str, other: &str) -> bool {
    let bare = |name: &'_ str| name.strip_suffix('.').unwrap_or(name).len();
    one[..bare(one)].eq_ignore_ascii_case(&other[..bare(other)])
}

/// Appends a name, in lower case and uncompressed; `None` if it is not one. A dot at its end
/// may be left out.
pub(crate) fn put_name(name: &str, message: &mut Vec<u8>) -> Option<()> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > LONGEST {
        return None;
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        message.push(length);
        message.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    message.push(0);
    Some(())
}

/// Reads a message from its beginning. Whatever is `None` is broken: beyond the end, or a name
/// that never ends.
pub(crate) struct Reader<'m> {
    pub(crate) message: &'m [u8],
    pub(crate) at: usize,
}

impl<'m> Reader<'m> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'m [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    pub(crate) fn number(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// 48 bits, as TSIG tells the time.
    pub(crate) fn long_number(&mut self) -> Option<u64> {
        self.take(6).map(|bytes| bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
    }

    /// A name in lower case. The outer `None`: the message is broken. The inner one: a name that
    /// no host has, such as one with a dot inside a label, which in text would look like
    /// another name.
    pub(crate) fn name(&mut self) -> Option<Option<String>> {
        let mut text = String::new();
        let mut is_host = true;
        let mut at = self.at;
        let mut pointers = 0;
        // A name points backwards only, so that it ends.
        let mut before = self.at;
        loop {
            match *self.message.get(at)? {
                0 => {
                    if pointers == 0 {
                        self.at = at + 1;
                    }
                    return Some(is_host.then_some(text));
                }
                length @ 1..=63 => {
                    let label = self.message.get(at + 1..at + 1 + usize::from(length))?;
                    if !text.is_empty() {
                        text.push('.');
                    }
                    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                    is_host &= label.iter().all(plain);
                    text.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
                    if text.len() > 2 * LONGEST {
                        return None;
                    }
                    at += 1 + usize::from(length);
                }
                high @ 192..=255 => {
                    let low = *self.message.get(at + 1)?;
                    let to = usize::from(u16::from_be_bytes([high & 63, low]));
                    if pointers == 0 {
                        self.at = at + 2;
                    }
                    pointers += 1;
                    if to >= before || pointers > MAX_POINTERS {
                        return None;
                    }
                    (at, before) = (to, to);
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_any_case_and_with_their_last_dot() {
        assert!(same_name("Example.COM.", "example.com"));
        assert!(!same_name("example.com", "www.example.com"));
    }

    #[test]
    fn a_chain_of_pointers_ends() {
        let mut message = vec![0];
        for at in (0..200_u16).step_by(2) {
            message.extend_from_slice(&(0xc000 | at.saturating_sub(1)).to_be_bytes());
        }
        let mut reader = Reader { message: &message, at: message.len() - 2 };
        assert_eq!(reader.name(), None);
    }
}
