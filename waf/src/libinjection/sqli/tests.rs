use super::super::noise;
use super::fold::Window;
use super::lexer::{Dialect, Lexer};
use super::{is_sqli, read};

/// The pattern of the attack in `input`, or "".
fn found(input: &[u8]) -> String {
    is_sqli(input).map(|fingerprint| fingerprint.to_string()).unwrap_or_default()
}

#[test]
fn attacks_have_the_fingerprints_of_libinjection() {
    // Confirmed against Debian's libmodsecurity 3.0.9.
    let cases: &[(&[u8], &str)] = &[
        (b"1' OR '1'='1", "s&sos"),
        (b"\" OR \"\"=\"", "s&sos"),
        (b"' OR 1=1 --", "s&1c"),
        (b"admin' --", "sc"),
        (b"admin'--", "sc"),
        (b"1--", "1c"),
        (b"1 OR 1=1", "1&1"),
        (b"1) OR (1=1", "1)&(1"),
        (b"\\N or 1=1", "1&1"),
        (b"1\xa0or\xa01=1", "1&1"),
        (b"1 UNION SELECT password FROM users", "1UEnk"),
        (b"1 UNION ALL SELECT NULL,NULL,NULL--", "1UEvc"),
        (b"' UNION SELECT @@version --", "sUEvc"),
        (b"-1' UNION SELECT 1,2,3#", "sUE1o"),
        (b"1 is not null union select 1", "1ovUE"),
        (b"a.b.c union select 1", "nUE1"),
        (b"[a] union select 1", "nUE1"),
        (b"1; DROP TABLE users", "1;Tnn"),
        (b"1'; EXEC xp_cmdshell('dir')--", "s;Tn("),
        (b"'; WAITFOR DELAY '0:0:5'--", "s;Esc"),
        (b"1 AND SLEEP(5)", "1&f(1"),
        (b"1' AND SLEEP(5) AND 'a'='a", "s&f(1"),
        (b"x' AND 1=(SELECT COUNT(*) FROM tabname); --", "s&1o("),
        (b"id IN (SELECT id FROM t)", "no(En"),
        (b"1 ORDER BY 3--", "1B1c"),
        (b"1 INTO OUTFILE '/tmp/x'", "1ks"),
        (b"foo' || 'bar", "s&s"),
        (b"foo' + 'bar", "sos"),
        (b"sin(1) or 1=1", "f(1)&"),
        (b"`sin`(1)or 1", "f(1)&"),
        (b"1 and user()", "1&f()"),
        (b"@@`version` or 1=1", "v&1"),
        (b"$$a$$ or 1=1", "s&1"),
        (b"q'[a]' or 1=1", "s&1"),
        (b"nq'(a)' or 1=1", "s&1"),
        (b"1 or u&'a'='a'", "1&sos"),
        (b"1 or e'a'='a'", "1&sos"),
        (b"1::int or 1=1", "1&1"),
        (b"binary 1 or 1=1", "1&1"),
        (b"foo /*", "nc"),
        (b"a -- sp_password", "nc"),
    ];
    for (input, fingerprint) in cases {
        assert_eq!(found(input), *fingerprint, "{}", input.escape_ascii());
    }
}

#[test]
fn comments_that_engines_read_differently_are_attacks() {
    assert_eq!(found(b"1/*!UNION*/SELECT"), "X", "MySQL executes it");
    assert_eq!(found(b"1 /* /* */ 2"), "X", "PostgreSQL nests it");
    assert_eq!(found(b"{`` .id} or 1=1"), "X", "MySQL's nameless name");
}

#[test]
fn plain_text_is_no_attack() {
    let cases: &[&[u8]] = &[
        b"",
        b" ",
        b"hello, world",
        b"O'Reilly",
        b"it's a dog's life",
        b"Tom & Jerry",
        b"rock and roll",
        b"this and 17",
        b"1 + 1 = 2",
        b"#1 fan",
        b"C# and F#",
        b"SELECT",
        b"please select a color from the list",
        b"the union of workers",
        b"1 union",
        b"2019-01-01 12:30:00",
        b"user@example.com",
        b"https://example.com/a?b=c&d=e#f",
        b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        b"{\"name\":\"value\",\"n\":[1,2,3]}",
        b"foo --",
    ];
    for input in cases {
        assert_eq!(found(input), "", "{}", input.escape_ascii());
    }
}

#[test]
fn a_pair_of_numbers_is_prose_until_they_are_compared() {
    assert_eq!(found(b"this and 17"), "");
    assert_eq!(found(b"this and 17<18"), "n&1");
}

#[test]
fn a_nul_is_a_digit_of_every_notation() {
    assert_eq!(found(b"x'4\0f' or 1=1"), "1&1");
    assert_eq!(found(b"0x\0 or 1=1"), "1&1");
    assert_eq!(letters(b"$\0", Dialect::Ansi), "1");
}

#[test]
fn an_input_is_read_as_the_rest_of_a_string_as_well() {
    let input = b"a' or 'b'='b";
    assert!(read(&mut Lexer::new(input, None, Dialect::Ansi)).is_none(), "`a`, then a string");
    assert_eq!(found(input), "s&sos", "the end of a string, then a condition");
}

