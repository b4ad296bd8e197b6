//! DNS messages (RFC 1035 section 4), as far as a stub needs them.

use std::net::IpAddr;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A = 1,
    Ptr = 12,
    Aaaa = 28,
}

const CNAME: u16 = 5;
/// Class `IN`.
const INTERNET: u16 = 1;
/// Aliases followed within one answer.
const ALIASES: usize = 8;
/// The longest name in text (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

/// A record's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Name(String),
    Address(IpAddr),
}

/// An answer to our question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// What there is; nothing if the name or such a record does not exist.
    Found(Vec<Data>),
    /// The rest is to be asked for over TCP.
    Truncated,
    /// The server could not or would not say.
    Failed,
}

/// A recursive query; `None` if `name` is not one.
pub(super) fn query(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(18 + name.len());
    message.extend_from_slice(&id.to_be_bytes());
    // Recursion desired; one question.
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    if name.len() > LONGEST {
        return None;
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&(kind as u16).to_be_bytes());
    message.extend_from_slice(&INTERNET.to_be_bytes());
    Some(message)
}

/// Reads the answer to a question; `None` if it is none.
pub(super) fn reply(message: &[u8], id: u16, name: &str, kind: Kind) -> Option<Reply> {
    let mut reader = Reader { message, at: 0 };
    let (its_id, flags) = (reader.number()?, reader.number()?);
    let (questions, answers) = (reader.number()?, reader.number()?);
    reader.at += 4;
    // A response to a standard query.
    if its_id != id || flags & 0xf800 != 0x8000 || questions != 1 {
        return None;
    }
    let asked = reader.name()?;
    let same = asked.is_some_and(|asked| asked.eq_ignore_ascii_case(name));
    if !same || reader.number()? != kind as u16 || reader.number()? != INTERNET {
        return None;
    }
    if flags & 0x0200 != 0 {
        return Some(Reply::Truncated);
    }
    match flags & 15 {
        0 => {}
        3 => return Some(Reply::Found(Vec::new())),
        _ => return Some(Reply::Failed),
    }
    // One that breaks off in between is no answer at all.
    let records = (0..answers).map(|_| reader.record()).collect::<Option<Vec<_>>>();
    let Some(records) = records else { return Some(Reply::Failed) };
    Some(Reply::Found(found(name, kind, records)))
}

/// A record: whose it is, its type, its content if it is of one of our types.
type Record = (Option<String>, u16, Option<Data>);

