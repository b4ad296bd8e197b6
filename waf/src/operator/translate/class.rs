//! Classes: `[...]`, and shorthands such as `\d` that stand for one.

use super::{Done, Refusal, Translator, push_hex, unsupported};
use crate::operator::ByteSet;

impl Translator<'_> {
    pub(super) fn class(&mut self) -> Done {
        let negated = self.peek() == Some(b'^');
        if negated {
            self.at += 1;
        }
        let mut set = ByteSet::default();
        let mut first = true;
        loop {
            let Some(byte) = self.next() else { return unsupported("a class without `]`") };
            if byte == b']' && !first {
                break;
            }
            first = false;
            if byte == b'['
                && matches!(self.peek(), Some(b':'))
                && let Some(named) = self.posix()?
            {
                set.extend(&named);
                continue;
            }
            let Some(low) = self.member(byte, &mut set)? else { continue };
            // A range, unless the `-` is the last of the class or a shorthand follows.
            let high = match (self.peek(), self.pattern.get(self.at + 1)) {
                (Some(b'-'), Some(&next)) if next != b']' => {
                    let before = self.at;
                    self.at += 2;
                    match self.member(next, &mut set)? {
                        Some(high) => high,
                        None => {
                            self.at = before;
                            low
                        }
                    }
                }
                _ => low,
            };
            if high < low {
                return unsupported("a range out of order");
            }
            set.add_range(low, high);
        }
        push_set(&mut self.out, &set, negated);
        self.may_quantify = true;
        Ok(())
    }

    /// One byte of a class, or `None` after adding a shorthand such as `\d` to `set`.
    fn member(&mut self, byte: u8, set: &mut ByteSet) -> Result<Option<u8>, Refusal> {
        if byte != b'\\' {
            return Ok(Some(byte));
        }
        let Some(escaped) = self.next() else { return unsupported("a class without `]`") };
        if let Some(shorthand) = shorthand(escaped) {
            set.extend(&shorthand);
            return Ok(None);
        }
        if escaped == b'b' {
            return Ok(Some(0x08));
        }
        match self.single(escaped)? {
            Some(byte) => Ok(Some(byte)),
            None => unsupported(format!("`\\{}` in a class", escaped as char)),
        }
    }

    /// `[:name:]`, whose `[` was just read; `None` if it is not one.
    fn posix(&mut self) -> Result<Option<ByteSet>, Refusal> {
        let rest = self.rest();
        let Some(end) = memchr::memmem::find(rest, b":]") else { return Ok(None) };
        let name = &rest[1..end];
        let (negated, name) = match name.strip_prefix(b"^") {
            Some(name) => (true, name),
            None => (false, name),
        };
        if !name.iter().all(u8::is_ascii_lowercase) || name.is_empty() {
            return Ok(None);
        }
        let test: fn(&u8) -> bool = match name {
            b"alnum" => u8::is_ascii_alphanumeric,
            b"alpha" => u8::is_ascii_alphabetic,
            b"ascii" => u8::is_ascii,
            b"blank" => |b| matches!(b, b' ' | b'\t'),
            b"cntrl" => u8::is_ascii_control,
            b"digit" => u8::is_ascii_digit,
            b"graph" => u8::is_ascii_graphic,
            b"lower" => u8::is_ascii_lowercase,
            b"print" => |b| matches!(b, b' '..=b'~'),
            b"punct" => u8::is_ascii_punctuation,
            b"space" => |b| matches!(b, b' ' | b'\t'..=b'\r'),
            b"upper" => u8::is_ascii_uppercase,
            b"word" => |b| b.is_ascii_alphanumeric() || *b == b'_',
            b"xdigit" => u8::is_ascii_hexdigit,
            _ => return unsupported(format!("`[:{}:]`", String::from_utf8_lossy(name))),
        };
        self.at += end + 2;
        Ok(Some(ByteSet::of(|b| test(&b) != negated)))
    }
}

/// `\d \w \s \v \h` and their opposites, as PCRE understands them for bytes.
pub(super) fn shorthand(byte: u8) -> Option<ByteSet> {
    let test: fn(u8) -> bool = match byte.to_ascii_lowercase() {
        b'd' => |b| b.is_ascii_digit(),
        b'w' => |b| b.is_ascii_alphanumeric() || b == b'_',
        b's' => |b| matches!(b, b' ' | b'\t'..=b'\r'),
        b'v' => |b| matches!(b, b'\n'..=b'\r' | 0x85),
        b'h' => |b| matches!(b, b' ' | b'\t' | 0xa0),
        _ => return None,
    };
    let negated = byte.is_ascii_uppercase();
    Some(ByteSet::of(|b| test(b) != negated))
}

pub(super) fn push_set(out: &mut String, set: &ByteSet, negated: bool) {
    out.push_str(if negated { "[^" } else { "[" });
    let mut at = 0_u16;
    while at < 256 {
        if !set.contains(at as u8) {
            at += 1;
            continue;
        }
        let low = at;
        while at < 255 && set.contains(at as u8 + 1) {
            at += 1;
        }
        push_hex(out, low as u8);
        if at > low {
            out.push('-');
            push_hex(out, at as u8);
        }
        at += 1;
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::super::tests::finds;

    #[test]
    fn classes_mean_what_pcre_means() {
        assert!(finds(b"^[a[]$", b"["));
        assert!(finds(b"^[]a]$", b"]"));
        assert!(finds(b"^[^]a]$", b"b"));
        assert!(finds(b"^[a&&b]$", b"&"));
        assert!(finds(br"^[\w-]+$", b"a-b"));
        assert!(finds(br"^[a\-z]$", b"-"));
        assert!(finds(b"^[[:alpha:]_]+$", b"a_"));
        assert!(finds("^[´]$".as_bytes(), b"\xb4"));
        assert!(!finds(b"(?i)^[^a]$", b"A"));
        assert!(finds(br"^[\[-\]]$", br"\"));
    }
}
