//! The transformations a rule applies to a value before its operator sees it.
//!
//! An attacker chooses the encoding; a rule is written against plain text. Each
//! transformation is a pure function over bytes whose results are those of
//! libmodsecurity 3.0.9, which the Core Rule Set is tested on. Where
//! libmodsecurity loses or invents bytes (it stops at a NUL, drops the last byte,
//! reads past the end) the whole value is transformed instead: a rule must see
//! everything that a back end would see. Each such place says so, under the
//! words "Unlike libmodsecurity".
//!
//! Left out: `none`, which empties the list of transformations and belongs to
//! whoever holds that list.

mod ansi_c;
mod base64;
mod bytes;
mod case;
mod command;
mod comments;
mod css;
mod digest;
mod hex;
mod html;
mod js;
mod nulls;
mod parity;
mod path;
mod sql_hex;
mod unicode_map;
mod url;
mod url_unicode;
mod utf8;
mod whitespace;

#[cfg(test)]
mod tests;

/// One transformation (`t:…` in a rule).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "named as in the rule language; each one's file says what it does")]
pub enum Transformation {
    Base64Decode,
    Base64DecodeExt,
    Base64Encode,
    CmdLine,
    CompressWhitespace,
    CssDecode,
    EscapeSeqDecode,
    HexDecode,
    HexEncode,
    HtmlEntityDecode,
    JsDecode,
    Length,
    Lowercase,
    Md5,
    NormalisePath,
    NormalisePathWin,
    ParityEven7Bit,
    ParityOdd7Bit,
    ParityZero7Bit,
    RemoveComments,
    RemoveCommentsChar,
    RemoveNulls,
    RemoveWhitespace,
    ReplaceComments,
    ReplaceNulls,
    Sha1,
    SqlHexDecode,
    Trim,
    TrimLeft,
    TrimRight,
    Uppercase,
    UrlDecode,
    UrlDecodeUni,
    UrlEncode,
    Utf8ToUnicode,
}

use Transformation as T;

/// Every name with its transformation; two have two spellings.
const NAMES: &[(&str, T)] = &[
    ("base64Decode", T::Base64Decode),
    ("base64DecodeExt", T::Base64DecodeExt),
    ("base64Encode", T::Base64Encode),
    ("cmdLine", T::CmdLine),
    ("compressWhitespace", T::CompressWhitespace),
    ("cssDecode", T::CssDecode),
    ("escapeSeqDecode", T::EscapeSeqDecode),
    ("hexDecode", T::HexDecode),
    ("hexEncode", T::HexEncode),
    ("htmlEntityDecode", T::HtmlEntityDecode),
    ("jsDecode", T::JsDecode),
    ("length", T::Length),
    ("lowercase", T::Lowercase),
    ("md5", T::Md5),
    ("normalisePath", T::NormalisePath),
    ("normalizePath", T::NormalisePath),
    ("normalisePathWin", T::NormalisePathWin),
    ("normalizePathWin", T::NormalisePathWin),
    ("parityEven7bit", T::ParityEven7Bit),
    ("parityOdd7bit", T::ParityOdd7Bit),
    ("parityZero7bit", T::ParityZero7Bit),
    ("removeComments", T::RemoveComments),
    ("removeCommentsChar", T::RemoveCommentsChar),
    ("removeNulls", T::RemoveNulls),
    ("removeWhitespace", T::RemoveWhitespace),
    ("replaceComments", T::ReplaceComments),
    ("replaceNulls", T::ReplaceNulls),
    ("sha1", T::Sha1),
    ("sqlHexDecode", T::SqlHexDecode),
    ("trim", T::Trim),
    ("trimLeft", T::TrimLeft),
    ("trimRight", T::TrimRight),
    ("uppercase", T::Uppercase),
    ("urlDecode", T::UrlDecode),
    ("urlDecodeUni", T::UrlDecodeUni),
    ("urlEncode", T::UrlEncode),
    ("utf8toUnicode", T::Utf8ToUnicode),
];

impl Transformation {
    /// The transformation of that name, in any case; `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        let (_, found) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(*found)
    }

    /// The name a rule would use.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, known)| *known == self).map_or("none", |(name, _)| name)
    }

    /// All of them, each once.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES
            .iter()
            .filter(|(name, transformation)| transformation.name() == *name)
            .map(|(_, transformation)| *transformation)
    }

    /// The transformed value, or `None` when it is byte for byte the input; most
    /// values are plain text and then nothing is allocated.
    pub fn apply(self, input: &[u8]) -> Option<Vec<u8>> {
        let output = match self {
            T::Base64Decode => base64::decode(input),
            T::Base64DecodeExt => base64::decode_forgiving(input),
            T::Base64Encode => base64::encode(input),
            T::CmdLine => command::cmd_line(input),
            T::CompressWhitespace => whitespace::compress(input),
            T::CssDecode => css::decode(input),
            T::EscapeSeqDecode => ansi_c::decode(input),
            T::HexDecode => hex::decode(input),
            T::HexEncode => hex::encode(input),
            T::HtmlEntityDecode => html::decode(input),
            T::JsDecode => js::decode(input),
            T::Length => digest::length(input),
            T::Lowercase => case::lower(input),
            T::Md5 => digest::md5(input),
            T::NormalisePath => path::normalise(input, path::Separators::Unix),
            T::NormalisePathWin => path::normalise(input, path::Separators::Windows),
            T::ParityEven7Bit => parity::even(input),
            T::ParityOdd7Bit => parity::odd(input),
            T::ParityZero7Bit => parity::zero(input),
            T::RemoveComments => comments::remove(input),
            T::RemoveCommentsChar => comments::remove_marks(input),
            T::RemoveNulls => nulls::remove(input),
            T::RemoveWhitespace => whitespace::remove(input),
            T::ReplaceComments => comments::replace(input),
            T::ReplaceNulls => nulls::replace(input),
            T::Sha1 => digest::sha1(input),
            T::SqlHexDecode => sql_hex::decode(input),
            T::Trim => whitespace::trim(input),
            T::TrimLeft => whitespace::trim_left(input),
            T::TrimRight => whitespace::trim_right(input),
            T::Uppercase => case::upper(input),
            T::UrlDecode => url::decode(input),
            T::UrlDecodeUni => url_unicode::decode(input),
            T::UrlEncode => url::encode(input),
            T::Utf8ToUnicode => utf8::to_unicode_escapes(input),
        };
        output.filter(|output| output != input)
    }
}
