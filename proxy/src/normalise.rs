//! One spelling of a path, made once: what routes match is what upstreams get.
//!
//! RFC 3986 section 6.2.2: escapes of unreserved characters are decoded, dot segments removed.
//! Everything else stays byte for byte: `%2f` and `%5c` are data (signed URLs contain them), `//`
//! is not merged, nothing is decoded twice. Refused: a path that climbs above the root, and a
//! dot segment with parameters (`/..;/`), which some servers read as `..` and others do not.

use std::borrow::Cow;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPath {
    /// More `..` than segments before them.
    #[error("the path climbs above the root")]
    AboveRoot,
    /// `/..;x/` or `/.;x/`.
    #[error("the path hides a dot segment behind `;`")]
    DotParameters,
    /// `%` without two hexadecimal digits, or an escape of a control byte.
    #[error("the path has a bad escape")]
    BadEscape,
    /// Not starting with `/`.
    #[error("the path does not start with `/`")]
    Relative,
}

/// Normalises `path` (no query). Borrowed when it already was normal, the common case.
pub(crate) fn path(path: &str) -> Result<Cow<'_, str>, BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath::Relative);
    }
    let decoded = decode_unreserved(path)?;
    if !has_dot_segment(&decoded) {
        return Ok(decoded);
    }
    remove_dot_segments(&decoded).map(Cow::Owned)
}

fn decode_unreserved(path: &str) -> Result<Cow<'_, str>, BadPath> {
    if memchr::memchr(b'%', path.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(path));
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    let mut changed = false;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let escape = rest.get(at..at + 3).ok_or(BadPath::BadEscape)?;
        let byte = u8::from_str_radix(&escape[1..], 16).map_err(|_| BadPath::BadEscape)?;
        if escape.as_bytes()[1] == b'+' || byte < 0x20 || byte == 0x7f {
            return Err(BadPath::BadEscape);
        }
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
            changed = true;
        } else {
            out.push_str(escape);
        }
        rest = &rest[at + 3..];
    }
    if !changed {
        return Ok(Cow::Borrowed(path));
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// Whether a server that reads `%2f`, `%5c` or `\` as `/` would find a `..` in a path that was
/// normalised.
pub(crate) fn hides_parent(path: &str) -> bool {
    if memchr::memchr2(b'%', b'\\', path.as_bytes()).is_none() {
        return false;
    }
    let plain =
        path.to_ascii_lowercase().replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    plain.split('/').any(|segment| segment == ".." || segment.starts_with("..;"))
}

fn has_dot_segment(path: &str) -> bool {
    memchr::memchr_iter(b'/', path.as_bytes()).any(|at| path.as_bytes().get(at + 1) == Some(&b'.'))
}

fn remove_dot_segments(path: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => out.push('/'),
            "." => {}
            ".." => {
                let parent = out.rfind('/').ok_or(BadPath::AboveRoot)?;
                out.truncate(parent);
                if last {
                    out.push('/');
                }
            }
            _ if segment.starts_with(".;") || segment.starts_with("..;") => {
                return Err(BadPath::DotParameters);
            }
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn normal_paths_are_borrowed() {
        for text in ["/", "/a/b", "/a//b", "/a%2fb", "/a%5Cb", "/.well-known/x", "/a/...", "/%e4"] {
            assert_eq!(path(text), Ok(Cow::Borrowed(text)));
        }
    }

    #[test]
    fn dot_segments_go_once() {
        for (from, to) in [
            ("/a/../b", "/b"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E./b", "/b"),
            ("/a/./b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/%61dmin", "/admin"),
            ("/a//../b", "/a/b"),
            ("/%252e%252e/b", "/%252e%252e/b"),
        ] {
            assert_eq!(path(from).as_deref(), Ok(to), "{from}");
        }
    }

    #[test]
    fn escapes_from_the_root_and_tricks_are_refused() {
        assert_eq!(path("/../etc"), Err(BadPath::AboveRoot));
        assert_eq!(path("/a/../../etc"), Err(BadPath::AboveRoot));
        assert_eq!(path("/a/..;/b"), Err(BadPath::DotParameters));
        assert_eq!(path("/a/%2e%2e;x=1/b"), Err(BadPath::DotParameters));
        for bad in ["/%", "/%z", "/%zz", "/%00", "/%0d%0a", "/%+1", "/%é"] {
            assert_eq!(path(bad), Err(BadPath::BadEscape), "{bad}");
        }
        assert_eq!(path("*"), Err(BadPath::Relative));
    }

    #[test]
    fn parents_hide_behind_other_separators() {
        for path in ["/a/..%2fb", "/a%5C..", "/a/..\\b", "/a%2F..;x/b"] {
            assert!(hides_parent(path), "{path}");
        }
        for path in ["/a/b", "/a%2fb", "/a..%2fb", "/a%2f...", "/%252e%252e%252f"] {
            assert!(!hides_parent(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(text in "/([a-c./;%]|%2e|%2F|%61){0,24}") {
            if let Ok(once) = path(&text) {
                prop_assert_eq!(path(&once), Ok(Cow::Borrowed(&*once)));
                prop_assert!(!once.split('/').any(|s| s == "." || s == ".."));
            }
        }
    }
}
