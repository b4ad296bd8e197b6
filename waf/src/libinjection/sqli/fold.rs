//! Folding: reduce a stream of tokens to at most five that carry its meaning.
//!
//! A window of tokens is looked at two and three at a time from `left` on. What does not change
//! what a query does goes: `1 + 1` becomes a number, `a, b, c` a name, a comment nothing. After
//! most foldings the window is looked at again from its start, for what is left may fold with what
//! came before. Words that make a phrase merge.
//!
//! The rules remove tokens from the window's end, as libinjection's do; with few exceptions, which
//! its verdicts include, those are the tokens the rule has looked at.

use super::keywords::phrase;
use super::lexer::Lexer;
use super::token::{Kind, Token};

/// The tokens of a fingerprint.
const MAX_TOKENS: usize = 5;
/// One more, for the rules on the fifth to look at.
const CAPACITY: usize = MAX_TOKENS + 1;

/// The tokens that a lexer's stream folds to.
pub(super) struct Window<'a> {
    tokens: [Token<'a>; CAPACITY],
    len: usize,
    /// Where the next rule looks. Every token before it is done with.
    left: usize,
    /// The lexer may have more tokens.
    more: bool,
    /// The comment after the last token, which often is an attack's end.
    trailing_comment: Option<Token<'a>>,
}

/// What a rule asks for.
enum Step {
    /// Look again from `left`.
    Again,
    /// No rule removes anything: look at more tokens, or go on to the next.
    Next,
}

impl<'a> Window<'a> {
    pub(super) fn new() -> Self {
        let tokens = [Token::EMPTY; CAPACITY];
        Self { tokens, len: 0, left: 0, more: true, trailing_comment: None }
    }

    pub(super) fn tokens(&self) -> &[Token<'a>] {
        &self.tokens[..self.len]
    }

    /// Folds all that `lexer` has.
    pub(super) fn fold(&mut self, lexer: &mut Lexer<'a>) {
        if let Some(first) = lexer.by_ref().find(|token| !is_insignificant_at_start(token)) {
            self.tokens[0] = first;
            self.len = 1;
            self.fold_rest(lexer);
            self.finish();
        }
    }

    fn fold_rest(&mut self, lexer: &mut Lexer<'a>) {
        loop {
            if self.len >= MAX_TOKENS {
                self.fold_full();
            }
            if !self.more || self.left >= MAX_TOKENS {
                return;
            }
            self.fill(2, lexer);
            if self.len - self.left < 2 {
                self.left = self.len;
                continue;
            }
            if let Step::Again = self.fold_pair() {
                continue;
            }
            self.fill(3, lexer);
            if self.len - self.left < 3 {
                self.left = self.len;
                continue;
            }
            if let Step::Next = self.fold_triple() {
                self.left += 1;
            }
        }
    }

    fn finish(&mut self) {
        if let Some(comment) = self.trailing_comment
            && self.len < MAX_TOKENS
        {
            self.tokens[self.len] = comment;
            self.len += 1;
        }
        self.len = self.len.min(MAX_TOKENS);
        // A lone backtick at the end of a PHP application's query acts as a comment.
        if let [_, _, .., last] = &mut self.tokens[..self.len]
            && last.kind == Kind::Bareword
            && last.open == Some(b'`')
            && last.close.is_none()
            && last.text().is_empty()
        {
            last.kind = Kind::Comment;
        }
    }

    /// Reads tokens until `wanted` of them are in the window from `left` on.
    fn fill(&mut self, wanted: usize, lexer: &mut Lexer<'a>) {
        while self.more && self.len < CAPACITY && self.len - self.left < wanted {
            match lexer.next() {
                None => self.more = false,
                Some(token) if token.kind == Kind::Comment => self.trailing_comment = Some(token),
                Some(token) => {
                    self.trailing_comment = None;
                    self.tokens[self.len] = token;
                    self.len += 1;
                }
            }
        }
    }

