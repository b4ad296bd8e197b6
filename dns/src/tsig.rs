//! Signatures by a shared key (TSIG, RFC 8945): who asked, that nothing was changed on the way,
//! and when.

use crate::wire::{Reader, put_name, same_name};
use aws_lc_rs::hmac;
use std::fmt;

const TSIG: u16 = 250;
/// Class `ANY`.
const ANY: u16 = 255;
/// How far clocks may differ, in seconds (RFC 8945 section 10 recommends 300).
const FUDGE: u16 = 300;
/// The server's clock differs too much from the request's time (RFC 8945 section 5.2.3).
const BAD_TIME: u16 = 18;

/// A keyed hash (RFC 8945 section 6); the names of the weaker ones are not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `hmac-sha256`
    Sha256,
    /// `hmac-sha384`
    Sha384,
    /// `hmac-sha512`
    Sha512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// Why an answer to a signed request is not to be believed, or what the server did not like
/// about ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TsigError {
    /// The server does not know the key, or has another algorithm for it.
    #[error("the server does not know the key under this name and algorithm (BADKEY)")]
    BadKey,
    /// The server computes another signature.
    #[error("the server has another secret for the key (BADSIG)")]
    BadSignature,
    /// The clocks differ by more than five minutes; by so many seconds, where the server tells.
    #[error("the clocks of this machine and the server differ{}", by(.0))]
    BadTime(Option<u64>),
    /// The answer bears no signature.
    #[error("the answer is not signed")]
    Unsigned,
    /// The answer's signature is another key's or not one of this answer.
    #[error("the answer's signature is wrong")]
    Forged,
    /// Another error code of RFC 8945 section 5.2.
    #[error("the server refuses the signature with code {0}")]
    Refused(u16),
}

fn by(seconds: &Option<u64>) -> String {
    seconds.map_or_else(String::new, |seconds| format!(" by {seconds} s"))
}

/// A key that the server knows too.
#[derive(Clone)]
pub struct Tsig {
    name: String,
    algorithm: Algorithm,
    key: hmac::Key,
}

impl Tsig {
    /// A key by its name, which is no secret, and its secret (the decoded base64); `None` if the
    /// name is not a DNS name.
    pub fn new(name: &str, algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        put_name(name, &mut Vec::new())?;
        let key = hmac::Key::new(algorithm.hmac(), secret);
        Some(Self { name: name.to_owned(), algorithm, key })
    }

