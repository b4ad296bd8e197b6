//! Classes of bytes, and searches by class.

use memchr::memchr;

pub(super) const WHITE: u8 = 1;
/// Ends a word.
pub(super) const WORD_END: u8 = 1 << 1;
/// Ends the name of a variable.
pub(super) const VARIABLE_END: u8 = 1 << 2;
// The next four contain NUL: libinjection searches its sets as C strings, whose terminator it
// finds as well.
pub(super) const BINARY: u8 = 1 << 3;
pub(super) const HEX: u8 = 1 << 4;
/// Digits of an amount of money, with the separators of any language.
pub(super) const AMOUNT: u8 = 1 << 5;
pub(super) const LETTER: u8 = 1 << 6;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    add(&mut classes, WHITE, b" \t\n\x0b\x0c\r\xa0\0");
    add(&mut classes, WORD_END, b" []{}<>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r\"\xa0\0");
    add(&mut classes, VARIABLE_END, b" <>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r'`\"\0");
    add(&mut classes, BINARY, b"01\0");
    add(&mut classes, HEX, b"0123456789ABCDEFabcdef\0");
    add(&mut classes, AMOUNT, b"0123456789.,\0");
    add(&mut classes, LETTER, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\0");
    classes
};

const fn add(classes: &mut [u8; 256], class: u8, members: &[u8]) {
    let mut at = 0;
    while at < members.len() {
        classes[members[at] as usize] |= class;
        at += 1;
    }
}

pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// How many bytes at the start of `text` are of `class`.
pub(super) fn span(text: &[u8], class: u8) -> usize {
    text.iter().position(|&byte| !is(byte, class)).unwrap_or(text.len())
}

/// How many bytes at the start of `text` are not of `class`.
pub(super) fn span_until(text: &[u8], class: u8) -> usize {
    text.iter().position(|&byte| is(byte, class)).unwrap_or(text.len())
}

/// How many bytes at the start of `text` are decimal digits.
pub(super) fn digits(text: &[u8]) -> usize {
    text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len())
}

/// Where `first` directly followed by `second` begins in `text`.
pub(super) fn find_pair(text: &[u8], first: u8, second: u8) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr(first, text.get(from..)?)?;
        if *text.get(at + 1)? == second {
            return Some(at);
        }
        from = at + 1;
    }
}
