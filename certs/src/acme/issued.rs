//! A certificate just issued, and whether it is what was ordered.

use super::failure::{Failure, Scope};
use crate::{
    certificate::Certificate,
    clock::{after, rfc3339},
    stored::StoredCertificate,
};
use std::time::Duration;
use time::OffsetDateTime;

/// A certificate just issued, checked.
pub(crate) struct Issued {
    pub(crate) stored: StoredCertificate,
    pub(crate) certificate: Certificate,
}

/// Whether what the authority sent is what was ordered.
pub(super) fn check(
    name: &str,
    mut stored: StoredCertificate,
    now: OffsetDateTime,
) -> Result<Issued, Failure> {
    let wrong = |cause: String| {
        let text = format!("the authority's certificate is not usable: {cause}");
        Failure::new(Scope::Authority, text)
    };
    let certificate = stored.read().map_err(|error| wrong(error.to_string()))?;
    if !certificate.names.iter().any(|covered| crate::names::covers(covered, name)) {
        return Err(wrong("it does not name the host".to_owned()));
    }
    let (from, until) = (certificate.not_before, certificate.not_after);
    // Authorities backdate theirs, by an hour as a rule; clients are not always right either.
    if until <= now || from > after(now, Duration::from_secs(3600)) {
        let (from, until, now) = (rfc3339(from), rfc3339(until), rfc3339(now));
        let odd = format!(
            "it is valid from {from} to {until} and it is {now} here: is this machine's clock right?"
        );
        return Err(wrong(odd));
    }
    stored.issued = Some(now.unix_timestamp());
    Ok(Issued { stored, certificate })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::tests::pem;

    #[test]
    fn a_certificate_whose_dates_are_odd_here_is_refused_with_a_word_on_the_clock() {
        let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let at = |now: OffsetDateTime| {
            let (chain, key) = pem(&["a.example.com"], start, 90);
            let stored = StoredCertificate { authority: "ca".into(), chain, key, issued: None };
            check("a.example.com", stored, now).map_err(|failure| failure.text)
        };
        let days = time::Duration::days;
        assert_eq!(at(start).ok().unwrap().stored.issued, Some(1_800_000_000));
        for odd in [start - days(1), start + days(90)] {
            let text = at(odd).err().unwrap();
            assert!(text.contains("clock") && text.contains("2027-"), "{text}");
        }
    }
}
