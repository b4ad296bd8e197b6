//! Text with `%{...}` macros, parsed once at load.

use super::target::Collection;

/// Literal text and macros in their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Template {
    pub(crate) parts: Vec<Part>,
}

/// One piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Text as it stands.
    Text(Vec<u8>),
    /// `%{tx.name}`; the name is lower case.
    Tx(Vec<u8>),
    /// `%{rule.id}` and its like; the field is lower case.
    Rule(Vec<u8>),
    /// Any other collection, with the key for those that have keys.
    Value(Collection, Option<Vec<u8>>),
}

impl Template {
    /// Parses `text`. A macro that names no collection is an error; `%` without `{` is text.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(at) = memchr::memmem::find(rest, b"%{") {
            let inside = &rest[at + 2..];
            let Some(end) = memchr::memchr(b'}', inside) else { break };
            literal.extend_from_slice(&rest[..at]);
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(macro_part(&inside[..end])?);
            rest = &inside[end + 1..];
        }
        literal.extend_from_slice(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// The text when there is no macro in it.
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

fn macro_part(name: &[u8]) -> Result<Part, String> {
    let split = name.iter().position(|&b| b == b'.' || b == b':');
    let (collection, key) = match split {
        Some(at) => (&name[..at], Some(&name[at + 1..])),
        None => (name, None),
    };
    let upper = collection.to_ascii_uppercase();
    match (upper.as_slice(), key) {
        (b"TX", Some(key)) if !key.is_empty() => return Ok(Part::Tx(key.to_ascii_lowercase())),
        (b"RULE", Some(key)) => {
            let field = key.to_ascii_lowercase();
            return if matches!(
                field.as_slice(),
                b"id" | b"msg" | b"severity" | b"logdata" | b"rev" | b"ver"
            ) {
                Ok(Part::Rule(field))
            } else {
                Err(format!("unknown macro `%{{{}}}`", String::from_utf8_lossy(name)))
            };
        }
        _ => {}
    }
    match Collection::parse(&upper) {
        Some(collection) if !collection.is_told() => {
            Err(format!("`%{{{}}}` never has a value here", String::from_utf8_lossy(name)))
        }
        Some(collection) => Ok(Part::Value(collection, key.map(<[u8]>::to_vec))),
        None => Err(format!("unknown macro `%{{{}}}`", String::from_utf8_lossy(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_text_and_macros() {
        let template = Template::parse(b"a %{TX.Foo}%{MATCHED_VAR} %{ARGS._c} 5%").unwrap();
        assert_eq!(
            template.parts,
            [
                Part::Text(b"a ".to_vec()),
                Part::Tx(b"foo".to_vec()),
                Part::Value(Collection::MatchedVar, None),
                Part::Text(b" ".to_vec()),
                Part::Value(Collection::Args, Some(b"_c".to_vec())),
                Part::Text(b" 5%".to_vec()),
            ]
        );
        assert_eq!(Template::parse(b"plain %{").unwrap().literal(), Some(&b"plain %{"[..]));
    }

    #[test]
    fn an_unknown_macro_is_an_error() {
        assert!(Template::parse(b"%{NO_SUCH.x}").is_err());
        assert!(Template::parse(b"%{remote_user}").is_err());
    }
}
