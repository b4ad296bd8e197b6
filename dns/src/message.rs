//! Questions and answers (RFC 1035 section 4), as far as a stub needs them.

use crate::wire::{Reader, put_name, same_name};
use std::{fmt, net::IpAddr};

/// A type of record (RFC 1035 section 3.2.2, RFC 3596).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IPv4 address.
    A = 1,
    /// A server of a zone.
    Ns = 2,
    /// The name this one is an alias of.
    Cname = 5,
    /// The beginning of a zone.
    Soa = 6,
    /// The name of an address.
    Ptr = 12,
    /// Text.
    Txt = 16,
    /// An IPv6 address.
    Aaaa = 28,
    /// Who may issue certificates (RFC 8659).
    Caa = 257,
}

/// Class `IN`.
pub(crate) const INTERNET: u16 = 1;
/// Aliases followed within one answer.
const ALIASES: usize = 8;

/// A record's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Of NS, CNAME and PTR; of SOA the name of the zone's primary server. In lower case.
    Name(String),
    /// Of A and AAAA.
    Address(IpAddr),
    /// Of TXT: its strings, one after the other.
    Text(Vec<u8>),
    /// Of CAA.
    Property {
        /// What it is about, in lower case: `issue`, `issuewild`, `iodef`, ...
        tag: String,
        /// What it says of that.
        value: String,
    },
}

/// A record of a type and with an owner that this crate reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is, in lower case.
    pub owner: String,
    /// Its type.
    pub kind: Kind,
    /// Its content.
    pub data: Data,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Of which name; a dot at its end may be left out.
    pub name: &'a str,
    /// For which records.
    pub kind: Kind,
    /// Whether the server is to ask others: yes for a resolver, no for a zone's own server,
    /// which might otherwise answer from a cache.
    pub recursive: bool,
}