    /// The message with its signature as of `now` (seconds since 1970), and what the answer's
    /// signature is bound to.
    pub(crate) fn sign(&self, mut message: Vec<u8>, now: u64) -> (Vec<u8>, Vec<u8>) {
        let stamp = Stamp { time: now, fudge: FUDGE, error: 0, other: &[] };
        let mut signer = hmac::Context::with_key(&self.key);
        signer.update(&message);
        signer.update(&self.variables(&stamp));
        let mac = signer.sign().as_ref().to_vec();

        let id = [message[0], message[1]];
        let count = u16::from_be_bytes([message[10], message[11]]) + 1;
        message[10..12].copy_from_slice(&count.to_be_bytes());
        put_name(&self.name, &mut message).expect("checked when it was made");
        message.extend_from_slice(&TSIG.to_be_bytes());
        message.extend_from_slice(&ANY.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        let data = self.data(&stamp, &mac, id);
        message.extend_from_slice(&(data.len() as u16).to_be_bytes());
        message.extend_from_slice(&data);
        (message, mac)
    }

    /// Whether `answer` was signed with this key, in answer to the request with `request_mac`,
    /// within five minutes of `now`, and accepts the request's signature.
    pub(crate) fn verify(
        &self,
        answer: &[u8],
        request_mac: &[u8],
        now: u64,
    ) -> Result<(), TsigError> {
        let signed = Signed::read(answer).ok_or(TsigError::Unsigned)?;
        // A server that cannot check ours cannot sign either (RFC 8945 section 5.2.1 and 5.2.2).
        match signed.stamp.error {
            16 => return Err(TsigError::BadSignature),
            17 => return Err(TsigError::BadKey),
            _ => {}
        }
        if !same_name(&signed.key, &self.name) || signed.algorithm != self.algorithm.name() {
            return Err(TsigError::Forged);
        }
        let mut said = (request_mac.len() as u16).to_be_bytes().to_vec();
        said.extend_from_slice(request_mac);
        let start = said.len();
        said.extend_from_slice(&answer[..signed.at]);
        said[start..start + 2].copy_from_slice(signed.id);
        let count = u16::from_be_bytes([answer[10], answer[11]]) - 1;
        said[start + 10..start + 12].copy_from_slice(&count.to_be_bytes());
        said.extend_from_slice(&self.variables(&signed.stamp));
        hmac::verify(&self.key, &said, signed.mac).map_err(|_| TsigError::Forged)?;
        match signed.stamp.error {
            0 if now.abs_diff(signed.stamp.time) > u64::from(signed.stamp.fudge) => {
                Err(TsigError::BadTime(Some(now.abs_diff(signed.stamp.time))))
            }
            0 => Ok(()),
            BAD_TIME => {
                let theirs = Reader { message: signed.stamp.other, at: 0 }.long_number();
                Err(TsigError::BadTime(theirs.map(|theirs| theirs.abs_diff(now))))
            }
            other => Err(TsigError::Refused(other)),
        }
    }

    /// What is signed besides the message (RFC 8945 section 4.3.3).
    fn variables(&self, stamp: &Stamp<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_name(&self.name, &mut bytes).expect("checked when it was made");
        bytes.extend_from_slice(&ANY.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        put_name(self.algorithm.name(), &mut bytes).expect("a name");
        stamp.put_time(&mut bytes);
        stamp.put_rest(&mut bytes);
        bytes
    }

    /// The record's content (RFC 8945 section 4.2).
    fn data(&self, stamp: &Stamp<'_>, mac: &[u8], id: [u8; 2]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_name(self.algorithm.name(), &mut bytes).expect("a name");
        stamp.put_time(&mut bytes);
        bytes.extend_from_slice(&(mac.len() as u16).to_be_bytes());
        bytes.extend_from_slice(mac);
        bytes.extend_from_slice(&id);
        stamp.put_rest(&mut bytes);
        bytes
    }
}

// Not the key.
impl fmt::Debug for Tsig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tsig")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// When and how a message was signed.
struct Stamp<'m> {
    /// Seconds since 1970, 48 bits.
    time: u64,
    fudge: u16,
    error: u16,
    other: &'m [u8],
}

impl Stamp<'_> {
    fn put_time(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.time.to_be_bytes()[2..]);
        bytes.extend_from_slice(&self.fudge.to_be_bytes());
    }

    fn put_rest(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.error.to_be_bytes());
        bytes.extend_from_slice(&(self.other.len() as u16).to_be_bytes());
        bytes.extend_from_slice(self.other);
    }
}

/// A message's last record, if it is a signature.
struct Signed<'m> {
    /// Where it begins.
    at: usize,
    key: String,
    algorithm: String,
    stamp: Stamp<'m>,
    mac: &'m [u8],
    /// The message's id when it was signed.
    id: &'m [u8],
}