fn letters(input: &[u8], dialect: Dialect) -> String {
    Lexer::new(input, None, dialect).map(|token| char::from(token.kind as u8)).collect()
}

#[test]
fn the_lexer_knows_the_literals_of_every_engine() {
    let cases: &[(&[u8], &str)] = &[
        (b"1 .5 1. 1e5 1.5e-3 0x1F 0b01 1f 1d", "111111111"),
        (b"b'01' B'' x'4f' X'0g'", "111ns"),
        (b"1e .", "n."),
        (b"0x", "n"),
        (b"1fUNION 1from", "1U1k"),
        (b"'a' \"b\" e'c' n'd' u&'e' q'!f!' nq'[g]' $$h$$ $i$j$i$", "sssssssss"),
        (b"'a''b' 'a\\'b' 'a\\\\' c", "sssn"),
        (b"`a` [b c] d", "nnn"),
        (b"@a @@b @`c` @'d' @", "vvvvv"),
        (b"$1,000.00 $ $a", "1nnn"),
        (b"select.1 select`a` sys.database_name", "E1Enn"),
        (b"<=> <> != :: := || && ! : <", "ooooo&&o:o"),
        (b"\\N \\n", "1\\n"),
        (b"(){},;?]", "(){},;??"),
        (b"/* a */ /*! b */ /", "cXo"),
    ];
    for (input, kinds) in cases {
        assert_eq!(letters(input, Dialect::Ansi), *kinds, "{}", input.escape_ascii());
    }
}

#[test]
fn the_dialects_differ_in_comments() {
    assert_eq!(letters(b"--a", Dialect::Ansi), "c");
    assert_eq!(letters(b"--a", Dialect::MySql), "oon");
    assert_eq!(letters(b"-- a\n1", Dialect::MySql), "c1");
    assert_eq!(letters(b"--", Dialect::MySql), "c");
    assert_eq!(letters(b"#a", Dialect::Ansi), "on");
    assert_eq!(letters(b"#a\n1", Dialect::MySql), "c1");
}

#[test]
fn a_token_ends_where_its_engine_says() {
    let texts = |input| Lexer::new(input, None, Dialect::Ansi).map(|token| token.text());
    let last = |input| texts(input).last().expect("there is a token");
    assert_eq!(last(b"'it''s'"), b"it''s");
    assert_eq!(last(b"'open"), b"open");
    assert_eq!(last(b"q'(a)b)'"), b"a)b");
    assert_eq!(last(b"$t$ $x$ $t$"), b" $x$ ");
    assert_eq!(last(b"[a]]"), b"]");
    assert_eq!(last(b"a_word_longer_than_a_token_can_hold").len(), 31);
}

fn pattern(input: &[u8]) -> String {
    let mut window = Window::new();
    window.fold(&mut Lexer::new(input, None, Dialect::Ansi));
    window.tokens().iter().map(|token| char::from(token.kind as u8)).collect()
}

#[test]
fn folding_keeps_what_changes_a_query() {
    let cases: &[(&[u8], &str)] = &[
        // Operations and lists of values.
        (b"1 + 2 * 3", "1"),
        (b"a, b, 'c', @d", "n"),
        (b"a.b.c", "n"),
        (b"'a' 'b' 'c'", "s"),
        (b"1 and 2 and 3", "1&1"),
        (b"and or xor", "&"),
        (b"1;;;2", "1;1"),
        (b"((((a))))", "n)"),
        // What comes before anything.
        (b"/* a */ ((- + 1", "1"),
        (b"/* a */ ( ", ""),
        // Signs and casts.
        (b"select - 1", "E1"),
        (b"select +(1", "E(1"),
        (b"a, -1", "n"),
        (b"a, -sin(1)", "n,f(1"),
        (b"1 = int 2", "1"),
        (b"'a'::text", "s"),
        // Phrases.
        (b"union all select", "UE"),
        (b"a order by 1", "nB1"),
        (b"full outer join a", "kn"),
        (b"1 in (2)", "1"),
        (b"1 in 2", "1n1"),
        (b"a like (1)", "nf(1)"),
        (b"; if (1)", ";T(1)"),
        (b"user(1)", "n(1)"),
        (b"user()", "f()"),
        // Comments count at the end only.
        (b"1 /* a */ or /* b */ 2 -- c", "1&1c"),
        (b"a 1 `", "n1c"),
        // Five tokens that are a value.
        (b"1 + (2) or 3", "1&1"),
    ];
    for (input, letters) in cases {
        assert_eq!(pattern(input), *letters, "{}", input.escape_ascii());
    }
}

/// A word is measured only as far as a token can hold it, or this would take minutes.
#[test]
fn a_long_word_of_keywords_is_read_in_linear_time() {
    for unit in [&b"and."[..], b"select`", b"a.", b"/*", b"$a$b", b"'\\'", b"x'"] {
        let input: Vec<u8> = unit.iter().copied().cycle().take(1 << 18).collect();
        is_sqli(&input);
    }
}

#[test]
fn no_input_panics() {
    let seed = 0x5157_1a2b;
    for input in noise::inputs(seed, 20_000) {
        if let Some(fingerprint) = is_sqli(&input) {
            assert!((1..=5).contains(&fingerprint.as_bytes().len()), "seed {seed}");
        }
    }
}
