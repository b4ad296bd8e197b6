//! Changes of a zone (RFC 2136): TXT records, each added and removed by its exact content, so
//! that others under the same name stay.

use crate::{
    exchange::over_tcp,
    message::{Code, INTERNET, Kind},
    tsig::{Tsig, TsigError},
    wire::{Reader, put_name},
};
use std::{io, net::SocketAddr};

/// Class `NONE`: a record of this class is removed (RFC 2136 section 2.5.4).
const NONE: u16 = 254;
/// Opcode UPDATE, a request.
const UPDATE: u16 = 5 << 11;
/// The longest character string.
const LONGEST: usize = 255;

/// One change of a zone. A record that is there is not added again, and one that is not is not
/// missed: each may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Adds a TXT record.
    Add {
        /// Its owner.
        name: &'a str,
        /// How long others may keep it, in seconds.
        ttl: u32,
        /// One string, at most 255 bytes.
        text: &'a str,
    },
    /// Removes the TXT record with this content.
    Remove {
        /// Its owner.
        name: &'a str,
        /// One string, at most 255 bytes.
        text: &'a str,
    },
}

/// Changes of a zone, made all or none.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The zone's name.
    pub zone: &'a str,
    /// The changes; none only asks whether they would be allowed.
    pub changes: &'a [Change<'a>],
    /// Signs the request; the answer must be signed too.
    pub key: Option<&'a Tsig>,
}

/// Why a zone was not changed, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// A name or text that no record has.
    #[error("`{0}` cannot be put into a record")]
    Invalid(String),
    /// The server cannot be reached, or broke off.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not want to.
    #[error("the server answered {0}")]
    Refused(Code),
    /// It does not like the signature, or we not its.
    #[error("{0}")]
    Signature(#[from] TsigError),
    /// It says something else.
    #[error("the answer is not one to an update")]
    Foreign,
}

impl Update<'_> {
    /// Sends the changes to a server of the zone, over TCP, as of `now` (seconds since 1970). No
    /// deadline: the caller has one.
    pub async fn send(&self, server: SocketAddr, now: u64) -> Result<(), UpdateError> {
        let id = rand::random();
        let request = self.encode(id)?;
        let (request, mac) = match self.key {
            Some(key) => key.sign(request, now),
            None => (request, Vec::new()),
        };
        let answer = over_tcp(server, &request).await?;
        let code = code(&answer, id).ok_or(UpdateError::Foreign)?;
        match self.key.map(|key| key.verify(&answer, &mac, now)) {
            // Some servers refuse without a signature; that nothing is changed is no harm.
            Some(Err(TsigError::Unsigned)) if code != Code::NO_ERROR => {}
            Some(verdict) => verdict?,
            None => {}
        }
        if code == Code::NO_ERROR { Ok(()) } else { Err(UpdateError::Refused(code)) }
    }

    fn encode(&self, id: u16) -> Result<Vec<u8>, UpdateError> {
        let named = |name: &str, message: &mut Vec<u8>| {
            put_name(name, message).ok_or_else(|| UpdateError::Invalid(name.to_owned()))
        };
        let number = |number: u16, message: &mut Vec<u8>| {
            message.extend_from_slice(&number.to_be_bytes());
        };
        let mut message = Vec::new();
        // One zone, no prerequisites, the changes, nothing else.
        for field in [id, UPDATE, 1, 0, self.changes.len() as u16, 0] {
            number(field, &mut message);
        }
        named(self.zone, &mut message)?;
        number(Kind::Soa as u16, &mut message);
        number(INTERNET, &mut message);
        for change in self.changes {
            let (name, class, ttl, text) = match *change {
                Change::Add { name, ttl, text } => (name, INTERNET, ttl, text),
                Change::Remove { name, text } => (name, NONE, 0, text),
            };
            if text.len() > LONGEST {
                return Err(UpdateError::Invalid(text.to_owned()));
            }
            named(name, &mut message)?;
            number(Kind::Txt as u16, &mut message);
            number(class, &mut message);
            message.extend_from_slice(&ttl.to_be_bytes());
            number(text.len() as u16 + 1, &mut message);
            message.push(text.len() as u8);
            message.extend_from_slice(text.as_bytes());
        }
        Ok(message)
    }
}

/// How an update was taken, if this is the answer to the one with `id`.
fn code(answer: &[u8], id: u16) -> Option<Code> {
    let mut reader = Reader { message: answer, at: 0 };
    let (its_id, flags) = (reader.number()?, reader.number()?);
    reader.take(8)?;
    (its_id == id && flags & 0xf800 == 0x8000 | UPDATE).then_some(Code((flags & 15) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_the_zone_and_the_exact_records() {
        let changes = [
            Change::Add { name: "_acme-challenge.a.test.", ttl: 60, text: "x" },
            Change::Remove { name: "a.test", text: "y" },
        ];
        let update = Update { zone: "A.test", changes: &changes, key: None };
        let message = update.encode(7).unwrap();
        let mut wanted = b"\0\x07\x28\0\0\x01\0\0\0\x02\0\0\x01a\x04test\0\0\x06\0\x01".to_vec();
        wanted.extend_from_slice(
            b"\x0f_acme-challenge\x01a\x04test\0\0\x10\0\x01\0\0\0\x3c\0\x02\x01x",
        );
        wanted.extend_from_slice(b"\x01a\x04test\0\0\x10\0\xfe\0\0\0\0\0\x02\x01y");
        assert_eq!(message, wanted);
    }

    #[test]
    fn what_does_not_fit_a_record_is_refused() {
        let long = "x".repeat(256);
        for (name, text) in [("a.test", long.as_str()), ("a..test", "x")] {
            let changes = [Change::Add { name, ttl: 1, text }];
            let update = Update { zone: "test", changes: &changes, key: None };
            assert!(matches!(update.encode(1), Err(UpdateError::Invalid(_))), "{name}");
        }
    }

    #[test]
    fn only_the_answer_to_this_update_counts() {
        let answer = |id, flags: u16| {
            let mut message = vec![0, id];
            message.extend_from_slice(&flags.to_be_bytes());
            message.extend_from_slice(&[0; 8]);
            code(&message, 7)
        };
        assert_eq!(answer(7, 0xa805), Some(Code(5)));
        assert_eq!(answer(8, 0xa800), None);
        assert_eq!(answer(7, 0x2800), None, "a request");
        assert_eq!(answer(7, 0x8000), None, "an answer to a query");
        assert_eq!(code(b"\0\x07\xa8", 7), None);
    }
}