impl<'m> Signed<'m> {
    fn read(message: &'m [u8]) -> Option<Self> {
        let mut reader = Reader { message, at: 4 };
        let questions = reader.number()?;
        let records = [reader.number()?, reader.number()?, reader.number()?];
        let records = records.map(u32::from).into_iter().sum::<u32>().checked_sub(1)?;
        for _ in 0..questions {
            reader.name()?;
            reader.take(4)?;
        }
        for _ in 0..records {
            reader.name()?;
            reader.take(8)?;
            let length = reader.number()?;
            reader.take(length.into())?;
        }
        let at = reader.at;
        let key = reader.name()??;
        if (reader.number()?, reader.number()?) != (TSIG, ANY) {
            return None;
        }
        reader.take(6)?; // no time to live, and a length that the fields have themselves
        let algorithm = reader.name()??;
        let (time, fudge) = (reader.long_number()?, reader.number()?);
        let length = reader.number()?;
        let mac = reader.take(length.into())?;
        let id = reader.take(2)?;
        let (error, length) = (reader.number()?, reader.number()?);
        let other = reader.take(length.into())?;
        // The last of all, and so an additional record: 11 is not 0.
        let last = reader.at == message.len() && message[10..12] != [0, 0];
        let stamp = Stamp { time, fudge, error, other };
        last.then_some(Self { at, key, algorithm, stamp, mac, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_700_000_000;

    fn key(algorithm: Algorithm) -> Tsig {
        Tsig::new("Edge.", algorithm, b"secret").unwrap()
    }

    /// A response without anything, as its server would sign it.
    fn response() -> Vec<u8> {
        let mut message = vec![0; 12];
        message[2] = 0xa8;
        message
    }

    /// An answer to a request whose signature was empty: then both are signed alike, but for
    /// the length in front.
    fn answer(key: &Tsig, request_mac: &[u8], stamp: &Stamp<'_>) -> Vec<u8> {
        let mut message = response();
        let mut said = (request_mac.len() as u16).to_be_bytes().to_vec();
        said.extend_from_slice(request_mac);
        said.extend_from_slice(&message);
        said.extend_from_slice(&key.variables(stamp));
        let mac = hmac::sign(&key.key, &said);
        message[11] = 1;
        put_name("edge", &mut message).unwrap();
        message.extend_from_slice(&[0, 250, 0, 255, 0, 0, 0, 0]);
        let data = key.data(stamp, mac.as_ref(), [0, 0]);
        message.extend_from_slice(&(data.len() as u16).to_be_bytes());
        message.extend_from_slice(&data);
        message
    }

    #[test]
    fn answers_are_verified_with_each_algorithm() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
            let key = key(algorithm);
            let stamp = Stamp { time: NOW, fudge: FUDGE, error: 0, other: &[] };
            let answer = answer(&key, b"mac", &stamp);
            assert_eq!(key.verify(&answer, b"mac", NOW), Ok(()));
            assert_eq!(key.verify(&answer, b"other", NOW), Err(TsigError::Forged));
            assert_eq!(key.verify(&answer, b"mac", NOW + 301), Err(TsigError::BadTime(Some(301))));
            let other = Tsig::new("edge", algorithm, b"guess").unwrap();
            assert_eq!(other.verify(&answer, b"mac", NOW), Err(TsigError::Forged));
            let mut changed = answer;
            changed[3] ^= 5;
            assert_eq!(key.verify(&changed, b"mac", NOW), Err(TsigError::Forged));
        }
    }

    #[test]
    fn what_a_server_says_of_our_signature() {
        let key = key(Algorithm::Sha256);
        let theirs = (NOW + 1_000).to_be_bytes();
        let said = |error, other| {
            let stamp = Stamp { time: NOW, fudge: FUDGE, error, other };
            key.verify(&answer(&key, b"mac", &stamp), b"mac", NOW).unwrap_err()
        };
        assert_eq!(said(16, &[]), TsigError::BadSignature);
        assert_eq!(said(17, &[]), TsigError::BadKey);
        assert_eq!(said(BAD_TIME, &theirs[2..]), TsigError::BadTime(Some(1_000)));
        assert!(said(BAD_TIME, &theirs[2..]).to_string().ends_with("differ by 1000 s"));
        assert_eq!(said(22, &[]), TsigError::Refused(22));
        assert_eq!(key.verify(&response(), b"mac", NOW), Err(TsigError::Unsigned));
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert!(!format!("{:?}", key(Algorithm::Sha256)).contains("secret"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn nothing_panics_and_nothing_forged_is_believed(
            cut in 0_usize..90,
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xc0), 0_u8..3], 0..90),
        ) {
            let key = key(Algorithm::Sha256);
            let stamp = Stamp { time: NOW, fudge: FUDGE, error: 0, other: &[] };
            let whole = answer(&key, b"mac", &stamp);
            let mut changed = whole[..cut.min(whole.len())].to_vec();
            changed.extend_from_slice(&bytes);
            prop_assert!(changed == whole || key.verify(&changed, b"mac", NOW).is_err());
            prop_assert!(key.verify(&bytes, b"mac", NOW).is_err());
        }
    }
}
