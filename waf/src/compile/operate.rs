//! From an operator's text to a compiled operator.

use std::path::Path;

use super::macros::{Macro, Names};
use crate::{
    interner::Interner,
    operator::{ByteSet, NumberTest, Operator, TextTest, from_argument, from_file},
    seclang::{Files, OperatorName, OperatorText, Position, Template, beside},
};

/// What compiling operators needs.
pub(super) struct Context<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) interner: &'a Interner,
    pub(super) names: &'a mut Names,
}

/// Compiles an operator; the second part is a notice.
pub(super) fn compile(
    text: &OperatorText,
    at: &Position,
    context: &mut Context<'_>,
) -> Result<(Operator, Option<&'static str>), String> {
    let argument = text.argument.as_slice();
    let operator = match text.name {
        OperatorName::Rx => pattern(argument, context)?,
        OperatorName::Pm => Operator::Phrases(context.interner.phrases(from_argument(argument)?)?),
        OperatorName::PmFromFile => {
            let phrases = lines(argument, at, context)?;
            if phrases.is_empty() {
                return Err("no phrase in the file".to_owned());
            }
            Operator::Phrases(context.interner.phrases(phrases)?)
        }
        OperatorName::Streq => text_test(TextTest::Equals, argument, context)?,
        OperatorName::Contains | OperatorName::StrMatch => {
            text_test(TextTest::Contains, argument, context)?
        }
        OperatorName::ContainsWord => text_test(TextTest::ContainsWord, argument, context)?,
        OperatorName::BeginsWith => text_test(TextTest::BeginsWith, argument, context)?,
        OperatorName::EndsWith => text_test(TextTest::EndsWith, argument, context)?,
        OperatorName::Within => text_test(TextTest::Within, argument, context)?,
        OperatorName::Eq => number_test(NumberTest::Eq, argument, context)?,
        OperatorName::Ge => number_test(NumberTest::Ge, argument, context)?,
        OperatorName::Gt => number_test(NumberTest::Gt, argument, context)?,
        OperatorName::Le => number_test(NumberTest::Le, argument, context)?,
        OperatorName::Lt => number_test(NumberTest::Lt, argument, context)?,
        OperatorName::IpMatch => networks(argument)?,
        OperatorName::IpMatchFromFile => networks(&lines(argument, at, context)?.join(&b','))?,
        OperatorName::ValidateByteRange => Operator::ByteRange(
            ByteSet::parse_ranges(argument)
                .ok_or("expected ranges of bytes such as `32-126`".to_owned())?,
        ),
        OperatorName::ValidateUrlEncoding => Operator::UrlEncoding,
        OperatorName::ValidateUtf8Encoding => Operator::Utf8Encoding,
        OperatorName::DetectSqli => Operator::Sqli,
        OperatorName::DetectXss => Operator::Xss,
        OperatorName::UnconditionalMatch => Operator::Always,
        OperatorName::NoMatch => Operator::Never,
        OperatorName::GeoLookup => Operator::Country,
        OperatorName::Rbl => {
            return Ok((
                Operator::Never,
                Some("`@rbl` asks the DNS, which rules do not do here: it never matches"),
            ));
        }
    };
    Ok((operator, None))
}

fn pattern(argument: &[u8], context: &mut Context<'_>) -> Result<Operator, String> {
    // `%{` in a pattern is a macro only if it names one.
    if let Ok(template) = Template::parse(argument)
        && template.literal().is_none()
    {
        return Ok(Operator::PatternOf(Macro::new(&template, context.names)));
    }
    let pattern = context.interner.pattern(argument, false);
    pattern.map(Operator::Pattern).map_err(|what| format!("the pattern cannot be compiled: {what}"))
}

fn text_test(
    test: TextTest,
    argument: &[u8],
    context: &mut Context<'_>,
) -> Result<Operator, String> {
    Ok(Operator::Text(test, Macro::new(&Template::parse(argument)?, context.names)))
}

fn number_test(
    test: NumberTest,
    argument: &[u8],
    context: &mut Context<'_>,
) -> Result<Operator, String> {
    let argument = Macro::new(&Template::parse(argument.trim_ascii())?, context.names);
    let numeric = argument.literal().is_none_or(|text| {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    });
    if numeric { Ok(Operator::Number(test, argument)) } else { Err("expected a number".to_owned()) }
}

fn networks(text: &[u8]) -> Result<Operator, String> {
    let mut networks = Vec::new();
    for part in
        String::from_utf8_lossy(text).split(',').map(str::trim).filter(|part| !part.is_empty())
    {
        let network = part
            .parse()
            .or_else(|_| part.parse().map(|address: std::net::IpAddr| address.into()))
            .map_err(|_| format!("expected an address or a network, found `{part}`"))?;
        networks.push(network);
    }
    if networks.is_empty() {
        return Err("no address".to_owned());
    }
    Ok(Operator::Address(networks))
}

fn names(argument: &[u8]) -> Result<Vec<&str>, String> {
    let text = std::str::from_utf8(argument).map_err(|_| "a path that is not UTF-8".to_owned())?;
    let names: Vec<_> = text.split_ascii_whitespace().collect();
    if names.is_empty() { Err("no file is named".to_owned()) } else { Ok(names) }
}

/// The lines of data files, without comments.
fn lines(argument: &[u8], at: &Position, context: &Context<'_>) -> Result<Vec<Vec<u8>>, String> {
    let mut lines = Vec::new();
    for name in names(argument)? {
        lines.extend(from_file(&data(name, at, context)?));
    }
    Ok(lines)
}

fn data(name: &str, at: &Position, context: &Context<'_>) -> Result<Vec<u8>, String> {
    if name.contains("://") {
        return Err(format!("`{name}` is not a file; rules do not use the network"));
    }
    let path = beside(&at.file, Path::new(name));
    context.files.read(&path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}