/// The records of a name or of what it is an alias of.
fn found(name: &str, kind: Kind, records: Vec<Record>) -> Vec<Data> {
    let mut wanted = name.to_ascii_lowercase();
    for _ in 0..ALIASES {
        let alias = records.iter().find_map(|(owner, kind, data)| match data {
            Some(Data::Name(target)) if *kind == CNAME && owner.as_ref() == Some(&wanted) => {
                Some(target.clone())
            }
            _ => None,
        });
        match alias {
            Some(target) => wanted = target,
            None => break,
        }
    }
    let ours = |(owner, its_kind, data): Record| {
        data.filter(|_| its_kind == kind as u16 && owner.as_ref() == Some(&wanted))
    };
    records.into_iter().filter_map(ours).collect()
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn take(&mut self, count: usize) -> Option<&'m [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn record(&mut self) -> Option<Record> {
        let owner = self.name()?;
        let (kind, class) = (self.number()?, self.number()?);
        self.take(4)?; // how long it may be kept
        let length = usize::from(self.number()?);
        let start = self.at;
        let bytes = self.take(length)?;
        let data = match kind {
            _ if class != INTERNET => None,
            1 => <[u8; 4]>::try_from(bytes).ok().map(|octets| Data::Address(octets.into())),
            28 => <[u8; 16]>::try_from(bytes).ok().map(|octets| Data::Address(octets.into())),
            CNAME | 12 => {
                let mut inside = Reader { message: self.message, at: start };
                inside.name()?.map(Data::Name)
            }
            _ => None,
        };
        Some((owner, kind, data))
    }

    /// A name in lower case. The outer `None`: the message is broken. The inner one: a name that
    /// no host has, such as one with a dot inside a label, which in text would look like
    /// another name.
    fn name(&mut self) -> Option<Option<String>> {
        let mut text = String::new();
        let mut is_host = true;
        let mut at = self.at;
        let mut jumped = false;
        // A name points backwards only, so that it ends.
        let mut before = self.at;
        loop {
            match *self.message.get(at)? {
                0 => {
                    if !jumped {
                        self.at = at + 1;
                    }
                    return Some(is_host.then_some(text));
                }
                length @ 1..=63 => {
                    let label = self.message.get(at + 1..at + 1 + usize::from(length))?;
                    if !text.is_empty() {
                        text.push('.');
                    }
                    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                    is_host &= label.iter().all(plain);
                    text.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
                    if text.len() > 2 * LONGEST {
                        return None;
                    }
                    at += 1 + usize::from(length);
                }
                high @ 192..=255 => {
                    let low = *self.message.get(at + 1)?;
                    let to = usize::from(u16::from_be_bytes([high & 63, low]));
                    if !jumped {
                        self.at = at + 2;
                    }
                    jumped = true;
                    if to >= before {
                        return None;
                    }
                    (at, before) = (to, to);
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer to `query` with these records: type and content, of the name asked for.
    fn answer(query: &[u8], flags: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = query.to_vec();
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (kind, data) in records {
            message.extend_from_slice(&[0xc0, 12]);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        message
    }

    const NAME: &str = "1.2.0.192.in-addr.arpa";

    #[test]
    fn names_are_read() {
        let query = query(7, NAME, Kind::Ptr).unwrap();
        let records: [(u16, &[u8]); 3] = [
            (12, b"\x05Crawl\x09googlebot\x03com\0"),
            (12, b"\x0dx.googlebot.c\x03com\0"),
            (12, b"\x04back\xc0\x0c"),
        ];
        let message = answer(&query, 0x8180, &records);
        let wanted = [Data::Name("crawl.googlebot.com".into()), Data::Name(format!("back.{NAME}"))];
        assert_eq!(reply(&message, 7, NAME, Kind::Ptr), Some(Reply::Found(wanted.to_vec())));
        assert_eq!(reply(&message, 8, NAME, Kind::Ptr), None, "another question's");
        assert_eq!(reply(&message, 7, "2.2.0.192.in-addr.arpa", Kind::Ptr), None);
        assert_eq!(reply(&query, 7, NAME, Kind::Ptr), None, "a query");
        let cut = &message[..message.len() - 3];
        assert_eq!(reply(cut, 7, NAME, Kind::Ptr), Some(Reply::Failed));
    }

    #[test]
    fn aliases_are_followed_to_their_records_only() {
        let query = query(7, "a.test", Kind::A).unwrap();
        let mut message = answer(&query, 0x8180, &[(CNAME, b"\x01b\x04test\0")]);
        message[7] = 3;
        for (owner, last) in [(b'b', 1), (b'c', 2)] {
            message.extend_from_slice(&[1, owner, 4]);
            message.extend_from_slice(b"test\0\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02");
            message.push(last);
        }
        let wanted = vec![Data::Address("192.0.2.1".parse().unwrap())];
        assert_eq!(reply(&message, 7, "A.test", Kind::A), Some(Reply::Found(wanted)));
    }

    #[test]
    fn what_servers_say_otherwise() {
        let query = query(7, NAME, Kind::Ptr).unwrap();
        let said = |flags| reply(&answer(&query, flags, &[]), 7, NAME, Kind::Ptr).unwrap();
        assert_eq!(said(0x8183), Reply::Found(Vec::new()), "no such name");
        assert_eq!(said(0x8182), Reply::Failed);
        assert_eq!(said(0x8185), Reply::Failed);
        assert_eq!(said(0x8380), Reply::Truncated);
    }

    #[test]
    fn names_that_cannot_be_asked_for() {
        let long = "a".repeat(64);
        for name in ["", "a..b", &long, &"a.".repeat(200)] {
            assert_eq!(query(1, name, Kind::A), None, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn nothing_panics_and_all_ends(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xc0), 0_u8..20], 0..120)
        ) {
            let mut message = answer(&query(7, NAME, Kind::Ptr).unwrap(), 0x8180, &[]);
            message[7] = 3;
            message.extend_from_slice(&bytes);
            let _ = reply(&message, 7, NAME, Kind::Ptr);
            let _ = reply(&bytes, 7, NAME, Kind::Ptr);
        }
    }
}
