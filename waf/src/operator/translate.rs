//! From PCRE's syntax, which rule sets are written in, to the syntax of our regex engines.
//!
//! The pattern is tokenised, not patched: every class becomes a set of bytes written out
//! anew, because `[a[b]`, `&&`, `--` and `~~` mean something else to us; every escape becomes
//! what PCRE means by it (`\<` is a literal, `\v` a class, `\e` a byte); a `{` that begins no
//! quantifier is a literal; bytes above 0x7f match themselves, not a code point.
//!
//! Possessive quantifiers and atomic groups only forbid backtracking. Without them a pattern
//! finds the same or more, in linear time, so they are dropped where the linear engine runs.

mod class;

use class::{push_set, shorthand};

/// Which engine a translated pattern is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `regex::bytes` without Unicode.
    Linear,
    /// `fancy_regex` over text in which each character stands for a byte.
    Backtracking,
}

/// Why a pattern cannot be translated for an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Look-around or a back reference: only the backtracking engine has it.
    NeedsBacktracking,
    /// Neither engine has it.
    Unsupported(String),
}

/// Translates `pattern`.
pub(super) fn translate(pattern: &[u8], dialect: Dialect) -> Result<String, Refusal> {
    Translator {
        pattern,
        at: 0,
        out: String::with_capacity(pattern.len() * 2),
        dialect,
        may_quantify: false,
    }
    .run()
}

struct Translator<'p> {
    pattern: &'p [u8],
    at: usize,
    out: String,
    dialect: Dialect,
    /// Whether a quantifier here would have something to repeat.
    may_quantify: bool,
}

type Done = Result<(), Refusal>;

fn unsupported<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Unsupported(what.into()))
}

