//! Cross-site scripting: read the input as the HTML it might become, and look for what runs
//! scripts.
//!
//! An input is a fragment of an unknown page, so it is read as text, as the inside of a tag, and
//! as the value of an attribute in each kind of quotes.

mod html;
mod names;
mod url;

use memchr::{memchr, memchr2};

use html::{Context, Token, Tokens};
use names::Attribute;

/// Would `input`, put into a page, run a script?
pub(crate) fn is_xss(input: &[u8]) -> bool {
    // Only a tag or an attribute with a value can.
    if memchr2(b'<', b'=', input).is_none() {
        return false;
    }
    const CONTEXTS: [Context; 5] = [
        Context::Text,
        Context::Tag,
        Context::Value(b'\''),
        Context::Value(b'"'),
        Context::Value(b'`'),
    ];
    CONTEXTS.into_iter().any(|context| is_xss_in(input, context))
}

fn is_xss_in(input: &[u8], context: Context) -> bool {
    let mut attribute = Attribute::Harmless;
    Tokens::new(input, context).any(|token| match token {
        Token::Doctype => true,
        Token::Tag(name) => names::is_dangerous_tag(name),
        Token::Comment(text) => is_dangerous_comment(text),
        Token::Name(name) => {
            attribute = Attribute::named(name);
            false
        }
        Token::Value(value) => match attribute {
            Attribute::Harmless => false,
            Attribute::Dangerous => true,
            Attribute::Url => url::runs_script(value),
            Attribute::NameOfOther => Attribute::named(value) != Attribute::Harmless,
        },
    })
}

/// Comments in which Internet Explorer finds more than a comment.
fn is_dangerous_comment(text: &[u8]) -> bool {
    let starts_with =
        |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    // A backtick ends a tag there.
    memchr(b'`', text).is_some()
        || (text.len() > 3 && (starts_with(b"[if") || starts_with(b"xml")))
        || starts_with(b"import")
        || starts_with(b"entity")
}

#[cfg(test)]
mod tests;
