//! One line of a list, whichever format its file is in. Nothing names the format: each line is
//! one that only one of them has.

use super::{
    NEVER, Until,
    address::{self, Listed, Range, number},
    flaw,
    time::{bounded, moment},
};
use crate::seclang::show;
use std::net::IpAddr;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing about addresses: a comment, a header.
    Nothing,
    Entry(Listed),
    Fault(String),
}

/// Reads the lines of one file.
pub(super) struct Lines {
    modified: u64,
    /// Whether the first line of data is still to come: it may be the header of a table.
    at_head: bool,
    /// What `create` of ipset said about entries that name no time-out themselves.
    timeout: Until,
}

/// First columns of tables whose first line names the columns.
const HEADERS: [&str; 8] =
    ["ip", "ip_address", "ipaddress", "ip address", "address", "cidr", "network", "start"];

impl Lines {
    pub(super) const fn new(modified: u64) -> Self {
        Self { modified, at_head: true, timeout: NEVER }
    }

    /// Reads a line without white space around it.
    pub(super) fn read(&mut self, line: &[u8]) -> Said {
        if line.is_empty() || is_comment(line) {
            return Said::Nothing;
        }
        let at_head = std::mem::take(&mut self.at_head);
        match line[0] {
            // Almost every line of almost every list.
            b'0'..=b'9' => plain(line),
            b'{' => spamhaus(line),
            _ => match word(line) {
                (b"deny", rest) => nginx(rest),
                (b"allow", _) => fault("`allow` is no entry of a list", line),
                (b"create", rest) => self.create(rest, line),
                (b"add", rest) => self.add(rest, line),
                _ if at_head && is_header(line) => Said::Nothing,
                _ => plain(line),
            },
        }
    }

    /// ipset: `create NAME hash:net family inet ... timeout 300`.
    fn create(&mut self, rest: &[u8], line: &[u8]) -> Said {
        match option(rest, b"timeout") {
            None => self.timeout = NEVER,
            Some(seconds) => match self.after(seconds) {
                Some(until) => self.timeout = until,
                None => return fault("expected seconds after `timeout`", line),
            },
        }
        Said::Nothing
    }

    /// ipset: `add NAME 192.0.2.0/24 timeout 300 comment "..."`.
    fn add(&self, rest: &[u8], line: &[u8]) -> Said {
        let (_, rest) = word(rest);
        let (member, options) = word(rest);
        if word(options).0 == b"nomatch" {
            return fault("a list has no exceptions (`nomatch`)", line);
        }
        // A comment may hold anything, also words that look like options.
        let options = match memchr::memmem::find(options, b"comment") {
            Some(at) => &options[..at],
            None => options,
        };
        let until = match option(options, b"timeout") {
            None => Some(self.timeout),
            Some(seconds) => self.after(seconds),
        };
        let Some(until) = until else { return fault("expected seconds after `timeout`", line) };
        let range = match memchr::memchr(b'-', member) {
            Some(at) => between(&member[..at], &member[at + 1..]),
            None => Range::parse(member),
        };
        match range {
            Some(range) => entry(range, until, line),
            None => {
                let expected = "expected an address, a network or a range after the set's name";
                fault(flaw::of(member).unwrap_or(expected), line)
            }
        }
    }

    /// So many seconds after the file was written; none is for ever, as ipset has it.
    fn after(&self, seconds: &[u8]) -> Option<Until> {
        match number(seconds, 10)? {
            0 => Some(NEVER),
            seconds => bounded(i64::try_from(self.modified).ok()?.saturating_add(seconds.into())),
        }
    }
}

/// Lines that begin with an address, or with a name and `:`.
fn plain(line: &[u8]) -> Said {
    addressed(line)
        // The name may be anything, also something that begins like an address.
        .or_else(|| peer_guardian(line))
        .unwrap_or_else(|| Said::Fault(flaw::of_line(line)))
}

