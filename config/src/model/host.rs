use crate::shape::{Misfit, Shape, TextShape, Written, text};
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// `host = "shop.example.com"`, `"*.example.com"` (one label or more) or `"~regex"`; kept in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// One host; an IPv6 address is in brackets.
    Exact(String),
    /// The suffix after `*`, with its dot: `.example.com`.
    Wildcard(String),
    /// Searched in the host: not anchored unless it says so.
    Regex(String),
}

/// Why a string is not a [`HostPattern`], and what may help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidHostPattern {
    message: String,
    help: Option<String>,
}

/// The largest compiled regular expression, in bytes.
pub(crate) const REGEX_SIZE: usize = 1 << 20;

impl FromStr for HostPattern {
    type Err = InvalidHostPattern;

    fn from_str(text: &str) -> Result<Self, InvalidHostPattern> {
        if let Some(regex) = text.strip_prefix('~') {
            return check_regex(regex)
                .map(|()| Self::Regex(regex.to_owned()))
                .map_err(|message| InvalidHostPattern { message, help: None });
        }
        let expected = "a host such as `shop.example.com`, `*.example.com` or `~regex`";
        let invalid = |help: Option<String>| InvalidHostPattern {
            message: format!("expected {expected}, found `{}`", crate::document::shorten(text)),
            help,
        };
        match text.strip_prefix('*') {
            Some("") => Err(invalid(Some("leave out the host to match every one".to_owned()))),
            Some(suffix) => match suffix.strip_prefix('.').map(check_host) {
                Some(Ok(())) => Ok(Self::Wildcard(suffix.to_owned())),
                Some(Err(help)) => Err(invalid(help)),
                None => {
                    Err(invalid(Some(format!("`*` stands for whole labels: write `*.{suffix}`"))))
                }
            },
            None => match check_host(text) {
                Ok(()) => Ok(Self::Exact(text.to_owned())),
                Err(help) => Err(invalid(help)),
            },
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*{suffix}"),
            Self::Regex(regex) => write!(f, "~{regex}"),
        }
    }
}

impl Written for HostPattern {
    fn shape() -> impl Shape<Value = Self> {
        text("a host such as `shop.example.com`, `*.example.com` or `~regex`", |text| {
            text.parse().map_err(|InvalidHostPattern { message, help }| {
                let misfit = Misfit::because(message);
                help.into_iter().fold(misfit, Misfit::help)
            })
        })
    }
}

/// A single name, without wildcards, or an IP address.
pub(crate) fn server_name() -> TextShape<String> {
    text("a host name such as `shop.example.com`", |text| {
        if text.starts_with('*') {
            return Err(Misfit::form().help("list the names one by one"));
        }
        let bare_v6 = text.parse::<Ipv6Addr>().is_ok();
        match if bare_v6 { Ok(()) } else { check_host(text) } {
            Ok(()) => Ok(text.to_owned()),
            Err(help) => Err(help.into_iter().fold(Misfit::form(), Misfit::help)),
        }
    })
}

/// Whether a text is a single name or an IP address.
pub(crate) fn is_host(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok() || check_host(text).is_ok()
}

/// Whether certificates for `host` come from the internal CA whatever the issuer is: IP
/// addresses and names that no public authority would sign, such as `localhost` and `*.internal`.
pub fn is_local_name(host: &str) -> bool {
    const SUFFIXES: [&str; 5] = [".localhost", ".local", ".internal", ".test", ".home.arpa"];
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address.parse::<IpAddr>().is_ok()
        || SUFFIXES.iter().any(|suffix| host.ends_with(suffix))
}

/// Text in one word.
pub(crate) fn no_spaces(text: &str) -> Result<String, Misfit> {
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err(Misfit::form()),
    }
}

/// Compiles a regular expression to see that it can be.
pub(crate) fn check_regex(regex: &str) -> Result<(), String> {
    if regex.is_empty() {
        return Err("expected a regular expression after `~`".to_owned());
    }
    match regex::RegexBuilder::new(regex).size_limit(REGEX_SIZE).build() {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => {
            Err(format!("the regular expression needs more than {REGEX_SIZE} bytes compiled"))
        }
        Err(error) => {
            // The last line says what; those before draw the expression with a mark.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            let reason = reason.trim().trim_start_matches("error: ");
            Err(format!("not a regular expression: {reason}"))
        }
    }
}

/// Checks a host; on failure perhaps says what may help.
fn check_host(host: &str) -> Result<(), Option<String>> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(address) if address.to_string() == inner => Ok(()),
            Ok(address) => Err(Some(format!("write `[{address}]`"))),
            Err(_) => Err(None),
        };
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err(Some(format!("write `[{host}]`")));
    }
    if !host.is_ascii() {
        return Err(Some("write an internationalised name in its `xn--` form".to_owned()));
    }
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(Some(format!("write it in lower case: `{}`", host.to_ascii_lowercase())));
    }
    if host.contains("://") {
        return Err(Some("leave out the scheme".to_owned()));
    }
    if let Some((name, port)) = host.split_once(':') {
        let port = port.bytes().all(|b| b.is_ascii_digit());
        return Err(port.then(|| format!("a host has no port: write `{name}`")));
    }
    if let Some(name) = host.strip_suffix('.') {
        return Err(Some(format!("write it without the final dot: `{name}`")));
    }
    let label = |label: &str| {
        let byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(byte)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() <= 253 && host.split('.').all(label) { Ok(()) } else { Err(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_back_as_written() {
        let hosts =
            ["shop.example.com", "localhost", "*.example.com", "~^a[0-9]+$", "10.0.0.1", "[::1]"];
        for host in hosts {
            assert_eq!(host.parse::<HostPattern>().unwrap().to_string(), host);
        }
        assert_eq!("*.a.b".parse(), Ok(HostPattern::Wildcard(".a.b".to_owned())));
    }

    #[test]
    fn refused_hosts_say_what_to_write() {
        let help = |host: &str| host.parse::<HostPattern>().unwrap_err().help.unwrap_or_default();
        assert_eq!(help("Shop.example.com"), "write it in lower case: `shop.example.com`");
        assert_eq!(help("shop.example.com:443"), "a host has no port: write `shop.example.com`");
        assert_eq!(help("a.example.com."), "write it without the final dot: `a.example.com`");
        assert_eq!(help("*"), "leave out the host to match every one");
        assert_eq!(help("*example.com"), "`*` stands for whole labels: write `*.example.com`");
        assert_eq!(help("https://a.b"), "leave out the scheme");
        assert_eq!(help("::1"), "write `[::1]`");
        for host in ["", "a..b", "-a", "a b", "*.", "*.*.a", "a/b", "~(", "~"] {
            assert!(host.parse::<HostPattern>().is_err(), "{host}");
        }
    }

    #[test]
    fn local_names() {
        for host in ["localhost", "a.localhost", "x.test", "10.0.0.1", "[::1]", "::1"] {
            assert!(is_local_name(host), "{host}");
        }
        assert!(!is_local_name("example.com"));
        assert!(!is_local_name("latest"));
    }
}
