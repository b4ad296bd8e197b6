//! The boundary that a `Content-Type` header announces.

use memchr::{memchr, memmem};

use super::{Fault, Flags, is_space};

const MIME_TYPE: &[u8] = b"multipart/form-data";
const PARAMETER: &[u8] = b"boundary";
const MAX_CONTENT_TYPE: usize = 1_024;

/// Finds the boundary, strictly: a header that different parsers could read
/// differently is refused or flagged.
///
/// Unlike libmodsecurity an empty boundary is an error (there such a body is not
/// looked at and passes as valid).
pub(super) fn boundary<'a>(content_type: &'a [u8], flags: &mut Flags) -> Result<&'a [u8], Fault> {
    if content_type.is_empty() {
        return Err(Fault::NoContentType);
    }
    if content_type.len() > MAX_CONTENT_TYPE {
        return Err(Fault::ContentTypeLength);
    }
    let (mime_type, parameters) =
        content_type.split_at_checked(MIME_TYPE.len()).ok_or(Fault::MimeType)?;
    if !mime_type.eq_ignore_ascii_case(MIME_TYPE) {
        return Err(Fault::MimeType);
    }
    let announced = count(content_type);
    if announced > 1 {
        return Err(Fault::BoundaryTwice);
    }
    let Some(start) = memmem::find(parameters, PARAMETER) else {
        return Err(if announced > 0 {
            Fault::Boundary("case sensitivity")
        } else {
            Fault::NoBoundary
        });
    };
    before_parameter(&parameters[..start], flags)?;
    let value = after_name(&parameters[start + PARAMETER.len()..], flags)?;
    let value = unquoted(value, flags)?;
    if count(value) != 0 {
        return Err(Fault::Boundary("content"));
    }
    // Some frameworks put a charset behind it.
    let value = match memchr(b';', value) {
        Some(end) if !is_valid(value) => &value[..end],
        _ => value,
    };
    match value {
        [] => Err(Fault::Boundary("empty")),
        value if !is_valid(value) => Err(Fault::Boundary("characters")),
        value => Ok(value),
    }
}

/// How often `boundary`, in any case, has an equals sign somewhere behind it.
fn count(text: &[u8]) -> usize {
    let Some(last) = memchr::memrchr(b'=', text) else { return 0 };
    let lower = text[..last].to_ascii_lowercase();
    memmem::find_iter(&lower, PARAMETER).count()
}

/// One semicolon and white space may stand before the parameter.
fn before_parameter(text: &[u8], flags: &mut Flags) -> Result<(), Fault> {
    let mut other = text.iter().filter(|byte| !is_space(**byte));
    match (other.next(), other.next()) {
        (None, _) => flags.missing_semicolon = true,
        (Some(b';'), None) => {}
        _ => return Err(Fault::Boundary("malformed")),
    }
    Ok(())
}

/// White space may stand around the equals sign.
fn after_name<'a>(text: &'a [u8], flags: &mut Flags) -> Result<&'a [u8], Fault> {
    let equals = memchr(b'=', text).ok_or(Fault::Boundary("malformed"))?;
    let (blank, value) = (&text[..equals], &text[equals + 1..]);
    let starts_blank = |text: &[u8]| text.first().is_some_and(|byte| is_space(*byte));
    flags.boundary_whitespace = starts_blank(blank);
    if !blank.iter().all(|byte| is_space(*byte)) {
        return Err(Fault::Boundary("parameter name"));
    }
    flags.boundary_whitespace |= starts_blank(value);
    Ok(value)
}

fn unquoted<'a>(value: &'a [u8], flags: &mut Flags) -> Result<&'a [u8], Fault> {
    match value {
        [b'"', inner @ .., b'"'] => {
            flags.boundary_quoted = !inner.is_empty();
            Ok(inner)
        }
        [b'"', ..] | [_, .., b'"'] => Err(Fault::Boundary("quote")),
        _ => Ok(value),
    }
}

/// The characters that RFC 2046 allows, with a blank not at the end.
fn is_valid(boundary: &[u8]) -> bool {
    boundary.last() != Some(&b' ')
        && boundary
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b" '()+_,-./:=?".contains(byte))
}
