//! JSON bodies, flattened into arguments.
//!
//! A value's name is its path: `{"a":{"b":[1]}}` gives `json.a.b.array_0`, a value
//! at the top is `json`, an empty key `empty-key`. Empty containers give nothing,
//! `null` gives an empty value, numbers their text.
//!
//! What is accepted is what yajl accepts, the parser inside libmodsecurity: strict
//! JSON, but vertical tab and form feed are white space, overlong UTF-8 and
//! surrogates pass as bytes, and a lone low surrogate's escape becomes its three
//! bytes.
//!
//! Unlike libmodsecurity a high surrogate's escape without its low half becomes
//! `?` and nothing more. There it also swallows the next character, or merges with
//! whatever escape follows, which hides the `<` of `\ud800<`.

use super::{Argument, Limits};

mod lexer;

use lexer::{Lexer, Token};

/// Why a body is no JSON, in yajl's words, or beyond a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// Bytes that are no token.
    #[error("lexical error: {0}")]
    Lexical(&'static str),
    /// Tokens in the wrong place.
    #[error("parse error: {0}")]
    Parse(&'static str),
    /// More than [`Limits::depth`] containers in one another.
    #[error("parsing depth limit exceeded")]
    Depth,
    /// More than [`Limits::arguments`] values.
    #[error("argument limit exceeded")]
    Arguments,
    /// More than four times [`Limits::bytes`] in names, which repeat the keys of all that
    /// they stand in.
    #[error("limit of the names' size exceeded")]
    Names,
    /// More than [`Limits::bytes`] bytes, and the body was not looked at.
    #[error("body size limit exceeded")]
    Bytes,
}

/// A body that is no JSON or goes beyond a limit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct JsonError {
    /// What is wrong.
    pub fault: Fault,
    /// What was read before it.
    pub arguments: Vec<Argument>,
}

impl JsonError {
    /// Whether the body may be well-formed and only exceeds a limit.
    pub fn is_limit(&self) -> bool {
        matches!(self.fault, Fault::Depth | Fault::Arguments | Fault::Names | Fault::Bytes)
    }
}

/// The values of a body, in order. An empty body is an error here; libmodsecurity
/// ignores that one error, and so should the caller.
pub fn parse(body: &[u8], limits: &Limits) -> Result<Vec<Argument>, JsonError> {
    if body.len() > limits.bytes {
        return Err(JsonError { fault: Fault::Bytes, arguments: Vec::new() });
    }
    let mut parser = Parser {
        lexer: Lexer::new(body),
        limits,
        stack: Vec::new(),
        path: Vec::new(),
        key: Vec::new(),
        names: 0,
        arguments: Vec::new(),
    };
    match parser.document() {
        Ok(()) => Ok(parser.arguments),
        Err(fault) => Err(JsonError { fault, arguments: parser.arguments }),
    }
}

/// A container that is not closed yet.
struct Container {
    /// How long the path is without what stands inside this container.
    path: usize,
    kind: Kind,
}

enum Kind {
    Object,
    /// With the index of the next element.
    Array(usize),
}

/// What may come next.
#[derive(Clone, Copy)]
enum State {
    /// A value.
    Value,
    /// A value, or the end of the array that was just opened.
    ValueOrEnd,
    /// A key.
    Key,
    /// A key, or the end of the object that was just opened.
    KeyOrEnd,
    /// A comma or the end of the container; the end of the text outside of any.
    Next,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    limits: &'a Limits,
    stack: Vec<Container>,
    /// The names of all open containers, joined.
    path: Vec<u8>,
    /// The last key, until its value uses it.
    key: Vec<u8>,
    /// Bytes in the names of `arguments`.
    names: usize,
    arguments: Vec<Argument>,
}

const UNALLOWED: Fault = Fault::Parse("unallowed token at this point in JSON text");
const PREMATURE_END: Fault = Fault::Parse("premature EOF");