impl Translator<'_> {
    fn run(mut self) -> Result<String, Refusal> {
        while let Some(byte) = self.next() {
            match byte {
                b'\\' => self.escape()?,
                b'[' => self.class()?,
                b'(' => self.group()?,
                b')' | b'.' => self.push(byte, true),
                b'|' | b'^' | b'$' => self.push(byte, byte != b'|'),
                b'*' | b'+' | b'?' => {
                    if !self.may_quantify {
                        return unsupported(format!("nothing to repeat before `{}`", byte as char));
                    }
                    self.out.push(byte as char);
                    self.after_quantifier();
                }
                b'{' => match self.counted() {
                    Some(end) if self.may_quantify => {
                        let text = &self.pattern[self.at - 1..end];
                        self.out.extend(text.iter().map(|&b| b as char));
                        self.at = end;
                        self.after_quantifier();
                    }
                    _ => self.literal(byte),
                },
                _ => self.literal(byte),
            }
        }
        Ok(self.out)
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.pattern.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.at).copied()
    }

    fn rest(&self) -> &[u8] {
        self.pattern.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, byte: u8, may_quantify: bool) {
        self.out.push(byte as char);
        self.may_quantify = may_quantify;
    }

    fn text(&mut self, text: &str) {
        self.out.push_str(text);
        self.may_quantify = true;
    }

    fn literal(&mut self, byte: u8) {
        push_byte(&mut self.out, byte);
        self.may_quantify = true;
    }

    /// A quantifier's mode: lazy stays, possessive goes unless the engine has it.
    fn after_quantifier(&mut self) {
        match self.peek() {
            Some(b'?') => {
                self.out.push('?');
                self.at += 1;
            }
            Some(b'+') => {
                if self.dialect == Dialect::Backtracking {
                    self.out.push('+');
                }
                self.at += 1;
            }
            _ => {}
        }
        self.may_quantify = false;
    }

    /// The end of `{n}`, `{n,}` or `{n,m}` whose `{` was just read.
    fn counted(&self) -> Option<usize> {
        let rest = self.rest();
        let digits = |from: usize| rest[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let low = digits(0);
        if low == 0 {
            return None;
        }
        let mut end = low;
        if rest.get(end) == Some(&b',') {
            end += 1;
            end += digits(end);
        }
        (rest.get(end) == Some(&b'}')).then_some(self.at + end + 1)
    }

    fn group(&mut self) -> Done {
        self.may_quantify = false;
        if self.peek() == Some(b'*') {
            return unsupported("backtracking verbs");
        }
        if self.peek() != Some(b'?') {
            self.out.push('(');
            return Ok(());
        }
        let rest = &self.pattern[self.at + 1..];
        let look = |text: &[u8]| rest.starts_with(text);
        if look(b"#") {
            let end = rest.iter().position(|&b| b == b')');
            self.at += 1 + end.map_or(rest.len(), |end| end + 1);
            self.may_quantify = true;
            return Ok(());
        }
        for around in [&b"="[..], b"!", b"<=", b"<!"] {
            if look(around) {
                if self.dialect == Dialect::Linear {
                    return Err(Refusal::NeedsBacktracking);
                }
                self.out.push_str("(?");
                self.out.extend(around.iter().map(|&b| b as char));
                self.at += 1 + around.len();
                return Ok(());
            }
        }
        if look(b">") {
            self.out.push_str(if self.dialect == Dialect::Linear { "(?:" } else { "(?>" });
            self.at += 2;
            return Ok(());
        }
        for name in [&b"P<"[..], b"<", b"'"] {
            if look(name) {
                let end = rest.iter().position(|&b| b == b'>' || (name == b"'" && b == b'\''));
                let Some(end) = end else { return unsupported("a group name without end") };
                self.out.push('(');
                self.at += 1 + end + 1;
                return Ok(());
            }
        }
        // Flags: (?i) (?s-i:
        let end = rest.iter().position(|b| !b"imsU-".contains(b)).unwrap_or(rest.len());
        match rest.get(end) {
            Some(stop @ (b':' | b')')) => {
                self.out.push_str("(?");
                self.out.extend(rest[..end].iter().map(|&b| b as char));
                self.out.push(*stop as char);
                self.at += 1 + end + 1;
                Ok(())
            }
            Some(&other) => unsupported(format!("`(?{}`", other as char)),
            None => unsupported("an unfinished group"),
        }
    }

    fn escape(&mut self) -> Done {
        let Some(byte) = self.next() else { return unsupported("a lone backslash at the end") };
        if let Some(set) = shorthand(byte) {
            push_set(&mut self.out, &set, false);
            self.may_quantify = true;
            return Ok(());
        }
        match byte {
            b'b' | b'B' => self.boundary(byte == b'B'),
            b'A' | b'z' => {
                self.out.push('\\');
                self.out.push(byte as char);
                self.may_quantify = true;
            }
            b'Z' => self.text(r"(?:\n?\z)"),
            b'R' => self.text(r"(?:\r\n|[\n-\r\x85])"),
            b'N' if self.peek() != Some(b'{') => self.text(r"[^\n]"),
            b'Q' => {
                let end = memchr::memmem::find(self.rest(), br"\E").unwrap_or(self.rest().len());
                for index in self.at..self.at + end {
                    self.literal(self.pattern[index]);
                }
                self.at += end + 2;
            }
            b'E' => {}
            b'1'..=b'9' => return self.back_reference(),
            _ => match self.single(byte)? {
                Some(value) => self.literal(value),
                None => return unsupported(format!("`\\{}`", byte as char)),
            },
        }
        Ok(())
    }

    fn boundary(&mut self, negated: bool) {
        match (self.dialect, negated) {
            (Dialect::Linear, false) => self.text(r"\b"),
            (Dialect::Linear, true) => self.text(r"\B"),
            // That engine's own `\b` would take the letters above 0x7f for letters.
            (Dialect::Backtracking, false) => {
                self.text(
                    r"(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))",
                );
            }
            (Dialect::Backtracking, true) => {
                self.text(
                    r"(?:(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<![0-9A-Za-z_])(?![0-9A-Za-z_]))",
                );
            }
        }
    }

    fn back_reference(&mut self) -> Done {
        if self.dialect == Dialect::Linear {
            return Err(Refusal::NeedsBacktracking);
        }
        self.at -= 1;
        let digits = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        self.out.push('\\');
        for index in self.at..self.at + digits {
            self.out.push(self.pattern[index] as char);
        }
        // Keeps a digit behind it from becoming part of the number.
        self.out.push_str("(?:)");
        self.at += digits;
        self.may_quantify = true;
        Ok(())
    }

    /// The byte an escape stands for, inside and outside of classes.
    fn single(&mut self, byte: u8) -> Result<Option<u8>, Refusal> {
        Ok(Some(match byte {
            b'a' => 0x07,
            b'e' => 0x1b,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0'..=b'7' => {
                let mut value = u32::from(byte - b'0');
                for _ in 0..2 {
                    match self.peek() {
                        Some(digit @ b'0'..=b'7') => {
                            value = value * 8 + u32::from(digit - b'0');
                            self.at += 1;
                        }
                        _ => break,
                    }
                }
                value as u8
            }
            b'x' => self.hex()?,
            b'c' => match self.next() {
                Some(control) => control.to_ascii_uppercase() ^ 0x40,
                None => return unsupported("`\\c` at the end"),
            },
            other if other.is_ascii_alphanumeric() => return Ok(None),
            other => other,
        }))
    }

    fn hex(&mut self) -> Result<u8, Refusal> {
        let value = |digits: &[u8]| {
            digits.iter().try_fold(0_u32, |value, &digit| {
                Some(value.checked_mul(16)? + (digit as char).to_digit(16)?)
            })
        };
        if self.peek() == Some(b'{') {
            let Some(end) = self.rest().iter().position(|&b| b == b'}') else {
                return unsupported("`\\x{` without `}`");
            };
            let number = value(&self.rest()[1..end]);
            self.at += end + 1;
            return match number.and_then(|n| u8::try_from(n).ok()) {
                Some(byte) => Ok(byte),
                None => unsupported("a `\\x{..}` above ff"),
            };
        }
        let digits = self.rest().iter().take(2).take_while(|b| b.is_ascii_hexdigit()).count();
        let number = value(&self.rest()[..digits]).unwrap_or(0);
        self.at += digits;
        Ok(number as u8)
    }
}

