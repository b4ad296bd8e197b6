//! What Windows makes of a character that US-ASCII does not have.
//!
//! Code page 20127 (US-ASCII) has "best-fit" replacements: U+0101 becomes `a`. A
//! back end on Windows applies them, so an attack spelled in such letters works
//! there, and `urlDecodeUni` must show rules the same. These are the facts of that
//! code page as the rule language's `SecUnicodeMapFile unicode.mapping 20127`
//! selects them, with the two full stops of IDNA (U+3002, U+FF61). The full-width
//! forms are missing here: their rule (see `bytes::narrow`) gives the same.

/// The ASCII that stands for a character, if the code page has any.
pub(super) fn best_fit(code: u16) -> Option<u8> {
    match usize::from(code).checked_sub(FIRST) {
        Some(index) if index < LATIN.len() * 32 => {
            Some(LATIN[index / 32][index % 32]).filter(|byte| *byte != b'_')
        }
        _ => {
            let index = OTHERS.binary_search_by_key(&code, |(code, _)| *code).ok()?;
            Some(OTHERS[index].1)
        }
    }
}

const FIRST: usize = 0xa0;

/// U+00A0 to U+01FF, 32 to a row; `_` where the code page has nothing.
const LATIN: [&[u8; 32]; 11] = [
    b" !c_$Y|__Ca<_-R___23___.,1o>____", // U+00A0
    b"AAAAAAACEEEEIIIIDNOOOOO_OUUUUY__", // U+00C0
    b"aaaaaaaceeeeiiii_nooooo_ouuuuy_y", // U+00E0
    b"AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGg", // U+0100
    b"GgGgHhHhIiIiIiIiIi__JjKk_LlLlLl_", // U+0120
    b"_LlNnNnNn___OoOoOoOoRrRrRrSsSsSs", // U+0140
    b"SsTtTtTtUuUuUuUuUuUuWwYyYZ_ZzZz_", // U+0160
    b"b________D_______Ff____I__l____O", // U+0180
    b"Oo_________t__TUu_____z_________", // U+01A0
    b"_____________AaIiOoUuUuUuUuUu_Aa", // U+01C0
    b"____GgGgKkOoOo__j_______________", // U+01E0
];

/// The rest, by code.
const OTHERS: [(u16, u8); 42] = [
    (0x0261, b'g'),
    (0x02b9, b'\''),
    (0x02ba, b'"'),
    (0x02bc, b'\''),
    (0x02c4, b'^'),
    (0x02c6, b'^'),
    (0x02c8, b'\''),
    (0x02cb, b'`'),
    (0x02cd, b'_'),
    (0x02dc, b'~'),
    (0x0300, b'`'),
    (0x0302, b'^'),
    (0x0303, b'~'),
    (0x030e, b'"'),
    (0x0331, b'_'),
    (0x0332, b'_'),
    (0x2000, b' '),
    (0x2001, b' '),
    (0x2002, b' '),
    (0x2003, b' '),
    (0x2004, b' '),
    (0x2005, b' '),
    (0x2006, b' '),
    (0x2010, b'-'),
    (0x2011, b'-'),
    (0x2013, b'-'),
    (0x2014, b'-'),
    (0x2018, b'\''),
    (0x2019, b'\''),
    (0x201a, b','),
    (0x201c, b'"'),
    (0x201d, b'"'),
    (0x201e, b'"'),
    (0x2022, b'.'),
    (0x2026, b'.'),
    (0x2032, b'\''),
    (0x2035, b'`'),
    (0x2039, b'<'),
    (0x203a, b'>'),
    (0x2122, b'T'),
    (0x3002, b'.'),
    (0xff61, b'.'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_sorted() {
        assert!(OTHERS.is_sorted_by_key(|(code, _)| *code));
    }

    #[test]
    fn accents_quotes_and_dashes_fit() {
        for (code, ascii) in [
            (0x00a0, Some(b' ')),
            (0x0101, Some(b'a')),
            (0x2019, Some(b'\'')),
            (0x2014, Some(b'-')),
            (0x3002, Some(b'.')),
            (0x00a3, None),
            (0x0041, None),
            (0x4e2d, None),
            (0xffff, None),
        ] {
            assert_eq!(best_fit(code), ascii, "U+{code:04X}");
        }
    }
}