impl Question<'_> {
    /// The message that asks; `None` if the name is not one.
    pub(crate) fn encode(&self, id: u16) -> Option<Vec<u8>> {
        let mut message = Vec::with_capacity(18 + self.name.len());
        message.extend_from_slice(&id.to_be_bytes());
        // Recursion desired or not; one question.
        message.extend_from_slice(&[u8::from(self.recursive), 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        put_name(self.name, &mut message)?;
        message.extend_from_slice(&(self.kind as u16).to_be_bytes());
        message.extend_from_slice(&INTERNET.to_be_bytes());
        Some(message)
    }
}

/// How a server took a message (RFC 1035 section 4.1.1, RFC 2136 section 2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u8);

impl Code {
    /// Done, or answered.
    pub const NO_ERROR: Self = Self(0);
    /// The name does not exist.
    pub const NO_NAME: Self = Self(3);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WORDS: [&str; 11] = [
            "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN",
            "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE",
        ];
        match WORDS.get(usize::from(self.0)) {
            Some(word) => f.write_str(word),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An answer to our question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How it was taken.
    pub code: Code,
    /// Whether the server speaks for the zone.
    pub authoritative: bool,
    /// The rest is to be asked for over TCP.
    pub truncated: bool,
    /// What was asked for, and aliases on the way.
    pub answers: Vec<Record>,
    /// Of a name or record that does not exist: the SOA of its zone (RFC 2308 section 3).
    pub authority: Vec<Record>,
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// They answer another question: somebody guesses, or an old answer is late.
    Foreign,
    /// They answer this one and break off.
    Broken,
}

impl Message {
    /// Reads the answer to a question.
    pub(crate) fn read(bytes: &[u8], id: u16, question: &Question<'_>) -> Result<Self, Unread> {
        let mut reader = Reader { message: bytes, at: 0 };
        let (flags, counts) = head(&mut reader, id, question).ok_or(Unread::Foreign)?;
        let mut message = Self {
            code: Code((flags & 15) as u8),
            authoritative: flags & 0x0400 != 0,
            truncated: flags & 0x0200 != 0,
            answers: Vec::new(),
            authority: Vec::new(),
        };
        if !message.truncated {
            message.answers = records(&mut reader, counts.0).ok_or(Unread::Broken)?;
            message.authority = records(&mut reader, counts.1).ok_or(Unread::Broken)?;
        }
        Ok(message)
    }

    /// The records of a name, or of what it is an alias of unless the alias itself is asked for.
    pub fn found(&self, name: &str, kind: Kind) -> Vec<Data> {
        let mut wanted = name;
        let alias = |of: &str| {
            self.answers.iter().find_map(|record| match &record.data {
                Data::Name(target) if record.kind == Kind::Cname => {
                    same_name(&record.owner, of).then_some(target.as_str())
                }
                _ => None,
            })
        };
        if kind != Kind::Cname {
            for _ in 0..ALIASES {
                match alias(wanted) {
                    Some(target) => wanted = target,
                    None => break,
                }
            }
        }
        let ours = |record: &&Record| record.kind == kind && same_name(&record.owner, wanted);
        self.answers.iter().filter(ours).map(|record| record.data.clone()).collect()
    }

    /// The zone that an answer for a SOA, or the lack of any answer, names.
    pub fn zone(&self) -> Option<&str> {
        let mut all = self.answers.iter().chain(&self.authority);
        all.find(|record| record.kind == Kind::Soa).map(|record| record.owner.as_str())
    }
}

/// The flags and how many answers and authorities follow, if this answers `question`.
fn head(reader: &mut Reader<'_>, id: u16, question: &Question<'_>) -> Option<(u16, (u16, u16))> {
    let (its_id, flags) = (reader.number()?, reader.number()?);
    let (questions, answers) = (reader.number()?, reader.number()?);
    let authority = reader.number()?;
    reader.number()?;
    // A response to a standard query.
    if its_id != id || flags & 0xf800 != 0x8000 || questions != 1 {
        return None;
    }
    let asked = reader.name()?;
    let same = asked.is_some_and(|asked| same_name(&asked, question.name));
    let ours = same && reader.number()? == question.kind as u16 && reader.number()? == INTERNET;
    ours.then_some((flags, (answers, authority)))
}

/// So many records, those that are not of ours left out; `None` if they break off.
fn records(reader: &mut Reader<'_>, count: u16) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    for _ in 0..count {
        records.extend(record(reader)?);
    }
    Some(records)
}

fn record(reader: &mut Reader<'_>) -> Option<Option<Record>> {
    let owner = reader.name()?;
    let (kind, class) = (reader.number()?, reader.number()?);
    reader.take(4)?; // how long it may be kept
    let length = usize::from(reader.number()?);
    let mut inside = Reader { message: reader.message, at: reader.at };
    let bytes = reader.take(length)?;
    let kinds =
        [Kind::A, Kind::Ns, Kind::Cname, Kind::Soa, Kind::Ptr, Kind::Txt, Kind::Aaaa, Kind::Caa];
    let known = kinds.into_iter().find(|known| *known as u16 == kind && class == INTERNET);
    let Some(kind) = known else { return Some(None) };
    let data = match kind {
        Kind::A => <[u8; 4]>::try_from(bytes).ok().map(|octets| Data::Address(octets.into())),
        Kind::Aaaa => <[u8; 16]>::try_from(bytes).ok().map(|octets| Data::Address(octets.into())),
        Kind::Ns | Kind::Cname | Kind::Soa | Kind::Ptr => inside.name()?.map(Data::Name),
        Kind::Txt => Some(Data::Text(strings(bytes)?)),
        Kind::Caa => Some(property(bytes)?),
    };
    Some(owner.zip(data).map(|(owner, data)| Record { owner, kind, data }))
}

/// The character strings of a TXT record, together (RFC 1035 section 3.3.14).
fn strings(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(bytes.len());
    while let Some((length, rest)) = bytes.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(*length))?;
        text.extend_from_slice(string);
        bytes = rest;
    }
    Some(text)
}

