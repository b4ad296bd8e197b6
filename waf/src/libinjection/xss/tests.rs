use super::super::noise;
use super::is_xss;

#[track_caller]
fn check(cases: &[&[u8]], expected: bool) {
    for input in cases {
        assert_eq!(is_xss(input), expected, "{}", input.escape_ascii());
    }
}

// The verdicts of this file are confirmed against Debian's libmodsecurity 3.0.9.

#[test]
fn tags_that_run_scripts_are_attacks() {
    check(
        &[
            b"<script>alert(1)</script>",
            b"<ScRiPt src=//evil>",
            b"<script",
            b"</script >",
            b"<scr\0ipt>",
            b"<svg/onload=alert(1)>",
            b"<svgx>",
            b"<xsl:template>",
            b"<iframe src=a>",
            b"<![CDATA[x]]><script>",
            b"<!-- --!><script>",
            b"<!-- -\0-><script>",
        ],
        true,
    );
}

#[test]
fn handlers_and_styles_are_attacks() {
    check(
        &[
            b"<img src=x onerror=alert(1)>",
            b"<img src=\"x\" onerror=\"alert(1)\">",
            b"<div style=\"x\">",
            b"<p style=x>",
            b"<a xmlns=x>",
            b"<a xlink:href=x>",
            b"<animate attributename=href>",
            b"<a onclick=>",
        ],
        true,
    );
}

#[test]
fn breaking_out_of_an_attribute_is_an_attack() {
    check(
        &[
            b"\" onmouseover=\"alert(1)",
            b"' onmouseover='alert(1)",
            b"` onmouseover=`alert(1)",
            b"x onclick=alert(1)",
            b"style=x",
            b"href=javascript:x",
        ],
        true,
    );
}

#[test]
fn urls_that_run_scripts_are_attacks() {
    check(
        &[
            b"<a href=\"javascript:alert(1)\">",
            b"<a href=\" &#106;avascript:alert(1)\">",
            b"<a href=&#x6a;&#x0a;avascript:alert(1)>",
            b"<a href=\"java\nscript:x\">",
            b"<a href=\"j\0ava\">",
            b"<a href=\"\xffdata:text/html,x\">",
            b"<a href=view-source:x>",
            b"<a href=vbscript:x>",
            b"<form action=javascript:x>",
            // Only the low byte of U+014A is compared.
            b"<a href=&#x14a;AVA>",
        ],
        true,
    );
    check(
        &[
            b"<a href=\"https://example.com/\">",
            b"<a href=\"j ava\">",
            b"<a href=&#1048831;>",
            b"<a href=&#>",
            b"<a href=&>",
        ],
        false,
    );
}

#[test]
fn declarations_and_old_comments_are_attacks() {
    check(
        &[
            b"<!DOCTYPE html>",
            b"<!doctype",
            b"<!-- ` -->",
            b"<!--[if IE]>",
            b"<!ENTITY x>",
            b"<?import x>",
            b"<?xml version=\"1.0\"?>",
            b"<% ` %>",
        ],
        true,
    );
    check(&[b"<!-- comment -->", b"<% a %>", b"<![CDATA[<script>]]>"], false);
}

#[test]
fn plain_text_and_harmless_markup_are_no_attack() {
    check(
        &[
            b"",
            b"a=b&c=d",
            b"base64==",
            b"2 < 3 and 5 > 4",
            b"if (a<b) return",
            b"<3",
            b"<b>bold</b>",
            b"<br/>",
            b"<basefont>",
            b"<p class=\"x\">text</p>",
            b"<img src=\"/logo.png\" alt=\"logo\">",
            b"<a onclick>",
            b"<animate attributename=fill>",
            b"on=x",
            b"src=x",
        ],
        false,
    );
}

#[test]
fn a_byte_0xff_before_a_name_ends_the_input() {
    check(&[b"<a onclick=x>"], true);
    check(&[b"<a \xffonclick=x>"], false);
}

#[test]
fn nested_markup_is_read_in_linear_time() {
    for unit in [&b"<a/"[..], b"<", b"/", b"-\0", b"<!--", b"a=", b"&#0;", b"<%"] {
        let input: Vec<u8> = unit.iter().copied().cycle().take(1 << 18).collect();
        is_xss(&input);
    }
}

#[test]
fn no_input_panics() {
    let seed = 0x7a5e_0c1d;
    for input in noise::inputs(seed, 20_000) {
        is_xss(&input);
    }
}
