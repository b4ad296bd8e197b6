//! Fingerprints, and which of them are known from attacks.

use std::fmt;

use super::token::{Kind, Token};

/// The pattern of an attack: up to five letters, each the kind of a token. `1UE` is a number, then
/// `UNION`, then `SELECT`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint {
    letters: [u8; MAX_LEN],
    len: u8,
}

impl Fingerprint {
    /// The letters, in ASCII.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.letters[..usize::from(self.len)]
    }

    /// The pattern of what cannot be read reliably.
    pub(super) const EVIL: Self = Self { letters: [Kind::Evil as u8, 0, 0, 0, 0], len: 1 };

    pub(super) fn of(tokens: &[Token<'_>]) -> Self {
        // Once a token cannot be read reliably, those around it mean nothing.
        if tokens.iter().any(|token| token.kind == Kind::Evil) {
            return Self::EVIL;
        }
        let mut letters = [0; MAX_LEN];
        for (letter, token) in letters.iter_mut().zip(tokens) {
            *letter = token.kind as u8;
        }
        Self { letters, len: tokens.len().min(MAX_LEN) as u8 }
    }

    /// Is it in the table of patterns seen in attacks?
    pub(super) fn is_known_attack(&self) -> bool {
        let [a, b, c, d, e] = self.letters.map(|letter| CODES[usize::from(letter)]);
        if a == NO_SYMBOL || b == NO_SYMBOL || c == NO_SYMBOL || d == NO_SYMBOL || e == NO_SYMBOL {
            return false;
        }
        let row = KNOWN.row_of[beginning(a, b, c)];
        KNOWN.rows[usize::from(row)][usize::from(d)] & (1 << e) != 0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

const MAX_LEN: usize = 5;

/// The letters that occur in known patterns. The table does not distinguish SQL types (`t`) from
/// Transact-SQL (`T`): it is in upper case.
const SYMBOLS: &[u8] = b"&(),1:;ABCEFKNOSTUVX";
/// The letters are coded from 1; 0 is the place after the last one.
const CODE_COUNT: usize = SYMBOLS.len() + 1;
const NO_SYMBOL: u8 = 0xff;

static CODES: [u8; 256] = {
    let mut codes = [NO_SYMBOL; 256];
    codes[0] = 0;
    let mut at = 0;
    while at < SYMBOLS.len() {
        codes[SYMBOLS[at] as usize] = at as u8 + 1;
        codes[SYMBOLS[at].to_ascii_lowercase() as usize] = at as u8 + 1;
        at += 1;
    }
    codes
};

const fn beginning(a: u8, b: u8, c: u8) -> usize {
    (a as usize * CODE_COUNT + b as usize) * CODE_COUNT + c as usize
}

/// The known patterns. Their beginnings of three letters are few, so each has a row, and the
/// fourth and fifth letters pick a bit of it.
struct Known {
    /// The row of each beginning; row 0 is empty.
    row_of: [u16; CODE_COUNT * CODE_COUNT * CODE_COUNT],
    rows: [[u32; CODE_COUNT]; ROW_COUNT + 1],
}

const DATA: &[u8] = include_bytes!("fingerprints.txt");
const ROW_COUNT: usize = {
    let mut rows = 0;
    let mut at = 0;
    let mut line_start = true;
    while at < DATA.len() {
        if line_start && DATA[at] != b'#' {
            rows += 1;
        }
        line_start = DATA[at] == b'\n';
        at += 1;
    }
    rows
};

static KNOWN: Known = {
    let mut known = Known {
        row_of: [0; CODE_COUNT * CODE_COUNT * CODE_COUNT],
        rows: [[0; CODE_COUNT]; ROW_COUNT + 1],
    };
    let mut row = 0;
    let mut at = 0;
    while at < DATA.len() {
        if DATA[at] == b'#' {
            while DATA[at] != b'\n' {
                at += 1;
            }
            at += 1;
            continue;
        }
        row += 1;
        let [a, b, c] = symbols(at);
        known.row_of[beginning(a, b, c)] = row as u16;
        while DATA[at] != b'\n' {
            if DATA[at] == b' ' {
                let [d, e, _] = symbols(at + 1);
                known.rows[row][d as usize] |= 1 << e;
            }
            at += 1;
        }
        at += 1;
    }
    known
};

/// The codes of the group of letters at `at`, which may be the empty group `=`.
const fn symbols(mut at: usize) -> [u8; 3] {
    let mut codes = [0; 3];
    let mut filled = 0;
    while !matches!(DATA[at], b' ' | b'\n' | b'=') {
        codes[filled] = CODES[DATA[at] as usize];
        assert!(codes[filled] != NO_SYMBOL);
        filled += 1;
        at += 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_known(letters: &[u8]) -> bool {
        let mut padded = [0; MAX_LEN];
        padded[..letters.len()].copy_from_slice(letters);
        Fingerprint { letters: padded, len: letters.len() as u8 }.is_known_attack()
    }

    #[test]
    fn the_table_has_all_known_patterns() {
        let bits = KNOWN.rows.iter().flatten().map(|bits| bits.count_ones()).sum::<u32>();
        assert_eq!(bits, 8367);
        for letters in [&b"X"[..], b"1c", b"sUE", b"1&1", b"s&sos", b"1UEnk", b"s;T(n"] {
            assert!(is_known(letters), "{}", letters.escape_ascii());
        }
        for letters in [&b""[..], b"n", b"1", b"E", b"1o1", b"nnnnn", b"1.n", b"{n}"] {
            assert!(!is_known(letters), "{}", letters.escape_ascii());
        }
    }
}