/// `None` for what is no such line.
fn addressed(line: &[u8]) -> Option<Said> {
    let (field, rest) = field(line)?;
    let range = Range::parse(field)?;
    let spaced = rest.first().is_some_and(u8::is_ascii_whitespace);
    let tabbed = rest.first() == Some(&b'\t');
    let rest = rest.trim_ascii_start();
    if rest.is_empty() || is_comment(rest) {
        return Some(entry(range, NEVER, line));
    }
    match rest[0] {
        b'-' => to(field, &rest[1..], line),
        b',' => Some(entry(range, NEVER, line)),
        _ if tabbed => Some(tabulated(field, range, rest, line)),
        _ if spaced => expiring(range, rest, line),
        _ => None,
    }
}

/// The first word or column, without its quotes, and what follows it.
pub(super) fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(quoted) = line.strip_prefix(b"\"") {
        let end = memchr::memchr(b'"', quoted)?;
        return Some((quoted[..end].trim_ascii(), &quoted[end + 1..]));
    }
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/');
    let end = line.iter().position(|byte| !is_part(byte)).unwrap_or(line.len());
    Some(line.split_at(end))
}

/// The second half of `192.0.2.1 - 192.0.2.9`, with what eMule appends: ` , 000 , a name`.
fn to(first: &[u8], rest: &[u8], line: &[u8]) -> Option<Said> {
    let (last, rest) = field(rest.trim_ascii_start())?;
    let range = between(first, last)?;
    let rest = rest.trim_ascii_start();
    if let Some(columns) = rest.strip_prefix(b",") {
        let level = columns.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
        // From 128 on eMule lets such addresses pass.
        if number(level, 3)? >= 128 {
            return Some(Said::Nothing);
        }
        return Some(entry(range, NEVER, line));
    }
    if rest.is_empty() || is_comment(rest) {
        return Some(entry(range, NEVER, line));
    }
    expiring(range, rest, line)
}

/// DShield: first address, last address, length of the prefix, and more. In any other table only
/// the first column counts.
fn tabulated(field: &[u8], range: Range, rest: &[u8], line: &[u8]) -> Said {
    let mut columns = rest.split(|&byte| byte == b'\t').map(<[u8]>::trim_ascii);
    let second = columns.next().unwrap_or_default();
    if address::parse(second).is_none() {
        return match Range::parse(second) {
            None => entry(range, NEVER, line),
            Some(_) => fault("two networks on a line", line),
        };
    }
    let network = || {
        let prefix = std::str::from_utf8(columns.next()?).ok()?;
        Range::parse(format!("{}/{prefix}", std::str::from_utf8(field).ok()?).as_bytes())
    };
    match (between(field, second), { network }()) {
        (Some(range), Some(network)) if range == network => entry(range, NEVER, line),
        _ => fault("two addresses that are no network: write a range as `a-b`", line),
    }
}

/// Our own: `until 2026-12-01T00:00:00Z` or `expires=1796083200`. `None` for other words.
fn expiring(range: Range, rest: &[u8], line: &[u8]) -> Option<Said> {
    let (what, behind) = word(rest);
    let (until, behind) = match what.strip_prefix(b"expires=") {
        Some(seconds) => (number_of_seconds(seconds), behind),
        None if what == b"until" => {
            let (text, behind) = word(behind);
            (moment(text), behind)
        }
        None => return None,
    };
    Some(match until {
        Some(until) if behind.is_empty() || is_comment(behind) => entry(range, until, line),
        Some(_) => fault("nothing but a comment may follow an expiry", line),
        None => fault(
            "expected an expiry such as `until 2026-12-01T00:00:00Z` or `expires=1796083200`",
            line,
        ),
    })
}

fn number_of_seconds(text: &[u8]) -> Option<Until> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| bounded(text.parse().unwrap_or(i64::MAX)))?
}