fn push_byte(out: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || b" _\"'`<>=/,;:!%@".contains(&byte) {
        out.push(byte as char);
    } else {
        push_hex(out, byte);
    }
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push_str("\\x");
    out.push(DIGITS[usize::from(byte >> 4)] as char);
    out.push(DIGITS[usize::from(byte & 15)] as char);
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn finds(pattern: &[u8], text: &[u8]) -> bool {
        let translated = translate(pattern, Dialect::Linear).unwrap();
        regex::bytes::RegexBuilder::new(&translated)
            .unicode(false)
            .dot_matches_new_line(true)
            .multi_line(true)
            .build()
            .unwrap_or_else(|e| panic!("{translated}: {e}"))
            .is_match(text)
    }

    #[test]
    fn escapes_and_braces_mean_what_pcre_means() {
        assert!(finds(br"^\<a\>$", b"<a>"));
        assert!(finds(br"^\x{bc}\xbd$", b"\xbc\xbd"));
        assert!(finds(b"^{a}{,3}$", b"{a}{,3}"));
        assert!(finds(br"^\e\v\h$", b"\x1b\x0b\t"));
        assert!(finds(b"^a++b$", b"aab"));
        assert!(finds(b"^(?>a|b)c$", b"bc"));
        assert!(finds(br"^\Qa.b\E.$", b"a.bX"));
        assert!(finds(br"a{2}\b", b"aa"));
        assert!(finds(b"^\xe2\x80\x98?$", b"\xe2\x80"));
    }

    #[test]
    fn what_is_not_regular_needs_the_other_engine() {
        assert_eq!(translate(b"a(?!b)", Dialect::Linear), Err(Refusal::NeedsBacktracking));
        assert_eq!(translate(br"(a)\1", Dialect::Linear), Err(Refusal::NeedsBacktracking));
        assert_eq!(translate(br"(a)\12", Dialect::Backtracking).unwrap(), r"(a)\12(?:)");
        assert!(matches!(translate(b"(*FAIL)", Dialect::Linear), Err(Refusal::Unsupported(_))));
        assert!(matches!(translate(b"[a", Dialect::Linear), Err(Refusal::Unsupported(_))));
    }
}
