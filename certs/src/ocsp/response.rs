//! What a responder answers, checked (RFC 6960 sections 3.2 and 4.2).

use super::request::Question;
use std::time::Duration;
use time::OffsetDateTime;
use x509_parser::{
    asn1_rs::{Any, BitString, GeneralizedTime},
    prelude::{FromDer, X509Certificate},
    verify::verify_signature,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// Tags of DER.
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// Certificates of an answer that are looked at: who signed is among the first.
const MAX_CERTIFICATES: usize = 8;
/// A responder's clock may be so far ahead.
const SKEW: Duration = Duration::from_secs(300);

/// What a responder says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    Revoked,
    /// The responder does not know it.
    Unknown,
}

/// An answer that its issuer stands for and that is good now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) standing: Standing,
    pub(super) since: OffsetDateTime,
    /// When the responder will know more.
    pub(super) until: OffsetDateTime,
}

struct Basic<'a> {
    /// What is signed.
    data: Element<'a>,
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificates: Vec<&'a [u8]>,
}

struct Single {
    standing: Standing,
    since: OffsetDateTime,
    until: Option<OffsetDateTime>,
}

/// Reads and checks an answer; says as a fragment why it cannot be used.
pub(super) fn check(
    bytes: &[u8],
    question: &Question,
    now: OffsetDateTime,
) -> Result<Answer, String> {
    const UNREADABLE: &str = "the answer is no OCSP response";
    let basic = match response(bytes).ok_or(UNREADABLE)? {
        Ok(bytes) => basic(bytes).ok_or(UNREADABLE)?,
        Err(status) => return Err(format!("the responder refuses (status {status})")),
    };
    if !is_signed(&basic, question, now) {
        return Err("the answer is not signed by the issuer or whom it appointed".to_owned());
    }
    let single = about(basic.data.content, question).ok_or(UNREADABLE)?;
    let single = single.ok_or("the answer is about another certificate")?;
    let Some(until) = single.until else {
        return Err("the answer does not say until when it is good".to_owned());
    };
    if single.since > now + SKEW || until <= now {
        return Err(format!("the answer is good from {} to {until}", single.since));
    }
    Ok(Answer { standing: single.standing, since: single.since, until })
}

/// OCSPResponse: the content of the basic response, or the status of a refusal.
fn response(bytes: &[u8]) -> Option<Result<&[u8], u8>> {
    let mut members = Elements(Elements(bytes).tagged(SEQUENCE)?.content);
    let status = *members.tagged(ENUMERATED)?.content.last()?;
    let Some(bytes) = members.tagged(context(0)).filter(|_| status == 0) else {
        return Some(Err(status));
    };
    let mut members = Elements(Elements(bytes.content).tagged(SEQUENCE)?.content);
    let kind = members.tagged(OID)?;
    let bytes = members.tagged(OCTETS)?;
    (kind.content == BASIC).then_some(Ok(bytes.content))
}

/// BasicOCSPResponse
fn basic(bytes: &[u8]) -> Option<Basic<'_>> {
    let mut members = Elements(Elements(bytes).tagged(SEQUENCE)?.content);
    let data = members.tagged(SEQUENCE)?;
    let algorithm = members.tagged(SEQUENCE)?.whole;
    // The first byte tells how many bits of the last one are not used: none of a signature.
    let (&0, signature) = members.tagged(BITS)?.content.split_first()? else { return None };
    let mut certificates = match members.tagged(context(0)) {
        Some(certificates) => Elements(Elements(certificates.content).tagged(SEQUENCE)?.content),
        None => Elements(&[]),
    };
    let certificates = std::iter::from_fn(|| certificates.tagged(SEQUENCE));
    let certificates = certificates.take(MAX_CERTIFICATES).map(|found| found.whole).collect();
    Some(Basic { data, algorithm, signature, certificates })
}

/// ResponseData: the answer to the question, if it is among those given.
fn about(data: &[u8], question: &Question) -> Option<Option<Single>> {
    let mut members = Elements(data);
    members.tagged(context(0)); // the version
    members.next()?; // who answers: the signature says so
    members.tagged(TIME)?; // when it was made
    let mut singles = Elements(members.tagged(SEQUENCE)?.content);
    while let Some(found) = singles.next() {
        if let Some(single) = single(found.content, question)? {
            return Some(Some(single));
        }
    }
    Some(None)
}

/// SingleResponse: nothing if it is about another certificate.
fn single(content: &[u8], question: &Question) -> Option<Option<Single>> {
    let mut members = Elements(content);
    let mut id = Elements(members.tagged(SEQUENCE)?.content);
    id.tagged(SEQUENCE)?; // the hashes' algorithm: others have other lengths
    let (name, key) = (id.tagged(OCTETS)?, id.tagged(OCTETS)?);
    let serial = id.tagged(INTEGER)?;
    if serial.content != question.serial
        || name.content != question.name_hash
        || key.content != question.key_hash
    {
        return Some(None);
    }
    // A choice: good [0], revoked [1], unknown [2].
    let standing = match members.next()?.tag {
        0x80 => Standing::Good,
        0xa1 => Standing::Revoked,
        _ => Standing::Unknown,
    };
    let since = time(&members.tagged(TIME)?)?;
    let until = match members.tagged(context(0)) {
        Some(until) => Some(time(&Elements(until.content).tagged(TIME)?)?),
        None => None,
    };
    Some(Some(Single { standing, since, until }))
}