/// P2P: `a name:192.0.2.1-192.0.2.9`; the name may hold colons.
fn peer_guardian(line: &[u8]) -> Option<Said> {
    let range = &line[memchr::memrchr(b':', line)? + 1..];
    let at = memchr::memchr(b'-', range)?;
    let range = between(range[..at].trim_ascii(), range[at + 1..].trim_ascii())?;
    Some(entry(range, NEVER, line))
}

/// nginx: `deny 192.0.2.0/24;`, perhaps with a comment.
fn nginx(rest: &[u8]) -> Said {
    let end = memchr::memchr(b';', rest);
    let behind = end.map_or(&b""[..], |at| rest[at + 1..].trim_ascii_start());
    let member = end.map_or(&b""[..], |at| rest[..at].trim_ascii());
    match Range::parse(member) {
        Some(range) if behind.is_empty() || is_comment(behind) => entry(range, NEVER, rest),
        _ => {
            let expected = "expected `deny`, an address or a network, and `;`";
            fault(flaw::of(member).unwrap_or(expected), rest)
        }
    }
}

/// Spamhaus DROP as JSON lines: `{"cidr":"192.0.2.0/24","sblid":"SBL1","rir":"ripencc"}`, and a
/// last one about the list itself.
fn spamhaus(line: &[u8]) -> Said {
    let text = |key: &[u8]| {
        let at = memchr::memmem::find(line, key)? + key.len();
        let rest = line[at..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let rest = rest.strip_prefix(b"\"")?;
        Some(&rest[..memchr::memchr(b'"', rest)?])
    };
    match text(b"\"cidr\"").map(Range::parse) {
        Some(Some(range)) if line.ends_with(b"}") => entry(range, NEVER, line),
        None if text(b"\"type\"") == Some(b"metadata") => Said::Nothing,
        _ => fault("expected an object with a network in `cidr`", line),
    }
}

fn between(first: &[u8], last: &[u8]) -> Option<Range> {
    let (first, last): (IpAddr, IpAddr) = (address::parse(first)?, address::parse(last)?);
    Range::between(first, last)
}

fn entry(range: Range, until: Until, line: &[u8]) -> Said {
    match range.is_everybody() {
        true => fault("this is every address there is: leave out the list or use `allow`", line),
        false => Said::Entry(range.until(until)),
    }
}

fn fault(what: &str, line: &[u8]) -> Said {
    Said::Fault(format!("{what}, found `{}`", show(line)))
}

fn is_comment(text: &[u8]) -> bool {
    matches!(text[0], b'#' | b';') || text.starts_with(b"//")
}

fn is_header(line: &[u8]) -> bool {
    let end = line.iter().position(|byte| matches!(byte, b',' | b'\t')).unwrap_or(0);
    let first = line[..end].trim_ascii();
    let first = first.strip_prefix(b"\"").and_then(|f| f.strip_suffix(b"\"")).unwrap_or(first);
    HEADERS.iter().any(|header| first.eq_ignore_ascii_case(header.as_bytes()))
}

/// The first word, and what follows the white space behind it.
pub(super) fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_ascii_start())
}

