//! What a rule looks at: `ARGS|!ARGS:/^_/|&REQUEST_HEADERS:Host|TX:score`.

use super::fault::show;

/// Declares the collections with their names in rule files.
macro_rules! collections {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A collection or a single variable of a transaction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Collection { $(#[doc = concat!("`", $name, "`")] $variant,)* }

        impl Collection {
            /// From an upper-case name.
            pub(crate) fn parse(name: &[u8]) -> Option<Self> {
                $(if name == $name.as_bytes() { return Some(Self::$variant); })*
                None
            }

            /// The name in rule files and in matches.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

collections! {
    Args = "ARGS",
    ArgsNames = "ARGS_NAMES",
    ArgsGet = "ARGS_GET",
    ArgsGetNames = "ARGS_GET_NAMES",
    ArgsPost = "ARGS_POST",
    ArgsPostNames = "ARGS_POST_NAMES",
    ArgsCombinedSize = "ARGS_COMBINED_SIZE",
    AuthType = "AUTH_TYPE",
    Duration = "DURATION",
    Env = "ENV",
    Files = "FILES",
    FilesCombinedSize = "FILES_COMBINED_SIZE",
    FilesNames = "FILES_NAMES",
    FilesSizes = "FILES_SIZES",
    FilesTmpnames = "FILES_TMPNAMES",
    FilesTmpContent = "FILES_TMP_CONTENT",
    FullRequest = "FULL_REQUEST",
    FullRequestLength = "FULL_REQUEST_LENGTH",
    Geo = "GEO",
    Global = "GLOBAL",
    HighestSeverity = "HIGHEST_SEVERITY",
    InboundDataError = "INBOUND_DATA_ERROR",
    Ip = "IP",
    MatchedVar = "MATCHED_VAR",
    MatchedVarName = "MATCHED_VAR_NAME",
    MatchedVars = "MATCHED_VARS",
    MatchedVarsNames = "MATCHED_VARS_NAMES",
    ModsecBuild = "MODSEC_BUILD",
    MultipartBoundaryQuoted = "MULTIPART_BOUNDARY_QUOTED",
    MultipartBoundaryWhitespace = "MULTIPART_BOUNDARY_WHITESPACE",
    MultipartCrlfLfLines = "MULTIPART_CRLF_LF_LINES",
    MultipartDataAfter = "MULTIPART_DATA_AFTER",
    MultipartDataBefore = "MULTIPART_DATA_BEFORE",
    MultipartFileLimitExceeded = "MULTIPART_FILE_LIMIT_EXCEEDED",
    MultipartFilename = "MULTIPART_FILENAME",
    MultipartHeaderFolding = "MULTIPART_HEADER_FOLDING",
    MultipartInvalidHeaderFolding = "MULTIPART_INVALID_HEADER_FOLDING",
    MultipartInvalidPart = "MULTIPART_INVALID_PART",
    MultipartInvalidQuoting = "MULTIPART_INVALID_QUOTING",
    MultipartLfLine = "MULTIPART_LF_LINE",
    MultipartMissingSemicolon = "MULTIPART_MISSING_SEMICOLON",
    MultipartName = "MULTIPART_NAME",
    MultipartPartHeaders = "MULTIPART_PART_HEADERS",
    MultipartSemicolonMissing = "MULTIPART_SEMICOLON_MISSING",
    MultipartStrictError = "MULTIPART_STRICT_ERROR",
    MultipartUnmatchedBoundary = "MULTIPART_UNMATCHED_BOUNDARY",
    OutboundDataError = "OUTBOUND_DATA_ERROR",
    PathInfo = "PATH_INFO",
    QueryString = "QUERY_STRING",
    RemoteAddr = "REMOTE_ADDR",
    RemoteHost = "REMOTE_HOST",
    RemotePort = "REMOTE_PORT",
    RemoteUser = "REMOTE_USER",
    ReqbodyError = "REQBODY_ERROR",
    ReqbodyErrorMsg = "REQBODY_ERROR_MSG",
    ReqbodyProcessor = "REQBODY_PROCESSOR",
    ReqbodyProcessorError = "REQBODY_PROCESSOR_ERROR",
    ReqbodyProcessorErrorMsg = "REQBODY_PROCESSOR_ERROR_MSG",
    RequestBasename = "REQUEST_BASENAME",
    RequestBody = "REQUEST_BODY",
    RequestBodyLength = "REQUEST_BODY_LENGTH",
    RequestCookies = "REQUEST_COOKIES",
    RequestCookiesNames = "REQUEST_COOKIES_NAMES",
    RequestFilename = "REQUEST_FILENAME",
    RequestHeaders = "REQUEST_HEADERS",
    RequestHeadersNames = "REQUEST_HEADERS_NAMES",
    RequestLine = "REQUEST_LINE",
    RequestMethod = "REQUEST_METHOD",
    RequestProtocol = "REQUEST_PROTOCOL",
    RequestUri = "REQUEST_URI",
    RequestUriRaw = "REQUEST_URI_RAW",
    Resource = "RESOURCE",
    ResponseBody = "RESPONSE_BODY",
    ResponseContentLength = "RESPONSE_CONTENT_LENGTH",
    ResponseContentType = "RESPONSE_CONTENT_TYPE",
    ResponseHeaders = "RESPONSE_HEADERS",
    ResponseHeadersNames = "RESPONSE_HEADERS_NAMES",
    ResponseProtocol = "RESPONSE_PROTOCOL",
    ResponseStatus = "RESPONSE_STATUS",
    ServerAddr = "SERVER_ADDR",
    ServerName = "SERVER_NAME",
    ServerPort = "SERVER_PORT",
    Session = "SESSION",
    SessionId = "SESSIONID",
    StatusLine = "STATUS_LINE",
    Time = "TIME",
    TimeDay = "TIME_DAY",
    TimeEpoch = "TIME_EPOCH",
    TimeHour = "TIME_HOUR",
    TimeMin = "TIME_MIN",
    TimeMon = "TIME_MON",
    TimeSec = "TIME_SEC",
    TimeWday = "TIME_WDAY",
    TimeYear = "TIME_YEAR",
    Tx = "TX",
    UniqueId = "UNIQUE_ID",
    UrlencodedError = "URLENCODED_ERROR",
    User = "USER",
    UserId = "USERID",
    Webappid = "WEBAPPID",
    XmlText = "XML",
    XmlAttributes = "XML://@*",
}

impl Collection {
    /// Whether it is one value, which always exists, if only as an empty one.
    pub(crate) const fn is_single(self) -> bool {
        !self.is_volatile()
            && !matches!(
                self,
                Self::Args
                    | Self::ArgsNames
                    | Self::ArgsGet
                    | Self::ArgsGetNames
                    | Self::ArgsPost
                    | Self::ArgsPostNames
                    | Self::Files
                    | Self::FilesNames
                    | Self::FilesSizes
                    | Self::FilesTmpnames
                    | Self::FilesTmpContent
                    | Self::MultipartPartHeaders
                    | Self::RequestCookies
                    | Self::RequestCookiesNames
                    | Self::RequestHeaders
                    | Self::RequestHeadersNames
                    | Self::ResponseHeaders
                    | Self::ResponseHeadersNames
                    | Self::XmlText
                    | Self::XmlAttributes
            )
    }

    /// Whether anything ever gives it a value. What nothing does is known so that exclusions may
    /// name it; a rule that looked at it would match nothing, or everything, without a word.
    pub(crate) const fn is_told(self) -> bool {
        !matches!(
            self,
            Self::FilesTmpnames
                | Self::FilesTmpContent
                | Self::FullRequest
                | Self::FullRequestLength
                | Self::ModsecBuild
                | Self::RemoteUser
                | Self::SessionId
                | Self::UserId
        )
    }

    /// Whether it is about the time of day, which few rules ask for.
    pub(crate) const fn is_clock(self) -> bool {
        matches!(
            self,
            Self::Time
                | Self::TimeDay
                | Self::TimeHour
                | Self::TimeMin
                | Self::TimeMon
                | Self::TimeSec
                | Self::TimeWday
                | Self::TimeYear
        )
    }

    /// Whether rules may change it: its values are then never cached.
    pub(crate) const fn is_volatile(self) -> bool {
        matches!(
            self,
            Self::Tx
                | Self::Ip
                | Self::Global
                | Self::Session
                | Self::User
                | Self::Resource
                | Self::Env
                | Self::Geo
                | Self::MatchedVar
                | Self::MatchedVarName
                | Self::MatchedVars
                | Self::MatchedVarsNames
                | Self::HighestSeverity
                | Self::SessionId
                | Self::UserId
                | Self::Duration
        )
    }
}

/// Which members of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Selector {
    /// All.
    All,
    /// The one of this name, without regard to case. Lower case here.
    Named(Vec<u8>),
    /// Those whose name this pattern finds, without regard to case.
    Matching(Vec<u8>),
}

/// One element of a rule's first argument.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) collection: Collection,
    pub(crate) selector: Selector,
    /// `&`: how many there are, instead of their values.
    pub(crate) count: bool,
    /// `!`: leave these out.
    pub(crate) exclude: bool,
}

/// An inclusive range of rule ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl IdRange {
    /// `942100` or `942100-942999`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let wrong = || format!("expected a rule id or a range of ids, found `{}`", show(text));
        let text_str = std::str::from_utf8(text).map_err(|_| wrong())?;
        let number =
            |s: &str| s.trim().trim_matches(['\'', '"']).parse::<u64>().map_err(|_| wrong());
        let (first, last) = match text_str.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(text_str)?, number(text_str)?),
        };
        if first > last {
            return Err(wrong());
        }
        Ok(Self { first, last })
    }

    pub(crate) const fn contains(self, id: u64) -> bool {
        self.first <= id && id <= self.last
    }
}

