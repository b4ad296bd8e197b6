//! The `Content-Disposition` of a part: its field's name and its file's name.

use super::{Fault, Flags};

/// The names of a part; what was read before a fault counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Disposition {
    pub(super) name: Vec<u8>,
    pub(super) filename: Vec<u8>,
    /// Every `name=` and `filename=`, duplicates too.
    pub(super) all_names: Vec<Vec<u8>>,
    pub(super) all_filenames: Vec<Vec<u8>>,
}

/// Reads `form-data; name="a"; filename="b"` and accepts nothing else, because no
/// two parsers agree on anything else. A fault's number is libmodsecurity's.
///
/// Unlike libmodsecurity a quote that nothing closes is a fault, -10 (there bytes
/// behind the header are read).
pub(super) fn parse(
    value: &[u8],
    disposition: &mut Disposition,
    flags: &mut Flags,
) -> Result<(), Fault> {
    Parser { text: value, at: 0, disposition, flags }.header().map_err(Fault::Disposition)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    disposition: &'a mut Disposition,
    flags: &'a mut Flags,
}

impl<'a> Parser<'a> {
    fn header(&mut self) -> Result<(), i8> {
        if !self.take(b"form-data") {
            return Err(-1);
        }
        self.skip_blanks();
        if self.peek().is_none() {
            return Ok(());
        }
        if !self.take(b";") {
            return Err(-2);
        }
        let mut extended = Vec::new();
        while self.peek().is_some() {
            self.parameter(&mut extended)?;
            self.parameter_end()?;
        }
        // A back end that knows the one form alone would see a file here.
        if !extended.is_empty() && self.disposition.filename.is_empty() {
            return Err(-21);
        }
        Ok(())
    }

    fn parameter(&mut self, extended: &mut Vec<u8>) -> Result<(), i8> {
        self.skip_blanks_or(-3)?;
        let name = self.take_while(|byte| !matches!(byte, b'=' | b'\t' | b' '));
        self.peek().ok_or(-4)?;
        self.skip_blanks_or(-5)?;
        if !self.take(b"=") {
            return Err(-13);
        }
        self.skip_blanks_or(-6)?;
        if name == b"filename*" {
            let value = self.extended_value()?;
            if !extended.is_empty() {
                return Err(-20);
            }
            extended.extend_from_slice(value);
            return Ok(());
        }
        let value = self.value()?;
        let (all, one, twice) = match name {
            b"name" => (&mut self.disposition.all_names, &mut self.disposition.name, -14),
            b"filename" => {
                (&mut self.disposition.all_filenames, &mut self.disposition.filename, -15)
            }
            _ => return Err(-11),
        };
        if value.lone_quote {
            self.flags.invalid_quoting = true;
        }
        all.push(value.text.clone());
        if !one.is_empty() {
            return Err(twice);
        }
        *one = value.text;
        Ok(())
    }

    /// The end of the header or a semicolon must follow a value.
    fn parameter_end(&mut self) -> Result<(), i8> {
        self.skip_blanks();
        if self.peek().is_none() || self.take(b";") {
            return Ok(());
        }
        if matches!(self.text.get(self.at - 1), Some(b'\'' | b'"')) {
            self.flags.invalid_quoting = true;
        }
        Err(-12)
    }

