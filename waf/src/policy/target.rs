//! How the values of an exclusion are written: `ARGS`, `ARGS:name` or `ARGS:/pattern/`.

use std::str::FromStr;

use super::ExcludeTarget;
use crate::seclang::Collection;

/// Why a text names no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a variable of the rules")]
pub struct UnknownVariable(pub String);

impl FromStr for ExcludeTarget {
    type Err = UnknownVariable;

    fn from_str(text: &str) -> Result<Self, UnknownVariable> {
        let (variable, name) = match text.split_once(':') {
            Some((variable, name)) => (variable, Some(name)),
            None => (text, None),
        };
        let collection = Collection::parse(variable.as_bytes())
            .ok_or_else(|| UnknownVariable(variable.to_owned()))?;
        Ok(match name {
            None => Self::All(collection),
            Some(name) => match name.strip_prefix('/').and_then(|name| name.strip_suffix('/')) {
                Some(pattern) => Self::Matching(collection, pattern.to_owned()),
                None => Self::Named(collection, name.to_owned()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_its_member_or_a_pattern_of_members() {
        let parse = |text: &str| text.parse::<ExcludeTarget>();
        assert_eq!(parse("ARGS"), Ok(ExcludeTarget::All(Collection::Args)));
        assert_eq!(parse("ARGS:a:b"), Ok(ExcludeTarget::Named(Collection::Args, "a:b".into())));
        assert_eq!(
            parse("ARGS:/^utm_/"),
            Ok(ExcludeTarget::Matching(Collection::Args, "^utm_".into()))
        );
        assert_eq!(parse("ARG:x"), Err(UnknownVariable("ARG".into())));
    }
}