/// Parses a list of targets separated by `|`.
pub(crate) fn parse_targets(text: &[u8]) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    let mut rest = text.trim_ascii();
    if rest.is_empty() {
        return Err("no variable to look at".to_owned());
    }
    loop {
        let (target, after) = parse_target(rest)?;
        targets.push(target);
        match after {
            Some(after) => rest = after,
            None => return Ok(targets),
        }
    }
}

/// The first target of `text`, and what follows its `|`.
fn parse_target(text: &[u8]) -> Result<(Target, Option<&[u8]>), String> {
    let mut rest = text.trim_ascii_start();
    let exclude = rest.first() == Some(&b'!');
    if exclude {
        rest = &rest[1..];
    }
    let count = rest.first() == Some(&b'&');
    if count {
        rest = &rest[1..];
    }
    let end = rest.iter().position(|&b| b == b':' || b == b'|').unwrap_or(rest.len());
    let name = rest[..end].trim_ascii().to_ascii_uppercase();
    let (selector, after) = match rest.get(end) {
        Some(b':') => {
            let (raw, after) = selector_text(&rest[end + 1..])?;
            (Some(raw), after)
        }
        Some(_) => (None, Some(&rest[end + 1..])),
        None => (None, None),
    };
    let mut collection = Collection::parse(&name)
        .ok_or_else(|| format!("unknown variable `{}`", show(&rest[..end])))?;
    let selector = match (collection, selector) {
        (Collection::XmlText, Some(Raw::Text(path))) => {
            // The two expressions every rule set uses; a general XPath needs a document tree.
            collection = match path.as_slice() {
                b"/*" => Collection::XmlText,
                b"//@*" => Collection::XmlAttributes,
                other => return Err(format!("unsupported XPath `{}`", show(other))),
            };
            Selector::All
        }
        (Collection::XmlText, _) => return Err("`XML` needs `/*` or `//@*`".to_owned()),
        (_, None) => Selector::All,
        (_, Some(Raw::Text(name))) => Selector::Named(name.to_ascii_lowercase()),
        (_, Some(Raw::Pattern(pattern))) => Selector::Matching(pattern),
    };
    Ok((Target { collection, selector, count, exclude }, after))
}

