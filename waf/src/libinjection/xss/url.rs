//! URLs that run a script.

/// Does a browser that follows `url` run a script in the page?
pub(super) fn runs_script(url: &[u8]) -> bool {
    // Opera and the Japanese encodings skip bytes above ASCII here.
    let start = url.iter().position(|byte| (b'!'..=b'~').contains(byte)).unwrap_or(url.len());
    let url = Significant { rest: &url[start..], started: false };
    // `JAVA` is for `javascript:` with anything inside.
    [&b"DATA"[..], b"VIEW-SOURCE", b"JAVA", b"VBSCRIPT"]
        .into_iter()
        .any(|scheme| url.clone().take(scheme.len()).eq(scheme.iter().copied()))
}

/// The characters of an attribute's value that a browser makes a URL of, in upper case.
#[derive(Clone)]
struct Significant<'a> {
    rest: &'a [u8],
    started: bool,
}

impl Iterator for Significant<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        loop {
            let (character, len) = decode(self.rest)?;
            self.rest = &self.rest[len..];
            if character <= 0x20 && !self.started {
                continue;
            }
            self.started = true;
            match character {
                0 | 0x0a => {}
                0x61..=0x7a => return Some(character as u8 - 0x20),
                // Beyond ASCII libinjection compares the low byte, as given.
                _ => return Some(character as u8),
            }
        }
    }
}

/// The first character of `text`, with numeric references decoded, and how long it is.
fn decode(text: &[u8]) -> Option<(u32, usize)> {
    let (&first, _) = text.split_first()?;
    let reference = match text {
        [b'&', b'#', b'x' | b'X', digits @ ..] => number(digits, 16).map(|(n, len)| (n, 3 + len)),
        [b'&', b'#', digits @ ..] => number(digits, 10).map(|(n, len)| (n, 2 + len)),
        _ => None,
    };
    Some(reference.unwrap_or((u32::from(first), 1)))
}

/// The number at the start of `text`, and how long it is with the `;` after it. Numbers too large
/// for a character are none.
fn number(text: &[u8], radix: u32) -> Option<(u32, usize)> {
    let digits = text.iter().map_while(|&byte| char::from(byte).to_digit(radix));
    let (value, len) = digits.enumerate().try_fold((0, 0), |(value, _), (at, digit)| {
        let value = value * radix + digit;
        (value <= MAX_CHARACTER).then_some((value, at + 1))
    })?;
    match text.get(len) {
        _ if len == 0 => None,
        Some(b';') => Some((value, len + 1)),
        _ => Some((value, len)),
    }
}

/// libinjection's limit. Unicode's would be `0x10_ffff`.
const MAX_CHARACTER: u32 = 0x10_00ff;
