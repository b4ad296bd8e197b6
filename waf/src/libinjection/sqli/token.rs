//! A token: what kind of SQL it is, and its text.

/// The kinds of token. The letter of each is what fingerprints and the tables are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Keyword = b'k',
    Union = b'U',
    /// `GROUP BY`, `LIMIT`, `HAVING`: what follows a complete query.
    Group = b'B',
    /// `SELECT`, `CASE`: what begins an expression or a query.
    Expression = b'E',
    SqlType = b't',
    Function = b'f',
    /// A name: a column, a table, or any unknown word.
    Bareword = b'n',
    Number = b'1',
    Variable = b'v',
    String = b's',
    Operator = b'o',
    /// `AND`, `||`: an operator that joins conditions.
    Logic = b'&',
    Comment = b'c',
    Collate = b'A',
    LeftParen = b'(',
    RightParen = b')',
    LeftBrace = b'{',
    RightBrace = b'}',
    Dot = b'.',
    Comma = b',',
    Colon = b':',
    Semicolon = b';',
    /// What begins a statement in Transact-SQL.
    Tsql = b'T',
    Unknown = b'?',
    /// What no engine agrees on how to read, such as a comment within a comment: always an attack.
    Evil = b'X',
    Backslash = b'\\',
}

impl Kind {
    /// The kind a table names by `letter`.
    pub(super) const fn from_letter(letter: u8) -> Self {
        match letter {
            b'k' => Self::Keyword,
            b'U' => Self::Union,
            b'B' => Self::Group,
            b'E' => Self::Expression,
            b't' => Self::SqlType,
            b'f' => Self::Function,
            b'n' => Self::Bareword,
            b'1' => Self::Number,
            b'v' => Self::Variable,
            b'o' => Self::Operator,
            b'&' => Self::Logic,
            b'A' => Self::Collate,
            b'T' => Self::Tsql,
            _ => panic!("a word of this kind is in no table"),
        }
    }
}

/// libinjection keeps 31 bytes of a token, and compares and measures what it kept.
pub(super) const MAX_TEXT: usize = 31;

/// A token of the input, or two of them merged into a phrase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// The delimiter that opened a string; `None` if the query before the input did.
    pub(super) open: Option<u8>,
    /// The delimiter that closed a string; `None` if the input ended first.
    pub(super) close: Option<u8>,
    /// The first [`MAX_TEXT`] bytes, without a string's delimiters.
    text: &'a [u8],
}

impl<'a> Token<'a> {
    /// Stands in the places of a window that hold no token yet.
    pub(super) const EMPTY: Self = Self { kind: Kind::Unknown, open: None, close: None, text: b"" };

    pub(super) fn new(kind: Kind, text: &'a [u8]) -> Self {
        Self { kind, open: None, close: None, text: clip(text) }
    }

    pub(super) fn string(text: &'a [u8], open: Option<u8>, close: Option<u8>) -> Self {
        Self { kind: Kind::String, open, close, text: clip(text) }
    }

    pub(super) fn with_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Takes the place of the words that make up `phrase`.
    pub(super) fn become_phrase(&mut self, kind: Kind, phrase: &'static [u8]) {
        self.kind = kind;
        self.text = phrase;
    }

    /// Is the text `word`, in any case?
    pub(super) fn is(&self, word: &[u8]) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_any_of(&self, words: &[&[u8]]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    pub(super) fn starts_with(&self, prefix: &[u8]) -> bool {
        self.text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    }

    pub(super) fn is_arithmetic(&self) -> bool {
        self.kind == Kind::Operator && matches!(self.text, b"*" | b"/" | b"-" | b"+" | b"%")
    }

    pub(super) fn is_unary(&self) -> bool {
        self.kind == Kind::Operator
            && (matches!(self.text, b"+" | b"-" | b"!" | b"~" | b"!!") || self.is(b"NOT"))
    }
}

/// The part of `text` that a token keeps.
pub(super) fn clip(text: &[u8]) -> &[u8] {
    text.get(..MAX_TEXT).unwrap_or(text)
}