enum Raw {
    Text(Vec<u8>),
    Pattern(Vec<u8>),
}

fn selector_text(text: &[u8]) -> Result<(Raw, Option<&[u8]>), String> {
    let quoted = text.first() == Some(&b'\'');
    let body = if quoted { &text[1..] } else { text };
    // `/*` and `//@*` are XPath, not patterns.
    if body.first() == Some(&b'/') && !body.starts_with(b"/*") && !body.starts_with(b"//@*") {
        let mut pattern = Vec::new();
        let mut at = 1;
        loop {
            match body.get(at) {
                None => return Err(format!("missing `/` behind the pattern `{}`", show(body))),
                Some(b'\\') if body.get(at + 1) == Some(&b'/') => {
                    pattern.push(b'/');
                    at += 2;
                }
                Some(b'\\') if at + 1 < body.len() => {
                    pattern.extend_from_slice(&body[at..at + 2]);
                    at += 2;
                }
                Some(b'/') => break,
                Some(&byte) => {
                    pattern.push(byte);
                    at += 1;
                }
            }
        }
        at += 1;
        if quoted {
            if body.get(at) != Some(&b'\'') {
                return Err(format!("missing `'` behind `{}`", show(body)));
            }
            at += 1;
        }
        return Ok((Raw::Pattern(pattern), behind(&body[at..])?));
    }
    let stop = if quoted { b'\'' } else { b'|' };
    let end = body.iter().position(|&b| b == stop).unwrap_or(body.len());
    if quoted && end == body.len() {
        return Err(format!("missing `'` behind `{}`", show(body)));
    }
    let name = body[..end].trim_ascii().to_vec();
    if name.is_empty() {
        return Err("a `:` without a name".to_owned());
    }
    let after = if quoted { &body[end + 1..] } else { &body[end..] };
    Ok((Raw::Text(name), behind(after)?))
}

