//! A tokenizer of HTML, after the one of HTML 5 but as forgiving as old browsers.
//!
//! It reports what [`is_xss`](super::is_xss) looks at, and skips the rest: text, and the ends of
//! tags. The section numbers are those of the W3C's HTML 5 that libinjection follows.

use std::mem;

use memchr::memchr;

/// Where in a page the input begins.
#[derive(Clone, Copy)]
pub(super) enum Context {
    Text,
    /// Among a tag's attributes.
    Tag,
    /// In the value of an attribute, in these quotes.
    Value(u8),
}

pub(super) enum Token<'a> {
    Doctype,
    /// The name of a tag that opens, or of one that closes but has attributes.
    Tag(&'a [u8]),
    /// An attribute's name.
    Name(&'a [u8]),
    /// The value of the attribute that the token before this one names; at the input's start, of
    /// an unknown one.
    Value(&'a [u8]),
    Comment(&'a [u8]),
}

/// The tokens of an input.
pub(super) struct Tokens<'a> {
    input: &'a [u8],
    at: usize,
    state: State,
    /// The tag began with `</`. libinjection forgets to clear this at a `>` that follows white
    /// space, a `/` or a quoted value, and so then takes the next tag for a closing one.
    closing: bool,
}

#[derive(Clone, Copy)]
enum State {
    Text,
    /// In a tag, and not in an attribute. HTML 5 has more such states; they differ in the errors
    /// they report.
    BeforeName,
    AfterName,
    BeforeValue,
    /// In the value the input begins in.
    FirstValue(u8),
    Finished,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(input: &'a [u8], context: Context) -> Self {
        let state = match context {
            Context::Text => State::Text,
            Context::Tag => State::BeforeName,
            Context::Value(quote) => State::FirstValue(quote),
        };
        Self { input, at: 0, state, closing: false }
    }

    fn rest(&self) -> &'a [u8] {
        &self.input[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    /// Reads `len` bytes, and `skip` more that are part of no token.
    fn take(&mut self, len: usize, skip: usize, next: State) -> &'a [u8] {
        let text = &self.rest()[..len];
        self.at += len + skip;
        self.state = next;
        text
    }

    fn skip(&mut self, next: State) -> Step<'a> {
        self.take(0, 1, next);
        Step::Skipped
    }

    fn take_rest(&mut self) -> &'a [u8] {
        self.take(self.rest().len(), 0, State::Finished)
    }

    /// The first byte that is not white space. 0xff counts as the input's end: libinjection's byte
    /// is signed, and that is its -1.
    fn skip_white(&mut self) -> Option<u8> {
        self.at += self.rest().iter().take_while(|&&byte| is_white(byte)).count();
        self.peek().filter(|&byte| byte != 0xff)
    }

    /// Goes one step. `None` if there is nothing more.
    fn step(&mut self) -> Option<Step<'a>> {
        match self.state {
            State::Text => self.text(),
            State::BeforeName => self.before_name(),
            State::AfterName => self.after_name(),
            State::BeforeValue => self.before_value(),
            State::FirstValue(quote) => Some(self.quoted_value(quote)),
            State::Finished => None,
        }
    }

    /// 12.2.4.1, 12.2.4.8
    fn text(&mut self) -> Option<Step<'a>> {
        let open = memchr(b'<', self.rest())?;
        self.at += open + 1;
        match self.peek()? {
            b'!' => {
                self.at += 1;
                Some(self.markup_declaration())
            }
            b'/' => {
                self.at += 1;
                self.closing_tag()
            }
            b'?' => {
                self.at += 1;
                Some(self.bogus_comment())
            }
            // Not of HTML 5: a comment to Internet Explorer up to 9.
            b'%' => {
                self.at += 1;
                Some(self.percent_comment())
            }
            // Internet Explorer ignores a NUL.
            0 | b'a'..=b'z' | b'A'..=b'Z' => Some(self.tag_name()),
            _ => Some(Step::Skipped),
        }
    }

    /// 12.2.4.9
    fn closing_tag(&mut self) -> Option<Step<'a>> {
        self.closing = true;
        match self.peek()? {
            b'>' => Some(Step::Skipped),
            b'a'..=b'z' | b'A'..=b'Z' => Some(self.tag_name()),
            _ => {
                self.closing = false;
                Some(self.bogus_comment())
            }
        }
    }

    /// 12.2.4.10
    fn tag_name(&mut self) -> Step<'a> {
        // A NUL is part of the name here, and only here.
        let end = |&byte: &u8| byte != 0 && (is_white(byte) || matches!(byte, b'/' | b'>'));
        let rest = self.rest();
        let Some(len) = rest.iter().position(end) else {
            return Step::Read(Token::Tag(self.take_rest()));
        };
        if rest[len] != b'>' {
            return Step::Read(Token::Tag(self.take(len, 1, State::BeforeName)));
        }
        let name = self.take(len, 1, State::Text);
        if mem::take(&mut self.closing) { Step::Skipped } else { Step::Read(Token::Tag(name)) }
    }

    /// 12.2.4.34
    fn before_name(&mut self) -> Option<Step<'a>> {
        match self.skip_white()? {
            b'/' => Some(self.skip(State::BeforeName)),
            b'>' => Some(self.skip(State::Text)),
            _ => Some(self.name()),
        }
    }

    /// 12.2.4.35
    fn name(&mut self) -> Step<'a> {
        // The first byte is part of the name whatever it is.
        let end = |&byte: &u8| is_white(byte) || matches!(byte, b'/' | b'=' | b'>');
        let rest = self.rest();
        let Some(len) = rest.iter().skip(1).position(end).map(|at| at + 1) else {
            return Step::Read(Token::Name(self.take_rest()));
        };
        Step::Read(Token::Name(match rest[len] {
            b'/' => self.take(len, 1, State::BeforeName),
            b'=' => self.take(len, 1, State::BeforeValue),
            b'>' => {
                self.closing = false;
                self.take(len, 1, State::Text)
            }
            _ => self.take(len, 1, State::AfterName),
        }))
    }

    /// 12.2.4.36
    fn after_name(&mut self) -> Option<Step<'a>> {
        match self.skip_white()? {
            b'/' => Some(self.skip(State::BeforeName)),
            b'=' => Some(self.skip(State::BeforeValue)),
            b'>' => {
                self.closing = false;
                Some(self.skip(State::Text))
            }
            _ => Some(self.name()),
        }
    }

    /// 12.2.4.37
    fn before_value(&mut self) -> Option<Step<'a>> {
        match self.skip_white()? {
            // A backtick quotes for Internet Explorer only.
            quote @ (b'"' | b'\'' | b'`') => {
                self.at += 1;
                Some(self.quoted_value(quote))
            }
            _ => Some(self.unquoted_value()),
        }
    }

    /// 12.2.4.38, 12.2.4.39
    fn quoted_value(&mut self, quote: u8) -> Step<'a> {
        Step::Read(Token::Value(match memchr(quote, self.rest()) {
            Some(len) => self.take(len, 1, State::BeforeName),
            None => self.take_rest(),
        }))
    }

    /// 12.2.4.40
    fn unquoted_value(&mut self) -> Step<'a> {
        let rest = self.rest();
        let len = rest.iter().position(|&byte| is_white(byte) || byte == b'>');
        Step::Read(Token::Value(match len.map(|len| (len, rest[len])) {
            None => self.take_rest(),
            Some((len, b'>')) => {
                self.closing = false;
                self.take(len, 1, State::Text)
            }
            Some((len, _)) => self.take(len, 1, State::BeforeName),
        }))
    }

    /// 12.2.4.44
    fn bogus_comment(&mut self) -> Step<'a> {
        Step::Read(Token::Comment(match memchr(b'>', self.rest()) {
            Some(len) => self.take(len, 1, State::Text),
            None => self.take_rest(),
        }))
    }

    fn percent_comment(&mut self) -> Step<'a> {
        Step::Read(Token::Comment(match memchr::memmem::find(self.rest(), b"%>") {
            Some(len) => self.take(len, 2, State::Text),
            None => self.take_rest(),
        }))
    }

    /// 12.2.4.45
    fn markup_declaration(&mut self) -> Step<'a> {
        let rest = self.rest();
        if rest.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"DOCTYPE")) {
            self.take_rest();
            return Step::Read(Token::Doctype);
        }
        if rest.starts_with(b"[CDATA[") {
            self.at += 7;
            return self.cdata();
        }
        if rest.starts_with(b"--") {
            self.at += 2;
            return self.comment();
        }
        self.bogus_comment()
    }

    /// 12.2.4.46 to 12.2.4.51: up to `-->` or `-!>`, with any NULs behind the first dash.
    fn comment(&mut self) -> Step<'a> {
        let rest = self.rest();
        for dash in memchr::memchr_iter(b'-', rest) {
            let after = &rest[dash + 1..];
            let nuls = after.iter().take_while(|&&byte| byte == 0).count();
            if let [b'-' | b'!', b'>', ..] = after[nuls..] {
                return Step::Read(Token::Comment(self.take(dash, 1 + nuls + 2, State::Text)));
            }
        }
        Step::Read(Token::Comment(self.take_rest()))
    }

    /// 12.2.4.53
    fn cdata(&mut self) -> Step<'a> {
        match memchr::memmem::find(self.rest(), b"]]>") {
            Some(len) => self.take(len, 3, State::Text),
            None => self.take_rest(),
        };
        Step::Skipped
    }
}

enum Step<'a> {
    Read(Token<'a>),
    Skipped,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            match self.step() {
                Some(Step::Read(token)) => return Some(token),
                Some(Step::Skipped) => {}
                None => {
                    self.state = State::Finished;
                    return None;
                }
            }
        }
    }
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | 0)
}