/// The word behind the word `name`.
fn option<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.find(|word| *word == name)?;
    Some(words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the lines of a file written at second 1,000 say.
    fn read(text: &str) -> Vec<Said> {
        let mut lines = Lines::new(1_000);
        let said = text.lines().map(|line| lines.read(line.trim_ascii().as_bytes()));
        said.filter(|said| *said != Said::Nothing).collect()
    }

    fn net(text: &str) -> Said {
        until(text, NEVER)
    }

    fn until(text: &str, until: Until) -> Said {
        Said::Entry(Range::parse(text.as_bytes()).unwrap().until(until))
    }

    fn range(first: &str, last: &str) -> Said {
        Said::Entry(between(first.as_bytes(), last.as_bytes()).unwrap().until(NEVER))
    }

    #[test]
    fn each_format() {
        for (format, text, wanted) in [
            (
                "netset",
                "# FireHOL\n192.0.2.0/24\n198.51.100.7 # a comment\n2001:db8::/32\n// other\n\n",
                vec![net("192.0.2.0/24"), net("198.51.100.7"), net("2001:db8::/32")],
            ),
            (
                "DROP as text",
                "; Spamhaus DROP List\n192.0.2.0/24 ; SBL1\n2001:db8::/29 ; SBL2\n",
                vec![net("192.0.2.0/24"), net("2001:db8::/29")],
            ),
            (
                "DROP as JSON",
                "{\"cidr\":\"192.0.2.0/24\",\"sblid\":\"SBL1\",\"rir\":\"ripencc\"}\n\
                 {\"cidr\": \"2001:db8::/32\", \"sblid\": \"SBL2\"}\n\
                 {\"type\":\"metadata\",\"timestamp\":1700000000,\"size\":1,\"records\":2}\n",
                vec![net("192.0.2.0/24"), net("2001:db8::/32")],
            ),
            (
                "ranges",
                "192.0.2.1-192.0.2.9\n192.0.2.1 - 192.0.2.9 # why\n2001:db8::1-2001:db8::9\n",
                vec![
                    range("192.0.2.1", "192.0.2.9"),
                    range("192.0.2.1", "192.0.2.9"),
                    range("2001:db8::1", "2001:db8::9"),
                ],
            ),
            (
                "P2P",
                "A Company, Inc.:192.0.2.1-192.0.2.9\n10: 1.2.3.4 & co:198.51.100.0-198.51.100.255\n",
                vec![range("192.0.2.1", "192.0.2.9"), net("198.51.100.0/24")],
            ),
            (
                "eMule",
                "192.000.002.001 - 192.000.002.009 , 000 , a name, with a comma\n\
                 198.051.100.000 - 198.051.100.255 , 127 , another\n\
                 203.000.113.000 - 203.000.113.255 , 200 , one that may pass\n",
                vec![range("192.0.2.1", "192.0.2.9"), net("198.51.100.0/24")],
            ),
            (
                "DShield",
                "#   primary URL\nStart\tEnd\tNetblock\tAttacks\tName\tCountry\temail\n\
                 192.0.2.0\t192.0.2.255\t24\t1234\tNAME\tXX\ta@example.com\n",
                vec![net("192.0.2.0/24")],
            ),
            (
                "CSV and TSV",
                "\"IP\",\"Country Code\",\"Score\"\n\"192.0.2.1\",\"XX\",\"100\"\n192.0.2.2,5\n192.0.2.3\t7\tx\n",
                vec![net("192.0.2.1"), net("192.0.2.2"), net("192.0.2.3")],
            ),
            (
                "nginx",
                "deny 192.0.2.0/24;\ndeny  2001:db8::1 ; # why\n",
                vec![net("192.0.2.0/24"), net("2001:db8::1")],
            ),
            (
                "ipset",
                "create bad hash:net family inet hashsize 1024 maxelem 65536 timeout 600\n\
                 add bad 192.0.2.0/24 timeout 300 comment \"timeout 1\"\nadd bad 192.0.2.1\n\
                 add bad 192.0.2.2 timeout 0\ncreate more hash:ip\nadd more 192.0.2.3\n\
                 add more 192.0.2.4-192.0.2.5\n",
                vec![
                    until("192.0.2.0/24", 1_300),
                    until("192.0.2.1", 1_600),
                    net("192.0.2.2"),
                    net("192.0.2.3"),
                    net("192.0.2.4/31"),
                ],
            ),
            (
                "our own",
                "192.0.2.1 until 1970-01-01T00:01:00Z # a minute\n192.0.2.0/24 expires=1796083200\n\
                 192.0.2.1-192.0.2.9 until 2026-12-01\n",
                vec![
                    until("192.0.2.1", 60),
                    until("192.0.2.0/24", 1_796_083_200),
                    Said::Entry(between(b"192.0.2.1", b"192.0.2.9").unwrap().until(1_796_083_200)),
                ],
            ),
        ] {
            assert_eq!(read(text), wanted, "{format}");
        }
    }

    #[test]
    fn lines_of_no_format() {
        for (line, why) in [
            ("0.0.0.0 ads.example.com", "host names"),
            ("127.0.0.1 localhost", "host names"),
            ("192.0.2.1 some words", "expected an address"),
            ("example.com", "expected an address"),
            ("192.0.2.1/33", "at most 32"),
            ("2001:db8::/129 # x", "at most 128"),
            ("010.0.0.1", "octal"),
            ("192.0.02.0/24", "octal"),
            ("192.0.2.9-192.0.2.1", "ends before it begins"),
            ("2001:db8::9 - 2001:db8::1", "ends before it begins"),
            ("192.0.2.01-192.0.2.9", "octal"),
            ("192.0.2.1-2001:db8::1", "one family"),
            ("192.0.2.1:80", "no ports"),
            ("[2001:db8::1]:80", "no ports"),
            ("192.0.2.1:80-192.0.2.9:80", "no ports"),
            ("deny 192.0.2.1:80;", "no ports"),
            ("add bad 192.0.2.1/33", "at most 32"),
            ("192.0.2.256", "expected an address"),
            ("0.0.0.0/0", "leave out the list or use `allow`"),
            ("::/0", "every address"),
            ("192.0.2.1 192.0.2.9", "expected an address"),
            ("192.0.2.1\t192.0.2.9\t24", "two addresses"),
            ("192.0.2.0\t192.0.2.255", "two addresses"),
            ("192.0.2.1 until tomorrow", "expected an expiry"),
            ("192.0.2.1 expires=soon", "expected an expiry"),
            ("192.0.2.1 until 2026-12-01 at noon", "nothing but a comment"),
            ("allow 192.0.2.1;", "`allow`"),
            ("deny all;", "expected `deny`"),
            ("deny 192.0.2.1", "expected `deny`"),
            ("add bad 192.0.2.1,tcp:80", "after the set's name"),
            ("add bad 192.0.2.1 nomatch", "exceptions"),
            ("add bad 192.0.2.1 timeout soon", "seconds"),
            ("{\"cidr\":\"x\"}", "`cidr`"),
            ("{\"type\":\"other\"}", "`cidr`"),
            ("{", "`cidr`"),
            ("a:b", "expected an address"),
            ("\"192.0.2.1", "expected an address"),
            ("\u{fffd}\u{0}", "expected an address"),
        ] {
            let said = read(line);
            let told = matches!(&said[..], [Said::Fault(what)] if what.contains(why));
            assert!(told, "{line}: {said:?}");
        }
        assert!(matches!(read("192.0.2.1\nip,score\n")[1], Said::Fault(_)), "a header comes first");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn nothing_panics(
            line in prop_oneof![
                "[ -~\\t]{0,40}",
                "(add x |deny |create x |\\{\"cidr\":|\"|a:)?[0-9a-f:./,;# \\t-]{0,40}",
                "[0-9.]{7,15}( until | expires=|\\t|,| - )[0-9TZ:.+-]{0,30}",
            ],
            bytes in prop::collection::vec(any::<u8>(), 0..40)
        ) {
            let mut lines = Lines::new(u64::MAX);
            lines.read(line.trim().as_bytes());
            lines.read(bytes.trim_ascii());
        }

        #[test]
        fn what_is_written_is_read(address in any::<u128>(), v4 in any::<u32>(), prefix in 1_u8..=32) {
            let v4 = std::net::Ipv4Addr::from_bits(v4);
            let v6 = std::net::Ipv6Addr::from_bits(address);
            let texts = [format!("{v4}/{prefix}"), format!("{v6}/{prefix}")];
            for text in texts {
                for form in [format!("{text} # x"), format!("add s {text}"), format!("deny {text};")] {
                    prop_assert_eq!(read(&form), [net(&text)], "{}", form);
                }
            }
        }
    }
}