    /// Removes `count` tokens, and looks again from the start.
    fn drop_last(&mut self, count: usize) -> Step {
        self.len -= count;
        self.left = 0;
        Step::Again
    }

    /// Removes a token, and looks again from the one before `left`.
    fn drop_and_back_up(&mut self) -> Step {
        self.len -= 1;
        self.left = self.left.saturating_sub(1);
        Step::Again
    }

    /// Nothing but `token` counts: it cannot be read reliably.
    fn give_up(&mut self, token: Token<'a>) {
        self.tokens[0] = token.with_kind(Kind::Evil);
        self.len = 1;
        self.more = false;
        self.trailing_comment = None;
    }

    /// Five tokens that are an expression in themselves: what matters comes after it.
    fn fold_full(&mut self) {
        use Kind::*;
        let [a, b, c, d, e, sixth] = &self.tokens;
        let expression = matches!(
            (a.kind, b.kind, c.kind, d.kind, e.kind),
            (Number, Operator | Comma, LeftParen, Number, RightParen)
                | (Bareword, Operator, LeftParen, Bareword | Number, RightParen)
                | (Number, RightParen, Comma, LeftParen, Number)
                | (Bareword, RightParen, Operator, LeftParen, Bareword)
        );
        if expression {
            self.left = 0;
            if self.len > MAX_TOKENS {
                self.tokens[1] = *sixth;
                self.len = 2;
            } else {
                self.len = 1;
            }
        }
    }

    fn fold_pair(&mut self) -> Step {
        use Kind::*;
        let [a, b] = [self.tokens[self.left], self.tokens[self.left + 1]];
        match (a.kind, b.kind) {
            // `'a' 'b'` is one string; an empty statement does nothing.
            (String, String) | (Semicolon, Semicolon) => {
                self.len -= 1;
                Step::Again
            }
            (Operator | Logic, _) if b.is_unary() || b.kind == SqlType => self.drop_last(1),
            (LeftParen, Operator) if b.is_unary() => self.drop_and_back_up(),
            _ => self.fold_words(a, b),
        }
    }

    fn fold_words(&mut self, a: Token<'a>, b: Token<'a>) -> Step {
        use Kind::*;
        if self.merge_into_phrase(a, b) {
            return self.drop_and_back_up();
        }
        let left = self.left;
        match (a.kind, b.kind) {
            // In Transact-SQL `IF` begins a statement. This takes in `IFNULL` too.
            (Semicolon, Function) if b.starts_with(b"IF") => {
                self.tokens[left + 1].kind = Tsql;
                Step::Again
            }
            (Bareword | Variable, LeftParen) if a.is_any_of(FUNCTIONS_AND_NAMES) => {
                self.tokens[left].kind = Function;
                Step::Again
            }
            // `IN (...)` compares, `IN BOOLEAN MODE` does not.
            (Keyword, _) if a.is_any_of(&[b"IN", b"NOT IN"]) => {
                self.tokens[left].kind = if b.kind == LeftParen { Operator } else { Bareword };
                Step::Again
            }
            (Operator, _) if a.is_any_of(&[b"LIKE", b"NOT LIKE"]) => {
                if b.kind == LeftParen {
                    self.tokens[left].kind = Function;
                }
                Step::Next
            }
            // A cast.
            (SqlType, Bareword | Number | SqlType | LeftParen | Function | Variable | String) => {
                self.tokens[left] = b;
                self.drop_last(1)
            }
            // Collations are too many for a table; their names have an underscore.
            (Collate, Bareword) => {
                if has_underscore(b.text()) {
                    self.tokens[left + 1].kind = SqlType;
                    self.left = 0;
                }
                Step::Next
            }
            // Transact-SQL reads `\%1` as `0 % 1`, and `\1` as `1`.
            (Backslash, _) if b.is_arithmetic() => {
                self.tokens[left].kind = Number;
                self.drop_last(0)
            }
            (Backslash, _) => {
                self.tokens[left] = b;
                self.drop_last(1)
            }
            (LeftParen, LeftParen) | (RightParen, RightParen) => self.drop_last(1),
            // MySQL reads {``.``.id} as the name of a column.
            (LeftBrace, Bareword) if b.text().is_empty() => {
                self.give_up(b);
                Step::Again
            }
            // ODBC's `{name expression}`.
            (LeftBrace, Bareword) => self.drop_last(2),
            (_, RightBrace) => self.drop_last(1),
            _ => Step::Next,
        }
    }

