//! Documents in other encodings than UTF-8.
//!
//! A rule sees bytes; a payload in UTF-16 would pass it. So the encoding that the
//! back end's parser will use is undone, and one that is unknown is refused.

use super::Utf8;

/// What bytes 0x80 to 0x9F are in windows-1252; the five it does not define stay
/// control characters, as browsers have it.
const WINDOWS_1252: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039,
    0x152, 0x8d, 0x17d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc,
    0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
];

/// The document in UTF-8, without its byte order mark, and whether that is what any
/// parser makes of it. It is not if the encoding is unknown or if a mark contradicts
/// the declaration; then the bytes are read as they are, for what they show.
pub(super) fn to_utf8(body: &[u8]) -> (Utf8<'_>, bool) {
    match body {
        [0xef, 0xbb, 0xbf, rest @ ..] => {
            let is_utf8 =
                declared_name(rest).is_none_or(|name| name.eq_ignore_ascii_case(b"utf-8"));
            (rest.into(), is_utf8)
        }
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => (body.into(), false), // UTF-32
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [b'<', 0, b'?', 0, ..] => wide(body, u16::from_le_bytes),
        [0, b'<', 0, b'?', ..] => wide(body, u16::from_be_bytes),
        _ => match declared_name(body) {
            Some(name) => declared(body, name),
            None => (body.into(), true),
        },
    }
}

/// UTF-16, whatever known encoding the document says it is in: libraries that turn
/// documents into UTF-16 leave their declaration as it was.
fn wide(body: &[u8], unit: fn([u8; 2]) -> u16) -> (Utf8<'static>, bool) {
    let utf8 = utf16(body, unit);
    let is_known = declared_name(&utf8).is_none_or(|name| {
        name.to_ascii_lowercase().starts_with(b"utf-16") || declared(b"", name).1
    });
    (utf8, is_known)
}

/// In the encoding that the XML declaration names.
fn declared<'a>(body: &'a [u8], name: &[u8]) -> (Utf8<'a>, bool) {
    match name.to_ascii_lowercase().as_slice() {
        b"utf-8" | b"utf8" => (body.into(), true),
        b"us-ascii" | b"ascii" => (body.into(), body.is_ascii()),
        b"iso-8859-1" | b"iso8859-1" | b"latin1" | b"iso-latin-1" => {
            (single_bytes(body, u16::from), true)
        }
        b"windows-1252" | b"cp1252" => {
            let map = |byte| match byte {
                0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
                _ => byte.into(),
            };
            (single_bytes(body, map), true)
        }
        _ => (body.into(), false),
    }
}

/// The `encoding` of the XML declaration, if the body starts with one.
fn declared_name(body: &[u8]) -> Option<&[u8]> {
    let rest = body
        .strip_prefix(b"<?xml")
        .filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace))?;
    let declaration = &rest[..memchr::memmem::find(rest, b"?>")?];
    let name = &declaration[memchr::memmem::find(declaration, b"encoding")? + 8..];
    let name = name.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    match name {
        [quote @ (b'"' | b'\''), name @ ..] => Some(&name[..memchr::memchr(*quote, name)?]),
        _ => None,
    }
}

/// What is no UTF-16 becomes U+FFFF, which XML does not allow.
fn utf16(body: &[u8], unit: fn([u8; 2]) -> u16) -> Utf8<'static> {
    let mut text = String::with_capacity(body.len());
    let units = body.chunks_exact(2);
    let is_odd = !units.remainder().is_empty();
    let units = units.map(|pair| unit([pair[0], pair[1]]));
    text.extend(char::decode_utf16(units).map(|char| char.unwrap_or('\u{ffff}')));
    if is_odd {
        text.push('\u{ffff}');
    }
    text.into_bytes().into()
}

fn single_bytes(body: &[u8], map: impl Fn(u8) -> u16) -> Utf8<'_> {
    if body.is_ascii() {
        return body.into();
    }
    let text: String = body.iter().filter_map(|byte| char::from_u32(map(*byte).into())).collect();
    text.into_bytes().into()
}
