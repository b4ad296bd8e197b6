//! Who may issue for a name, as its zone says (RFC 8659).

use tidegate_dns::{Data, Failed, Kind, Resolver};

/// What a zone says, and where.
pub(super) struct Caa(Result<Option<(String, Vec<String>)>, Failed>);

impl Caa {
    /// Climbs from the name upwards until somebody says something (section 3).
    pub(super) async fn of(resolver: &Resolver, name: &str) -> Self {
        let is_wildcard = name.starts_with("*.");
        let mut rest = Some(name.trim_start_matches("*."));
        while let Some(name) = rest {
            match resolver.ask(name, Kind::Caa).await {
                Ok(answer) => {
                    let found = answer.found(name, Kind::Caa);
                    if !found.is_empty() {
                        let issuers = issuers(&found, is_wildcard);
                        return Self(Ok(issuers.map(|issuers| (name.to_owned(), issuers))));
                    }
                }
                Err(error) => return Self(Err(error)),
            }
            rest = name.split_once('.').map(|(_, rest)| rest);
        }
        Self(Ok(None))
    }

    /// Whether an authority known by these names may issue.
    pub(super) fn permits(&self, identities: &[String]) -> Result<String, String> {
        let (at, issuers) = match &self.0 {
            Ok(None) => return Ok("no CAA record: every authority may issue".to_owned()),
            Ok(Some(said)) => said,
            // Section 3: who cannot look it up must not issue.
            Err(error) => return Err(format!("cannot be looked up: {error}")),
        };
        let said = match issuers.is_empty() {
            true => format!("`{at}` lets no authority issue"),
            false => format!("`{at}` lets {} issue", issuers.join(", ")),
        };
        if !issuers.is_empty() && identities.is_empty() {
            return Ok(format!("{said}; the issuer does not say by which name it is known"));
        }
        match identities.iter().any(|identity| issuers.contains(identity)) {
            true => Ok(said),
            false => Err(format!(
                "{said}: add a CAA record `0 issue \"{}\"` there",
                identities.first().map_or("AUTHORITY", String::as_str)
            )),
        }
    }
}

/// The domains that may issue; `None` if nothing is said of that (sections 4.2 and 4.3).
fn issuers(found: &[Data], is_wildcard: bool) -> Option<Vec<String>> {
    let of = |wanted: &str| -> Vec<String> {
        let properties = found.iter().filter_map(|data| match data {
            Data::Property { tag, value } if tag == wanted => Some(value),
            _ => None,
        });
        let domains = properties.map(|value| value.split(';').next().unwrap_or_default());
        domains.map(|domain| domain.trim().to_ascii_lowercase()).collect()
    };
    let mut said = if is_wildcard { of("issuewild") } else { Vec::new() };
    if said.is_empty() {
        said = of("issue");
    }
    if said.is_empty() {
        return None;
    }
    said.retain(|domain| !domain.is_empty());
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caa(properties: &[(&str, &str)], is_wildcard: bool) -> Caa {
        let property = |(tag, value): &(&str, &str)| Data::Property {
            tag: (*tag).to_owned(),
            value: (*value).to_owned(),
        };
        let found: Vec<Data> = properties.iter().map(property).collect();
        Caa(Ok(issuers(&found, is_wildcard).map(|issuers| ("example.com".to_owned(), issuers))))
    }

    #[test]
    fn a_zone_names_who_may_issue_and_for_wildcards_maybe_others() {
        let ours = ["ca.example".to_owned()];
        for (properties, is_wildcard, passes) in [
            (&[][..], false, true),
            (&[("iodef", "mailto:a@b")], false, true),
            (&[("issue", "ca.example; validationmethods=dns-01")], false, true),
            (&[("issue", "other.example"), ("issue", "CA.example")], false, true),
            (&[("issue", "other.example")], false, false),
            (&[("issue", ";")], false, false),
            (&[("issue", "ca.example"), ("issuewild", ";")], false, true),
            (&[("issue", "ca.example"), ("issuewild", ";")], true, false),
            (&[("issue", "ca.example")], true, true),
            (&[("issuewild", "ca.example")], false, true),
        ] {
            let said = caa(properties, is_wildcard).permits(&ours);
            assert_eq!(said.is_ok(), passes, "{properties:?}: {said:?}");
        }
        let unknown = caa(&[("issue", "ca.example")], false).permits(&[]);
        assert!(unknown.unwrap().contains("does not say"));
        assert!(caa(&[("issue", ";")], false).permits(&[]).is_err());
    }
}