    fn fold_triple(&mut self) -> Step {
        use Kind::*;
        let left = self.left;
        let [a, b, c] = [self.tokens[left], self.tokens[left + 1], self.tokens[left + 2]];
        match (a.kind, b.kind, c.kind) {
            // Operations and lists: of values, what an attack needs is that there is one.
            (Number, Operator, Number)
            | (Logic, _, Logic)
            | (Variable, Operator, Variable | Number | Bareword)
            | (Bareword | Number, Operator, Number | Bareword)
            | (
                Bareword | Number | String | Variable,
                Comma,
                Number | Bareword | String | Variable,
            )
            // `database.table`
            | (Bareword, Dot, Bareword) => self.drop_last(2),
            (Operator, _, Operator) if b.kind != LeftParen => self.drop_last(2),
            (Bareword | Number | Variable | String, Operator, SqlType) if b.text() == b"::" => {
                self.drop_last(2)
            }
            // A sign. Without it, a value after a comma folds with what is before the comma.
            (Comma, Operator, Number | Bareword | Variable | String) if b.is_unary() => {
                self.tokens[left + 1] = c;
                self.drop_last(3)
            }
            (Comma, Operator, LeftParen | Function)
            | (Expression | Group, Operator, LeftParen)
            | (Keyword | Expression | Group, Operator, Number | Bareword | Variable | String | Function)
                if b.is_unary() =>
            {
                self.tokens[left + 1] = c;
                self.drop_last(1)
            }
            // select .`foo`
            (Expression, Dot, Bareword) => {
                self.tokens[left + 1] = c;
                self.drop_last(1)
            }
            // `USER()` takes no argument; what has one is someone's own name.
            (Function, LeftParen, _) if c.kind != RightParen && a.is(b"USER") => {
                self.tokens[left].kind = Bareword;
                Step::Next
            }
            _ => Step::Next,
        }
    }

    /// Merges the two words at `left`, if they make a phrase, into the first of them.
    fn merge_into_phrase(&mut self, a: Token<'a>, b: Token<'a>) -> bool {
        if !(is_word(a.kind) && (is_word(b.kind) || b.kind == Kind::Logic)) {
            return false;
        }
        let Some(phrase) = phrase(a.text(), b.text()) else { return false };
        self.tokens[self.left].become_phrase(phrase.kind, phrase.text);
        true
    }
}

/// Functions whose names also are variables, or common names of columns.
const FUNCTIONS_AND_NAMES: &[&[u8]] = &[
    b"USER_ID",
    b"USER_NAME",
    b"DATABASE",
    b"PASSWORD",
    b"USER",
    b"CURRENT_USER",
    b"CURRENT_DATE",
    b"CURRENT_TIME",
    b"CURRENT_TIMESTAMP",
    b"LOCALTIME",
    b"LOCALTIMESTAMP",
];

fn is_insignificant_at_start(token: &Token<'_>) -> bool {
    matches!(token.kind, Kind::Comment | Kind::LeftParen | Kind::SqlType) || token.is_unary()
}

fn is_word(kind: Kind) -> bool {
    use Kind::*;
    matches!(kind, Keyword | Bareword | Operator | Union | Function | Expression | Tsql | SqlType)
}

/// Only up to a NUL, where libinjection's text ends.
fn has_underscore(name: &[u8]) -> bool {
    memchr::memchr2(b'_', 0, name).is_some_and(|at| name[at] == b'_')
}
