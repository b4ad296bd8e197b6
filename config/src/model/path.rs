use super::host::check_regex;
use crate::{
    document::shorten,
    shape::{Misfit, Shape, Written, text},
};
use std::{fmt, str::FromStr};

/// `path = "/shop"` (by segment), `"=/exact"` or `"~^/v[0-9]"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathPattern {
    /// The path itself and everything below it; without a trailing slash, except `/`.
    Prefix(String),
    /// The path itself only.
    Exact(String),
    /// Searched in the path: not anchored unless it says so.
    Regex(String),
}

/// Why a string is not a [`PathPattern`], and what may help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidPathPattern {
    message: String,
    help: Option<String>,
}

const EXPECTED: &str = "a path such as `/shop`, `=/shop` or `~^/v[0-9]`";

impl FromStr for PathPattern {
    type Err = InvalidPathPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPathPattern> {
        if let Some(regex) = text.strip_prefix('~') {
            return check_regex(regex)
                .map(|()| Self::Regex(regex.to_owned()))
                .map_err(|message| InvalidPathPattern { message, help: None });
        }
        let (path, mark) = match text.strip_prefix('=') {
            Some(path) => (path, "="),
            None => (text, ""),
        };
        let found = || format!("expected {EXPECTED}, found `{}`", shorten(text));
        if !path.starts_with('/') {
            let help = (!path.is_empty()).then(|| "a path starts with `/`".to_owned());
            return Err(InvalidPathPattern { message: found(), help });
        }
        if let Some(at) = path.find(['?', '#']) {
            let message = format!("`{}` is not a path", shorten(text));
            let help = Some(format!("routes match the path only: write `{mark}{}`", &path[..at]));
            return Err(InvalidPathPattern { message, help });
        }
        let mut normal = normalise(path).ok_or_else(|| InvalidPathPattern {
            message: found(),
            help: Some("`%` starts an escape of two hexadecimal digits".to_owned()),
        })?;
        if mark.is_empty() && normal.len() > 1 && normal.ends_with('/') {
            normal.pop();
        }
        match (normal == path, mark) {
            (false, _) => Err(InvalidPathPattern {
                message: format!(
                    "no request's path starts like `{}` once normalised",
                    shorten(text)
                )
                .replace("starts like", if mark.is_empty() { "starts with" } else { "is" }),
                help: Some(format!("write `{mark}{}`", shorten(&normal))),
            }),
            (true, "") => Ok(Self::Prefix(normal)),
            (true, _) => Ok(Self::Exact(normal)),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(path) => f.write_str(path),
            Self::Exact(path) => write!(f, "={path}"),
            Self::Regex(regex) => write!(f, "~{regex}"),
        }
    }
}

impl Written for PathPattern {
    fn shape() -> impl Shape<Value = Self> {
        text(EXPECTED, |text| {
            text.parse().map_err(|InvalidPathPattern { message, help }| {
                help.into_iter().fold(Misfit::because(message), Misfit::help)
            })
        })
    }
}

/// The form in which requests' paths are compared: slashes merged, dot segments resolved,
/// unreserved characters plain, anything that cannot stand in a path escaped, escapes in upper
/// case (RFC 3986 section 6.2.2). `None` if an escape is broken.
fn normalise(path: &str) -> Option<String> {
    let plain = unescape_unreserved(path)?;
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = plain.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | "" if last => segments.push(""),
            "." | "" => {}
            ".." => {
                segments.pop();
                if last {
                    segments.push("");
                }
            }
            part => segments.push(part),
        }
    }
    Some(format!("/{}", segments.join("/")))
}

fn unescape_unreserved(path: &str) -> Option<String> {
    let mut plain = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                // `from_str_radix` would take a sign.
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                let escaped = u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
                match is_unreserved(escaped) {
                    true => plain.push(char::from(escaped)),
                    false => plain.push_str(&format!("%{escaped:02X}")),
                }
            }
            byte if is_unreserved(byte) || b"/!$&'()*+,;=:@".contains(&byte) => {
                plain.push(char::from(byte));
            }
            byte => plain.push_str(&format!("%{byte:02X}")),
        }
    }
    Some(plain)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_read_back_as_written() {
        for path in ["/", "/shop", "/a/b.c", "=/", "=/shop/", "~^/v[0-9]", "/caf%C3%A9", "/a;b=c"] {
            assert_eq!(path.parse::<PathPattern>().unwrap().to_string(), path);
        }
    }

    #[test]
    fn paths_that_no_request_has_say_what_to_write() {
        let help = |path: &str| path.parse::<PathPattern>().unwrap_err().help.unwrap_or_default();
        assert_eq!(help("shop"), "a path starts with `/`");
        assert_eq!(help("/shop/"), "write `/shop`");
        assert_eq!(help("//shop"), "write `/shop`");
        assert_eq!(help("=/a/./b/../c"), "write `=/a/c`");
        assert_eq!(help("/%7euser"), "write `/~user`");
        assert_eq!(help("/a%2fb"), "write `/a%2Fb`");
        assert_eq!(help("/a b"), "write `/a%20b`");
        assert_eq!(help("/café"), "write `/caf%C3%A9`");
        assert_eq!(help("/%2e%2e/a"), "write `/a`");
        assert_eq!(help("/shop?x=1"), "routes match the path only: write `/shop`");
        assert_eq!(help("/100%"), "`%` starts an escape of two hexadecimal digits");
    }

    proptest! {
        // Without a query: one that is cut off may leave more to normalise.
        #[test]
        fn the_help_is_accepted(path in "=?/[a-z./%é ~2eEfF]{0,20}") {
            if let Err(InvalidPathPattern { help: Some(help), .. }) = path.parse::<PathPattern>()
                && let Some((_, better)) = help.split_once("write `")
            {
                let better = better.trim_end_matches('`');
                prop_assert!(better.parse::<PathPattern>().is_ok(), "{path} -> {better}");
            }
        }
    }
}