/// The content of a CAA record (RFC 8659 section 4.1).
fn property(bytes: &[u8]) -> Option<Data> {
    let [_flags, length, rest @ ..] = bytes else { return None };
    let (tag, value) = rest.split_at_checked(usize::from(*length))?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Some(Data::Property { tag: text(tag).to_ascii_lowercase(), value: text(value) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: &str = "1.2.0.192.in-addr.arpa";

    fn asks(name: &str, kind: Kind) -> Question<'_> {
        Question { name, kind, recursive: true }
    }

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

    fn found(message: &[u8], name: &str, kind: Kind) -> Vec<Data> {
        Message::read(message, 7, &asks(name, kind)).unwrap().found(name, kind)
    }

    #[test]
    fn names_are_read() {
        let question = asks(NAME, Kind::Ptr);
        let query = question.encode(7).unwrap();
        let records: [(u16, &[u8]); 3] = [
            (12, b"\x05Crawl\x09googlebot\x03com\0"),
            (12, b"\x0dx.googlebot.c\x03com\0"),
            (12, b"\x04back\xc0\x0c"),
        ];
        let message = answer(&query, 0x8180, &records);
        let wanted = [Data::Name("crawl.googlebot.com".into()), Data::Name(format!("back.{NAME}"))];
        assert_eq!(found(&message, NAME, Kind::Ptr), wanted);
        let read = |bytes: &[u8], id, name| Message::read(bytes, id, &asks(name, Kind::Ptr));
        assert_eq!(read(&message, 8, NAME), Err(Unread::Foreign), "another question's");
        assert_eq!(read(&message, 7, "2.2.0.192.in-addr.arpa"), Err(Unread::Foreign));
        assert_eq!(read(&query, 7, NAME), Err(Unread::Foreign), "a query");
        assert_eq!(read(&message[..message.len() - 3], 7, NAME), Err(Unread::Broken));
    }

    #[test]
    fn aliases_are_followed_to_their_records_only() {
        let query = asks("a.test", Kind::A).encode(7).unwrap();
        let mut message = answer(&query, 0x8180, &[(5, b"\x01b\x04test\0")]);
        message[7] = 3;
        for (owner, last) in [(b'b', 1), (b'c', 2)] {
            message.extend_from_slice(&[1, owner, 4]);
            message.extend_from_slice(b"test\0\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02");
            message.push(last);
        }
        let wanted = vec![Data::Address("192.0.2.1".parse().unwrap())];
        assert_eq!(found(&message, "A.test", Kind::A), wanted);
        let message = Message::read(&message, 7, &asks("a.test", Kind::A)).unwrap();
        assert_eq!(message.found("a.test", Kind::Cname), [Data::Name("b.test".into())]);
    }

    #[test]
    fn texts_are_their_strings_together() {
        let query = asks("a.test", Kind::Txt).encode(7).unwrap();
        let message = answer(&query, 0x8180, &[(16, b"\x02ab\0\x01c"), (16, b"")]);
        let wanted = [Data::Text(b"abc".to_vec()), Data::Text(Vec::new())];
        assert_eq!(found(&message, "a.test", Kind::Txt), wanted);
        let message = answer(&query, 0x8180, &[(16, b"\x05ab")]);
        let read = Message::read(&message, 7, &asks("a.test", Kind::Txt));
        assert_eq!(read, Err(Unread::Broken));
    }

    #[test]
    fn the_zone_stands_in_an_answer_or_in_the_authority_section() {
        let query = asks("a.test", Kind::Soa).encode(7).unwrap();
        let soa: &[u8] = b"\x02ns\x04test\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let mut message = answer(&query, 0x8180, &[(6, soa)]);
        let read = |message: &[u8]| Message::read(message, 7, &asks("a.test", Kind::Soa)).unwrap();
        assert_eq!(read(&message).zone(), Some("a.test"));
        message.swap(7, 9);
        message[3] = 0x83;
        assert_eq!((read(&message).zone(), read(&message).code), (Some("a.test"), Code::NO_NAME));
    }

    #[test]
    fn what_servers_say_otherwise() {
        let question = asks(NAME, Kind::Ptr);
        let query = question.encode(7).unwrap();
        let said = |flags| Message::read(&answer(&query, flags, &[]), 7, &question).unwrap();
        assert_eq!(said(0x8183).code, Code::NO_NAME);
        assert_eq!(said(0x8185).code.to_string(), "REFUSED");
        assert_eq!(said(0x818e).code.to_string(), "code 14");
        assert!(said(0x8380).truncated);
        assert!(said(0x8480).authoritative && !said(0x8180).authoritative);
    }

    #[test]
    fn names_that_cannot_be_asked_for() {
        let long = "a".repeat(64);
        for name in ["", ".", "a..b", &long, &"a.".repeat(200)] {
            assert_eq!(asks(name, Kind::A).encode(1), None, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn nothing_panics_and_all_ends(
            kind in prop::sample::select(vec![1_u8, 2, 5, 6, 12, 16, 28]),
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xc0), 0_u8..20], 0..120)
        ) {
            let question = asks(NAME, Kind::Ptr);
            let mut message = answer(&question.encode(7).unwrap(), 0x8180, &[(kind.into(), &bytes)]);
            message[7] = 3;
            message[9] = 1;
            message.extend_from_slice(&bytes);
            if let Ok(read) = Message::read(&message, 7, &question) {
                let _ = (read.found(NAME, Kind::Ptr), read.zone());
            }
            let _ = Message::read(&bytes, 7, &question);
        }
    }
}