fn behind(text: &[u8]) -> Result<Option<&[u8]>, String> {
    match text.trim_ascii_start() {
        [] => Ok(None),
        [b'|', rest @ ..] => Ok(Some(rest)),
        other => Err(format!("expected `|`, found `{}`", show(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(collection: Collection, selector: Selector) -> Target {
        Target { collection, selector, count: false, exclude: false }
    }

    #[test]
    fn reads_lists_counts_exclusions_and_patterns() {
        let all =
            parse_targets(br"ARGS|!ARGS:/^a\/b|c$/|&REQUEST_HEADERS:Host|XML:/*|XML://@*|TX:'/X/'")
                .unwrap();
        assert_eq!(
            all,
            [
                target(Collection::Args, Selector::All),
                Target {
                    exclude: true,
                    ..target(Collection::Args, Selector::Matching(b"^a/b|c$".to_vec()))
                },
                Target {
                    count: true,
                    ..target(Collection::RequestHeaders, Selector::Named(b"host".to_vec()))
                },
                target(Collection::XmlText, Selector::All),
                target(Collection::XmlAttributes, Selector::All),
                target(Collection::Tx, Selector::Matching(b"X".to_vec())),
            ]
        );
    }

    #[test]
    fn unknown_names_and_broken_patterns_are_errors() {
        for text in ["NOPE", "ARGS:", "ARGS:/a", "ARGS:'a", "ARGS:/a/b", "XML:/a/b", ""] {
            assert!(parse_targets(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_of_ids() {
        assert!(IdRange::parse(b"1-3").unwrap().contains(2));
        assert!(!IdRange::parse(b"7").unwrap().contains(8));
        assert!(IdRange::parse(b"3-1").is_err());
        assert!(IdRange::parse(b"x").is_err());
    }
}