    fn value(&mut self) -> Result<Value, i8> {
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => {
                self.at += 1;
                let text = self.quoted(quote)?;
                // Some back ends take single quotes for quotes, others for themselves.
                self.flags.invalid_quoting |= quote == b'\'';
                Ok(Value { lone_quote: quote == b'\'' && text.contains(&b'\''), text })
            }
            _ => {
                let text = self.take_while(is_token);
                Ok(Value { lone_quote: text.contains(&b'\''), text: text.to_vec() })
            }
        }
    }

    /// A value whose opening quote is taken. Only the quote and the backslash can be
    /// escaped: Internet Explorer sends paths with single backslashes.
    fn quoted(&mut self, quote: u8) -> Result<Vec<u8>, i8> {
        self.peek().ok_or(-7)?;
        let mut value = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match (byte, self.peek()) {
                (b'\\', None) => return Err(-8),
                (b'\\', Some(escaped)) if escaped == quote || escaped == b'\\' => {
                    value.push(escaped);
                    self.at += 1;
                }
                (byte, _) if byte == quote => return Ok(value),
                (byte, _) => value.push(byte),
            }
        }
        Err(-10)
    }

    /// `charset'language'name` of RFC 5987; the name stays encoded.
    fn extended_value(&mut self) -> Result<&'a [u8], i8> {
        let charset = self
            .take_while(|byte| byte.is_ascii_alphanumeric() || b"!#$%&+-^_`{}~".contains(&byte));
        if charset.is_empty() || !self.take(b"'") {
            return Err(-16);
        }
        self.take_while(|byte| byte != b'\'');
        if !self.take(b"'") {
            return Err(-17);
        }
        let start = self.at;
        while let Some(byte) = self.peek().filter(|byte| *byte != b';') {
            match byte {
                b'%' => match self.text.get(self.at + 1..self.at + 3) {
                    Some([high, low]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                        self.at += 3
                    }
                    _ => return Err(-18),
                },
                byte if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`~".contains(&byte) => {
                    self.at += 1
                }
                _ => return Err(-19),
            }
        }
        Ok(&self.text[start..self.at])
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, expected: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|byte| belongs(**byte)).count();
        self.at += length;
        &rest[..length]
    }

    fn skip_blanks(&mut self) {
        self.take_while(|byte| matches!(byte, b'\t' | b' '));
    }

    /// Something must follow the blanks.
    fn skip_blanks_or(&mut self, fault: i8) -> Result<(), i8> {
        self.skip_blanks();
        self.peek().map(|_| ()).ok_or(fault)
    }
}

struct Value {
    text: Vec<u8>,
    /// It holds a single quote though it does not stand in double ones.
    lone_quote: bool,
}

/// The characters of an RFC 2045 token.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_by_behaviour() {
        for (header, expected, name, filename, invalid_quoting) in [
            ("form-data", Ok(()), "", "", false),
            ("form-data; name=\"a b\"", Ok(()), "a b", "", false),
            ("form-data;name=a;filename=\"C:\\dir\\f.txt\"", Ok(()), "a", "C:\\dir\\f.txt", false),
            ("form-data; name=\"a\\\"b\\\\\"", Ok(()), "a\"b\\", "", false),
            ("form-data; name = a ; filename = b ;", Ok(()), "a", "b", false),
            ("form-data; name='a'", Ok(()), "a", "", true),
            ("form-data; name=a'b", Ok(()), "a'b", "", true),
            ("form-data; name=\"a'b\"", Ok(()), "a'b", "", false),
            (
                "form-data; name=\"a\"; filename=\"b\"; filename*=utf-8''%e2.txt",
                Ok(()),
                "a",
                "b",
                false,
            ),
            ("Form-data; name=a", Err(-1), "", "", false),
            ("form-data, name=a", Err(-2), "", "", false),
            ("form-data; ", Err(-3), "", "", false),
            ("form-data; name", Err(-4), "", "", false),
            ("form-data; name ", Err(-5), "", "", false),
            ("form-data; name=", Err(-6), "", "", false),
            ("form-data; name=\"", Err(-7), "", "", false),
            ("form-data; name=\"\\", Err(-8), "", "", false),
            ("form-data; name=\"a", Err(-10), "", "", false),
            ("form-data; size=1", Err(-11), "", "", false),
            ("form-data; name=\"a\"b\"", Err(-12), "a", "", true),
            ("form-data; name=a b", Err(-12), "a", "", false),
            ("form-data; name a", Err(-13), "", "", false),
            ("form-data; name=a; name=b", Err(-14), "a", "", false),
            ("form-data; filename=a; filename=b", Err(-15), "", "a", false),
            ("form-data; filename*=''a", Err(-16), "", "", false),
            ("form-data; filename*=utf-8'a", Err(-17), "", "", false),
            ("form-data; filename*=utf-8''%4", Err(-18), "", "", false),
            ("form-data; filename*=utf-8''a b", Err(-19), "", "", false),
            ("form-data; filename*=u''a;filename*=u''b", Err(-20), "", "", false),
            ("form-data; filename*=utf-8''a", Err(-21), "", "", false),
        ] {
            let (mut disposition, mut flags) = (Disposition::default(), Flags::default());
            let result = parse(header.as_bytes(), &mut disposition, &mut flags);
            assert_eq!(result, expected.map_err(Fault::Disposition), "{header}");
            assert_eq!(disposition.name, name.as_bytes(), "{header}");
            assert_eq!(disposition.filename, filename.as_bytes(), "{header}");
            assert_eq!(flags.invalid_quoting, invalid_quoting, "{header}");
        }
    }
}