fn time(element: &Element<'_>) -> Option<OffsetDateTime> {
    let (_, time) = GeneralizedTime::from_der(element.whole).ok()?;
    time.utc_datetime().ok()
}

/// DER values, one after the other.
struct Elements<'a>(&'a [u8]);

#[derive(Clone, Copy)]
struct Element<'a> {
    /// Its class, form and number.
    tag: u8,
    content: &'a [u8],
    /// With tag and length.
    whole: &'a [u8],
}

impl<'a> Elements<'a> {
    fn next(&mut self) -> Option<Element<'a>> {
        let (rest, any) = Any::from_der(self.0).ok()?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Element { tag: *whole.first()?, content: any.data, whole })
    }

    /// The next one if it has this tag; else it stays.
    fn tagged(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.0.first() == Some(&tag) { self.next() } else { None }
    }
}

/// An explicit tag of the context.
const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Whether the issuer signed, or a certificate of its own that may sign answers (section
/// 4.2.2.2).
fn is_signed(basic: &Basic<'_>, question: &Question, now: OffsetDateTime) -> bool {
    let Ok((_, issuer)) = X509Certificate::from_der(&question.issuer) else { return false };
    let Ok((_, algorithm)) = AlgorithmIdentifier::from_der(basic.algorithm) else { return false };
    let signature = BitString::new(0, basic.signature);
    let by = |key: &SubjectPublicKeyInfo<'_>| {
        verify_signature(key, &algorithm, &signature, basic.data.whole).is_ok()
    };
    if by(issuer.public_key()) {
        return true;
    }
    basic.certificates.iter().any(|certificate| {
        X509Certificate::from_der(certificate).is_ok_and(|(_, delegate)| {
            let may_sign = delegate
                .extended_key_usage()
                .is_ok_and(|usage| usage.is_some_and(|usage| usage.value.ocsp_signing));
            let validity = delegate.validity();
            let is_good =
                validity.not_before.to_datetime() <= now && validity.not_after.to_datetime() > now;
            may_sign
                && is_good
                && delegate.verify_signature(Some(issuer.public_key())).is_ok()
                && by(delegate.public_key())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use yasna::models::ObjectIdentifier;

    fn question() -> Question {
        Question {
            url: "http://127.0.0.1:1".to_owned(),
            issuer: Vec::new().into(),
            name_hash: vec![0; 20],
            key_hash: vec![0; 20],
            serial: vec![1],
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_status() {
        // SEQUENCE { ENUMERATED 3 }: try later.
        let told = check(&[0x30, 3, 0x0a, 1, 3], &question(), OffsetDateTime::UNIX_EPOCH);
        assert_eq!(told.unwrap_err(), "the responder refuses (status 3)");
    }

    proptest! {
        #[test]
        fn nothing_a_responder_sends_is_taken_for_an_answer(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            body in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            prop_assert!(check(&bytes, &question(), OffsetDateTime::UNIX_EPOCH).is_err());
            // Within frames that are read.
            let answer = frame(&body);
            prop_assert!(check(&answer, &question(), OffsetDateTime::UNIX_EPOCH).is_err());
            let _ = about(&body, &question());
            let _ = single(&body, &question());
            let _ = basic(&body);
        }
    }

    /// A basic response around `body`.
    fn frame(body: &[u8]) -> Vec<u8> {
        yasna::construct_der(|writer| {
            writer.write_sequence(|members| {
                members.next().write_enum(0);
                members.next().write_tagged(yasna::Tag::context(0), |writer| {
                    writer.write_sequence(|members| {
                        let basic = [1, 3, 6, 1, 5, 5, 7, 48, 1, 1];
                        members.next().write_oid(&ObjectIdentifier::from_slice(&basic));
                        members.next().write_bytes(body);
                    });
                });
            })
        })
    }

    #[test]
    fn a_length_beyond_all_memory_ends_the_reading() {
        // A certificate that says to have 2^64 - 10 bytes: to add that to where it begins leads
        // back to there.
        let certificate = [0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf6];
        let mut body = vec![0x30, 2 + 2 + 3 + 4 + 10];
        body.extend([0x30, 0, 0x30, 0, 0x03, 1, 0, 0xa0, 12, 0x30, 10]);
        body.extend(certificate);
        assert!(basic(&body).is_some_and(|basic| basic.certificates.is_empty()));
        assert!(check(&frame(&body), &question(), OffsetDateTime::UNIX_EPOCH).is_err());
    }
}
