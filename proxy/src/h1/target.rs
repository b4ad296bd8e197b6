//! The request target (RFC 9112 section 3.2), checked byte by byte and turned into
//! a `Uri` without copying.
//!
//! The handler always sees origin-form, or `*` for OPTIONS. An absolute-form target
//! is taken apart: its authority must repeat Host (checked with the head; RFC 9112
//! section 3.2.2 lets the target win, but a client that says two names is lying to
//! someone), its scheme must be http or https and is otherwise ignored: what the
//! connection is, the connection knows. What is handed on is exactly what was
//! checked; nothing is decoded or normalised here.

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Uri};

use super::Malformed;

/// A checked target.
#[derive(Debug)]
pub(super) struct Target {
    /// Origin-form, or `*`.
    pub(super) uri: Uri,
    /// The authority of an absolute-form target.
    pub(super) authority: Option<Bytes>,
}

/// Checks `raw` and gives it its form.
pub(super) fn parse(method: &Method, raw: Bytes) -> Result<Target, Malformed> {
    check_bytes(&raw)?;
    match raw.first() {
        Some(b'/') => Ok(Target { uri: origin(raw)?, authority: None }),
        Some(b'*') if raw.len() == 1 && method == Method::OPTIONS => {
            Ok(Target { uri: Uri::from_static("*"), authority: None })
        }
        _ => absolute(method, raw),
    }
}

/// `scheme "://" authority path-abempty [ "?" query ]`
fn absolute(method: &Method, raw: Bytes) -> Result<Target, Malformed> {
    let scheme = [b"http://".as_slice(), b"https://"]
        .into_iter()
        .find(|scheme| raw.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme)))
        .ok_or(Malformed::Target)?;
    let rest = raw.slice(scheme.len()..);
    let end = memchr::memchr2(b'/', b'?', &rest).unwrap_or(rest.len());
    let (authority, path) = (rest.slice(..end), rest.slice(end..));
    if !super::host::is_valid(&authority) {
        return Err(Malformed::Target);
    }
    let uri = match path.first() {
        Some(b'/') => origin(path)?,
        // RFC 9112 section 3.2.4: OPTIONS of an empty path asks about the server.
        None if method == Method::OPTIONS => Uri::from_static("*"),
        None => Uri::from_static("/"),
        Some(_) => {
            let mut rooted = BytesMut::with_capacity(path.len() + 1);
            rooted.put_u8(b'/');
            rooted.put_slice(&path);
            origin(rooted.freeze())?
        }
    };
    Ok(Target { uri, authority: Some(authority) })
}

/// `Uri` cuts a fragment off and has a table of its own; what it would change is
/// refused, so that the bytes forwarded are the bytes checked.
fn origin(raw: Bytes) -> Result<Uri, Malformed> {
    let length = raw.len();
    let uri = Uri::from_maybe_shared(raw).map_err(|_| Malformed::Target)?;
    match uri.path_and_query() {
        Some(kept) if kept.as_str().len() == length => Ok(uri),
        _ => Err(Malformed::Target),
    }
}

pub(crate) fn check_bytes(raw: &[u8]) -> Result<(), Malformed> {
    let seen = raw.iter().fold(0, |seen, byte| seen | CLASS[usize::from(*byte)]);
    if seen & REFUSED != 0 || (seen & ESCAPE != 0 && !escapes_are_sound(raw)) {
        return Err(Malformed::Target);
    }
    Ok(())
}

/// Every `%` starts two hex digits, and none of them hides NUL. CR and LF may be hidden in a query
/// only: that is how a form with several lines is sent.
fn escapes_are_sound(raw: &[u8]) -> bool {
    let query = memchr::memchr(b'?', raw).unwrap_or(raw.len());
    memchr::memchr_iter(b'%', raw).all(|at| {
        raw.get(at + 1..at + 3).is_some_and(|digits| {
            let line_end = matches!(digits, [b'0', b'a' | b'A' | b'd' | b'D']);
            digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00" && (at > query || !line_end)
        })
    })
}

const REFUSED: u8 = 1;
const ESCAPE: u8 = 2;

/// Per byte: refused outright, or the start of an escape.
const CLASS: [u8; 256] = {
    let mut class = [REFUSED; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        class[byte] = 0;
        byte += 1;
    }
    class[b'#' as usize] = REFUSED;
    class[b'%' as usize] = ESCAPE;
    class
};

#[cfg(test)]
mod tests {
    use super::*;

    fn get(raw: &'static str) -> Option<(String, Option<Bytes>)> {
        of(&Method::GET, raw)
    }

    fn of(method: &Method, raw: &'static str) -> Option<(String, Option<Bytes>)> {
        let target = parse(method, Bytes::from_static(raw.as_bytes())).ok()?;
        assert!(target.uri.authority().is_none() && target.uri.scheme().is_none());
        Some((target.uri.to_string(), target.authority))
    }

    #[test]
    fn keeps_origin_form_as_it_is() {
        for raw in [
            "/",
            "/a/%2e%2e/b?x=%20&y=//",
            "//two",
            "/a?b=%0d%0A",
            "/a/../b",
            "/%2f%5c\\",
            "/;p=1,2",
            "/?a?b",
            "/\"{}",
        ] {
            assert_eq!(get(raw), Some((raw.into(), None)), "{raw}");
        }
    }

    #[test]
    fn refuses_what_others_read_differently() {
        for raw in [
            "",
            "a",
            "?a",
            "*",
            "/a#b",
            "/a b",
            "/a\t",
            "/%",
            "/%2",
            "/%zz",
            "/%0",
            "/%00",
            "/%0d",
            "/%0A",
            "/\u{7f}",
            "/ä",
            "/<",
            "example.com",
            "example.com:80",
            "ftp://a/",
            "http:/a",
            "http://",
            "http:///x",
            "http://u@a/",
            "http://a:/",
            "http:a",
        ] {
            assert_eq!(get(raw), None, "{raw}");
        }
    }

    #[test]
    fn takes_absolute_form_apart() {
        let a = Some(Bytes::from_static(b"a:81"));
        assert_eq!(get("http://a:81/x?y"), Some(("/x?y".into(), a.clone())));
        assert_eq!(get("HTTPS://a:81"), Some(("/".into(), a.clone())));
        assert_eq!(get("http://a:81?y"), Some(("/?y".into(), a.clone())));
        assert_eq!(of(&Method::OPTIONS, "http://a:81"), Some(("*".into(), a)));
        assert_eq!(of(&Method::OPTIONS, "*"), Some(("*".into(), None)));
    }
}
