//! What a responder answers, checked (RFC 6960 sections 3.2 and 4.2).

use super::request::Question;
use std::time::Duration;
use time::OffsetDateTime;
use x509_parser::{
    asn1_rs::BitString,
    prelude::{FromDer, X509Certificate},
    verify::verify_signature,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, Tag, models::ObjectIdentifier};

/// id-pkix-ocsp-basic
const BASIC: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 1, 1];
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

struct Basic {
    data: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    certificates: Vec<Vec<u8>>,
}

struct Single {
    name_hash: Vec<u8>,
    key_hash: Vec<u8>,
    serial: Vec<u8>,
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
    let unreadable = |_: ASN1Error| "the answer is no OCSP response".to_owned();
    let basic = match yasna::parse_der(bytes, response).map_err(unreadable)? {
        Ok(bytes) => yasna::parse_der(&bytes, basic).map_err(unreadable)?,
        Err(status) => return Err(format!("the responder refuses (status {status})")),
    };
    if !is_signed(&basic, question, now) {
        return Err("the answer is not signed by the issuer or whom it appointed".to_owned());
    }
    let singles = yasna::parse_der(&basic.data, data).map_err(unreadable)?;
    let single = singles.into_iter().find(|single| {
        single.serial == question.serial
            && single.name_hash == question.name_hash
            && single.key_hash == question.key_hash
    });
    let single = single.ok_or("the answer is about another certificate")?;
    let Some(until) = single.until else {
        return Err("the answer does not say until when it is good".to_owned());
    };
    if single.since > now + SKEW || until <= now {
        return Err(format!("the answer is good from {} to {until}", single.since));
    }
    Ok(Answer { standing: single.standing, since: single.since, until })
}

/// OCSPResponse: the basic response, or the status of a refusal.
fn response(reader: BERReader<'_, '_>) -> ASN1Result<Result<Vec<u8>, i64>> {
    reader.read_sequence(|members| {
        let status = members.next().read_enum()?;
        let bytes = members.read_optional(|reader| {
            reader.read_tagged(Tag::context(0), |reader| {
                reader.read_sequence(|members| {
                    let kind = members.next().read_oid()?;
                    let bytes = members.next().read_bytes()?;
                    match kind == ObjectIdentifier::from_slice(BASIC) {
                        true => Ok(bytes),
                        false => Err(ASN1Error::new(ASN1ErrorKind::Invalid)),
                    }
                })
            })
        })?;
        Ok(bytes.filter(|_| status == 0).ok_or(status))
    })
}

fn basic(reader: BERReader<'_, '_>) -> ASN1Result<Basic> {
    reader.read_sequence(|members| {
        let data = members.next().read_der()?;
        let algorithm = members.next().read_der()?;
        let (signature, _) = members.next().read_bitvec_bytes()?;
        let mut certificates = Vec::new();
        members.read_optional(|reader| {
            reader.read_tagged(Tag::context(0), |reader| {
                reader.read_sequence_of(|reader| {
                    certificates.push(reader.read_der()?);
                    Ok(())
                })
            })
        })?;
        Ok(Basic { data, algorithm, signature, certificates })
    })
}

/// ResponseData
fn data(reader: BERReader<'_, '_>) -> ASN1Result<Vec<Single>> {
    reader.read_sequence(|members| {
        members.read_optional(|reader| {
            reader.read_tagged(Tag::context(0), |reader| reader.read_i64())
        })?;
        members.next().read_der()?; // who answers: the signature says so
        members.next().read_der()?; // when it was made
        let mut singles = Vec::new();
        members.next().read_sequence_of(|reader| {
            singles.push(single(reader)?);
            Ok(())
        })?;
        members.read_optional(|reader| reader.read_der())?;
        Ok(singles)
    })
}

/// SingleResponse
fn single(reader: BERReader<'_, '_>) -> ASN1Result<Single> {
    reader.read_sequence(|members| {
        let (name_hash, key_hash, serial) = members.next().read_sequence(|id| {
            id.next().read_der()?;
            let name = id.next().read_bytes()?;
            let key = id.next().read_bytes()?;
            let number = id.next().read_der()?;
            // The content of the INTEGER as it stands; serials have at most 20 bytes.
            let serial = number.get(2..).unwrap_or_default().to_vec();
            Ok((name, key, serial))
        })?;
        // A choice: good [0], revoked [1], unknown [2].
        let standing = match members.next().read_der()?.first() {
            Some(0x80) => Standing::Good,
            Some(0xa1) => Standing::Revoked,
            _ => Standing::Unknown,
        };
        let since = *members.next().read_generalized_time()?.datetime();
        let until = members.read_optional(|reader| {
            reader.read_tagged(Tag::context(0), |reader| {
                Ok(*reader.read_generalized_time()?.datetime())
            })
        })?;
        members.read_optional(|reader| reader.read_der())?;
        Ok(Single { name_hash, key_hash, serial, standing, since, until })
    })
}

/// Whether the issuer signed, or a certificate of its own that may sign answers (section
/// 4.2.2.2).
fn is_signed(basic: &Basic, question: &Question, now: OffsetDateTime) -> bool {
    let Ok((_, issuer)) = X509Certificate::from_der(&question.issuer) else { return false };
    let Ok((_, algorithm)) = AlgorithmIdentifier::from_der(&basic.algorithm) else { return false };
    let signature = BitString::new(0, &basic.signature);
    let by = |key: &SubjectPublicKeyInfo<'_>| {
        verify_signature(key, &algorithm, &signature, &basic.data).is_ok()
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
            // Within a frame that is read.
            let basic = yasna::construct_der(|writer| writer.write_sequence(|members| {
                members.next().write_enum(0);
                members.next().write_tagged(Tag::context(0), |writer| {
                    writer.write_sequence(|members| {
                        members.next().write_oid(&ObjectIdentifier::from_slice(BASIC));
                        members.next().write_bytes(&body);
                    });
                });
            }));
            prop_assert!(check(&basic, &question(), OffsetDateTime::UNIX_EPOCH).is_err());
        }
    }
}
