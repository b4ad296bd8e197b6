//! `patches`: rules for one fault of a service, written as configuration.

use super::{super::route::method, exclusion};
use crate::{
    Name, PathPattern,
    shape::{Misfit, Reader, TextShape, Written, optional, set, table, text, whole},
};
use http::Method;

table! {
    /// An entry of `[waf.NAME] patches`: refuses what exploits a fault of the service until the
    /// service is mended.
    pub struct WafPatch {
        /// Names it in logs; mostly a CVE.
        name: Name,
        /// Only on these paths, written as a route's `path`. Default: every path.
        path: Option<PathPattern> as optional(PathPattern::shape()),
        /// Only with these methods. Default: every method.
        methods: Vec<Method> = [] as set(method()),
        /// The value looked at, such as `ARGS:user`, `REQUEST_HEADERS:X-Api` or `REQUEST_BODY`. Where it is missing nothing is refused.
        target: String as target(),
        /// Refused is a value in which this regular expression is found.
        matches: Option<String> as optional(pattern()),
        /// Refused is a value in which this regular expression is not found.
        unless: Option<String> as optional(pattern()),
        /// Refused is a value of more bytes.
        longer_than: Option<u32> as optional(whole(0..=1_000_000_000)),
    }
    check = has_one_test;
}

fn has_one_test(_: &WafPatch, reader: &mut Reader<'_, '_, '_>) {
    reader.one_of(&["matches", "unless", "longer_than"]);
}

/// A target as exclusions have it, without what could end it in a rule.
fn target() -> TextShape<String> {
    text("a variable such as `ARGS:user` or `REQUEST_HEADERS:/^x-/`", |text| {
        let target = exclusion::target().parse(text)?;
        if target.starts_with("RESPONSE_") {
            return Err(Misfit::because("a patch looks at requests")
                .help("write a rule of phase 3 or 4 in a file of `rules`"));
        }
        let fits = |byte| matches!(byte, b'!'..=b'~') && !b"\"'|,\\".contains(&byte);
        match target.bytes().all(fits) {
            true => Ok(target),
            false => {
                Err(Misfit::because("a target holds no white space, quotes, `|`, `,` or `\\`")
                    .help("name the values by a pattern such as `ARGS:/^a.b$/`"))
            }
        }
    })
}

/// Compiled with the rules; here only what no rule can hold.
fn pattern() -> TextShape<String> {
    text("a regular expression", |text| {
        let ending = text.bytes().rev().take_while(|&byte| byte == b'\\').count();
        if text.is_empty() || text.len() > 16 << 10 {
            return Err(Misfit::because("expected a regular expression of 1 to 16,384 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(Misfit::because("a pattern holds no control characters")
                .help("write escapes such as `\\n` or `\\x09`"));
        }
        match ending % 2 == 0 {
            true => Ok(text.to_owned()),
            false => Err(Misfit::because("the pattern ends in a lone `\\`")),
        }
    })
}
