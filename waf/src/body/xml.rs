//! XML bodies: the text and the attribute values that rules look at.
//!
//! The reader is strict, as libxml2 inside libmodsecurity is: a document that is not
//! well-formed is an error, though what it has said until then is handed over. It
//! builds no tree and loads nothing; declarations of namespaces are no attributes.
//!
//! Unlike libmodsecurity
//! - no entity but the five built-in ones is expanded: a reference to another is an
//!   error, whether declared or not, so a document can neither grow nor hide text,
//! - a document type with more than a name is an error: what it refers to may be loaded, and
//!   what it declares may be values. It is skipped, and what follows is read,
//! - the encodings are UTF-8, UTF-16, US-ASCII, ISO-8859-1 and windows-1252; any
//!   other is an error, and so is a UTF-8 mark before another declaration,
//! - libxml2's leniencies are errors: a prefix declared twice of which one is empty,
//!   no blank before `standalone`, bytes that look like UTF-32 for a moment.

use std::borrow::Cow;

use super::Limits;

mod chars;
mod encoding;
mod markup;
mod scanner;

use scanner::Scanner;

/// What a document says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Xml {
    /// All text of the document, joined in order, in UTF-8 (`XML:/*`).
    pub text: Vec<u8>,
    /// The values of all attributes, in order, in UTF-8 (`XML://@*`).
    pub attributes: Vec<Vec<u8>>,
}

/// Why a body is no XML that can be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// It is in an encoding that is not known, or its byte order mark contradicts its
    /// declaration.
    #[error("unsupported encoding")]
    Encoding,
    /// It has a byte that its encoding or a character that XML does not allow.
    #[error("invalid character")]
    Character,
    /// It ends too early, or is empty.
    #[error("premature end of document")]
    Incomplete,
    /// It is not well-formed: what is wrong.
    #[error("not well-formed ({0})")]
    Malformed(&'static str),
    /// Its document type refers to another document or declares something: a parser may load
    /// what stands there, and tell somebody by loading it.
    #[error("document type that says more than a name")]
    DocumentType,
    /// It refers to an entity that is not built in.
    #[error("reference to an entity that is not built in")]
    Entity,
    /// More than [`Limits::depth`] elements in one another.
    #[error("element depth limit exceeded")]
    Depth,
    /// More than [`Limits::arguments`] attributes.
    #[error("attribute limit exceeded")]
    Attributes,
    /// More than [`Limits::bytes`] bytes; the body was not looked at.
    #[error("body size limit exceeded")]
    Bytes,
}

impl Fault {
    fn is_limit(self) -> bool {
        matches!(self, Self::Depth | Self::Attributes | Self::Bytes)
    }
}

/// A body that is no XML or goes beyond a limit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct XmlError {
    /// What is wrong.
    pub fault: Fault,
    /// What was read before it.
    pub read: Xml,
}

impl XmlError {
    /// Whether the body may be well-formed and only exceeds a limit.
    pub fn is_limit(&self) -> bool {
        self.fault.is_limit()
    }
}

/// Reads a document.
pub fn parse(body: &[u8], limits: &Limits) -> Result<Xml, XmlError> {
    if body.len() > limits.bytes {
        return Err(XmlError { fault: Fault::Bytes, read: Xml::default() });
    }
    let (utf8, is_known) = encoding::to_utf8(body);
    let (text, is_whole) = chars::valid_start(&utf8);
    let mut scanner = Scanner::new(text, limits);
    let fault = match scanner.document() {
        _ if !is_known => Fault::Encoding,
        Ok(()) if is_whole => return Ok(scanner.read),
        // What is not allowed comes where the reader ran out of text.
        Ok(()) => Fault::Character,
        Err(Fault::Incomplete) if !is_whole => Fault::Character,
        Err(fault) => fault,
    };
    Err(XmlError { fault, read: scanner.read })
}

/// UTF-8 made of another encoding, or the body as it is.
type Utf8<'a> = Cow<'a, [u8]>;

#[cfg(test)]
mod tests;
