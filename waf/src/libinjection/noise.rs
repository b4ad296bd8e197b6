//! Random inputs for tests: bytes, and pieces of SQL and HTML in any order.

const PIECES: &[&[u8]] = &[
    b"'",
    b"\"",
    b"`",
    b"--",
    b"#",
    b"/*",
    b"*/",
    b"/*!",
    b"(",
    b")",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b";",
    b":",
    b"::",
    b".",
    b"@",
    b"@@",
    b"$",
    b"$$",
    b"$a$",
    b"\\",
    b"\\N",
    b"=",
    b"<=>",
    b"!!",
    b"||",
    b"+",
    b"-",
    b"\0",
    b"\xa0",
    b"\xff",
    b"0x",
    b"0b1",
    b"1e",
    b"1.5f",
    b"q'(",
    b"nq'",
    b"u&'",
    b"e'",
    b"x'4f'",
    b"b'",
    b"SELECT",
    b"union",
    b"all",
    b"in",
    b"not",
    b"like",
    b"user",
    b"collate",
    b"a_b",
    b"int",
    b"if",
    b"{``",
    b"<",
    b"</",
    b"<a ",
    b"<script",
    b"<!--",
    b"-->",
    b"-!>",
    b"<![CDATA[",
    b"]]>",
    b"<%",
    b"%>",
    b"<?",
    b"<!doctype",
    b">",
    b"/>",
    b"href=",
    b"style=",
    b"onload=",
    b"attributename=",
    b"java",
    b"&#",
    b"&#x",
    b"&#106;",
    b" ",
    b"\n",
];

/// `count` inputs that depend on `seed` alone.
pub(super) fn inputs(seed: u64, count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = seed;
    // SplitMix64
    let mut below = move |limit: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    };
    (0..count).map(move |_| {
        let mut input = Vec::new();
        for _ in 0..below(24) {
            match below(4) {
                0 => input.push(below(256) as u8),
                _ => input.extend_from_slice(PIECES[below(PIECES.len())]),
            }
        }
        input
    })
}