impl Parser<'_> {
    fn document(&mut self) -> Result<(), Fault> {
        let mut state = State::Value;
        loop {
            state = match state {
                State::Value | State::ValueOrEnd => {
                    self.value(matches!(state, State::ValueOrEnd))?
                }
                State::Key | State::KeyOrEnd => self.key(matches!(state, State::KeyOrEnd))?,
                State::Next if self.stack.is_empty() => return self.end(),
                State::Next => self.next()?,
            };
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        match self.lexer.token() {
            Ok(Token::End) => Ok(()),
            _ => Err(Fault::Parse("trailing garbage")),
        }
    }

    fn value(&mut self, may_end: bool) -> Result<State, Fault> {
        match self.lexer.token()? {
            Token::String(raw) => {
                let value = raw.decode();
                self.add(value)?;
            }
            Token::Number(text) => self.add(text.to_vec())?,
            Token::True => self.add(b"true".to_vec())?,
            Token::False => self.add(b"false".to_vec())?,
            Token::Null => self.add(Vec::new())?,
            Token::ObjectStart => {
                self.open(Kind::Object)?;
                return Ok(State::KeyOrEnd);
            }
            Token::ArrayStart => {
                self.open(Kind::Array(0))?;
                return Ok(State::ValueOrEnd);
            }
            Token::ArrayEnd if may_end => self.close(),
            Token::End => return Err(PREMATURE_END),
            Token::ArrayEnd | Token::ObjectEnd | Token::Colon | Token::Comma => {
                return Err(UNALLOWED);
            }
        }
        Ok(State::Next)
    }

    fn key(&mut self, may_end: bool) -> Result<State, Fault> {
        match self.lexer.token()? {
            Token::String(raw) => self.key = raw.decode(),
            Token::ObjectEnd if may_end => {
                self.close();
                return Ok(State::Next);
            }
            Token::End => return Err(PREMATURE_END),
            _ => return Err(Fault::Parse("invalid object key (must be a string)")),
        }
        match self.lexer.token()? {
            Token::Colon => Ok(State::Value),
            Token::End => Err(PREMATURE_END),
            _ => Err(Fault::Parse("object key and value must be separated by a colon (':')")),
        }
    }

    fn next(&mut self) -> Result<State, Fault> {
        let token = self.lexer.token()?;
        let in_array = matches!(self.stack.last(), Some(Container { kind: Kind::Array(_), .. }));
        match token {
            Token::Comma => return Ok(if in_array { State::Value } else { State::Key }),
            Token::ArrayEnd if in_array => self.close(),
            Token::ObjectEnd if !in_array => self.close(),
            Token::End => return Err(PREMATURE_END),
            _ if in_array => return Err(Fault::Parse("after array element, I expect ',' or ']'")),
            _ => return Err(Fault::Parse("after key and value, inside map, I expect ',' or '}'")),
        }
        Ok(State::Next)
    }

    /// Appends the name of the value that comes now.
    fn push_name(&mut self) {
        match self.stack.last_mut() {
            None => self.path.extend_from_slice(b"json"),
            Some(Container { kind: Kind::Object, .. }) => {
                self.path.push(b'.');
                if self.key.is_empty() {
                    self.path.extend_from_slice(b"empty-key");
                } else {
                    self.path.append(&mut self.key);
                }
            }
            Some(Container { kind: Kind::Array(index), .. }) => {
                self.path.extend_from_slice(b".array_");
                push_decimal(&mut self.path, *index);
                *index += 1;
            }
        }
    }

    fn open(&mut self, kind: Kind) -> Result<(), Fault> {
        if self.stack.len() == self.limits.depth {
            return Err(Fault::Depth);
        }
        let path = self.path.len();
        self.push_name();
        self.stack.push(Container { path, kind });
        Ok(())
    }

    fn close(&mut self) {
        if let Some(container) = self.stack.pop() {
            self.path.truncate(container.path);
        }
    }

    fn add(&mut self, value: Vec<u8>) -> Result<(), Fault> {
        if self.arguments.len() == self.limits.arguments {
            return Err(Fault::Arguments);
        }
        let path = self.path.len();
        self.push_name();
        self.names += self.path.len();
        if self.names > self.limits.bytes.saturating_mul(4) {
            return Err(Fault::Names);
        }
        self.arguments.push(Argument { name: self.path.clone(), value });
        self.path.truncate(path);
        Ok(())
    }
}

/// A number in decimal, without the text that `to_string` allocates per element.
fn push_decimal(output: &mut Vec<u8>, number: usize) {
    if number >= 10 {
        push_decimal(output, number / 10);
    }
    output.push(b'0' + (number % 10) as u8);
}

#[cfg(test)]
mod tests;
