//! Bytes from the network, and rule files, never make the engine panic.

mod support;

use proptest::prelude::*;
use support::{Request, load, policy};
use tidegate_waf::{
    Cause, Connection, Interner, Limit, Memory, Policy, PolicyOptions, Prefiltering, Ruleset,
    Transaction, Verdict,
};

const RULES: &str = "\
SecRule ARGS|ARGS_NAMES|REQUEST_COOKIES|REQUEST_HEADERS|XML:/*|FILES \"@rx (?i)<scr(?:ipt|een)[^>]*>\" \"id:1,phase:2,pass,capture,multiMatch,t:none,t:urlDecodeUni,t:htmlEntityDecode,t:jsDecode,t:cssDecode,t:removeNulls,logdata:'%{TX.0} %{MATCHED_VAR}'\"
SecRule ARGS|REQUEST_BODY|REQUEST_URI \"@detectSQLi\" \"id:2,phase:2,pass,t:utf8toUnicode,t:replaceComments,t:normalizePathWin,t:cmdLine,t:escapeSeqDecode\"
SecRule ARGS|REQUEST_BODY \"@detectXSS\" \"id:3,phase:2,pass,t:base64Decode\"
SecRule ARGS_NAMES \"@rx .\" \"id:4,phase:2,pass,setvar:'tx.seen_%{MATCHED_VAR_NAME}=+1'\"
SecRule TX:/^seen_/ \"@gt 1\" \"id:5,phase:2,pass,msg:'%{MATCHED_VAR_NAME}'\"
";

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_request_is_evaluated(
        line in proptest::collection::vec(any::<u8>(), 0..60),
        header in proptest::collection::vec(any::<u8>(), 0..60),
        kind in 0..5_usize,
        body in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'%'), Just(b'&'), Just(b'<'), Just(b'"'), Just(b'\n')], 0..300),
    ) {
        const KINDS: [&str; 5] = ["application/json", "text/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=\"B\"", "text/plain"];
        let policy = policy(RULES, PolicyOptions { prefiltering: Prefiltering::Check, ..PolicyOptions::default() });
        let mut transaction = Transaction::new(&policy, &Connection::default());
        transaction.request_line(b"POST", &line, b"HTTP/1.1");
        transaction.request_header(b"Cookie", &header);
        transaction.request_header(&header, &line);
        transaction.request_header(b"Content-Type", KINDS[kind].as_bytes());
        transaction.request_headers();
        transaction.request_body(&body);
        transaction.response_line(b"HTTP/1.1", 200);
        transaction.response_header(b"Content-Type", b"text/html");
        transaction.response_headers();
        transaction.response_body(&body);
        transaction.log();
        prop_assert!(transaction.missed().is_empty());
    }

    #[test]
    fn any_rule_file_loads_or_is_refused(text in proptest::collection::vec(proptest::sample::select(WORDS), 0..40), noise in any::<Vec<u8>>()) {
        let mut text = text.concat().into_bytes();
        text.extend(noise);
        let files = Memory([("a.conf".into(), text)].into());
        let _ = Ruleset::load(&files, &[std::path::Path::new("a.conf")], &Interner::default());
    }

    #[test]
    fn the_prefilter_misses_no_match_of_any_pattern(
        pattern in proptest::collection::vec(proptest::sample::select(PATTERN), 1..9),
        text in proptest::collection::vec(proptest::sample::select(TEXT), 0..9),
    ) {
        let pattern = pattern.concat();
        if let Ok(rules) = load(&format!("SecRule REQUEST_BODY \"@rx {pattern}\" \"id:1,phase:2,pass\"")) {
            let options = PolicyOptions { prefiltering: Prefiltering::Check, ..PolicyOptions::default() };
            let policy = Policy::new(rules, options).unwrap();
            let text = text.concat();
            let (transaction, _) = Request::post("/", &[], text.as_bytes()).run(&policy);
            prop_assert!(transaction.missed().is_empty());
        }
    }
}

const WORDS: &[&str] = &[
    "SecRule ",
    "ARGS",
    "\"",
    "@rx ",
    "id:1",
    ",",
    ":",
    "phase:2",
    "\\\n",
    "\n",
    "SecAction ",
    "'",
    "|",
    "!",
    "&",
    "%{tx.",
    "}",
    "ctl:",
    "=",
    "setvar:",
    "Include ",
    "@pm ",
    "/",
    "(",
    "[",
    "chain",
    "tx.a",
    "+",
    " ",
    "\\",
];
const PATTERN: &[&str] = &[
    "select",
    "(?i)",
    "(?:ab|cd|)",
    "[a-c]",
    "x*",
    "b+",
    r"\s",
    "[^a]",
    "{2}",
    "?",
    "|",
    "(?:",
    ")",
    "ect",
    r"\b",
    "^",
    "$",
    ".",
    r"\x41",
    "(union)",
    "<",
    "[<>]+",
    "a{0,3}",
    "(?:select|<script)",
    "A",
    "..",
];
const TEXT: &[&str] = &[
    "select", "SELECT", "union", "ab", "cd", "x", "b", " ", "a", "ect", "\n", "A", "<", ">",
    "<script", "c", "-",
];

#[test]
fn a_macro_that_feeds_on_itself_is_bounded() {
    let grow = "SecAction \"id:ID,phase:2,pass,nolog,setvar:'tx.a=%{tx.a}%{tx.a}x'\"\n";
    let rules: String = (1..60).map(|id| grow.replace("ID", &id.to_string())).collect();
    let policy = policy(&rules, PolicyOptions::default());
    let (transaction, _) = Request::get("/").run(&policy);
    assert!(transaction.variable("a").is_some_and(|a| a.len() <= 64 << 10));
}

/// Before, a value filled up beyond the limit of the backtracking engine passed.
#[test]
fn a_pattern_that_gives_up_refuses() {
    let rules = "SecRule ARGS:a \"@rx ^(?:(x+)+)+(?!y)\\1z$\" \"id:1,phase:2,deny\"\n\
                 SecRule ARGS:b \"!@rx ^(?:(?:x+)+(?!y))+$\" \"id:2,phase:2,deny\"\n\
                 SecRule ARGS:c \"@rx jndi(?!safe)\" \"id:3,phase:2,deny\"";
    let policy = policy(rules, PolicyOptions::default());
    let cause = |target: &str| match Request::get(target).run(&policy).1 {
        Verdict::Deny { cause, .. } => Some(cause),
        _ => None,
    };
    let filling = "x".repeat(100);
    let spent = Some(Cause::Limit(Limit::Work));
    assert_eq!(cause(&format!("/?a={filling}")), spent);
    assert_eq!(cause(&format!("/?b={filling}w")), spent);
    let filling = "x".repeat(120_000);
    assert_eq!(cause(&format!("/?c={filling}jndi")), Some(Cause::Rule(3)));
    assert_eq!(cause(&format!("/?c={filling}jndisafe")), None);
}

/// Before, a form of 110 KB took a second of its worker with the Core Rule Set 3 at paranoia 2.
#[test]
fn backtracking_is_work() {
    let rules = "SecRule ARGS \"@rx (?i:[\\s'(]*?\\b([\\d\\w]+)\\b[\\s'(]*?=(?!\\b\\1\\b)[\\d\\w]+)\" \"id:1,phase:2,pass\"";
    let policy = policy(rules, PolicyOptions::default());
    let form = vec![format!("a={}", "'".repeat(1_000)); 120].join("&");
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    let (transaction, verdict) = Request::post("/", &kind, form.as_bytes()).run(&policy);
    assert!(
        matches!(verdict, Verdict::Deny { cause: Cause::Limit(Limit::Work), .. }),
        "{verdict:?}"
    );
    let most = policy.options().limits.work;
    assert!(transaction.work() < most + most / 8, "{} of {most}", transaction.work());
}

#[test]
fn a_body_that_applications_read_otherwise_is_refused() {
    let policy =
        policy("SecRule ARGS \"@contains attack\" \"id:1,phase:2,deny\"", PolicyOptions::default());
    let (form, text) = ("application/x-www-form-urlencoded", "text/plain");
    let parts = "multipart/form-data; boundary=B";
    let hidden = "--B\r\nContent-Disposition: form-data; name=f; filename=g\r\n\r\nx\r--B\r\n\
                  Content-Disposition: form-data; name=a\r\n\r\nattack\r\n--B--\r\n";
    let malformed = Some(Cause::Limit(Limit::Malformed));
    for (headers, body, expected) in [
        (&[("Content-Type", form), ("Content-Type", text)][..], "a=attack", malformed),
        (&[("content-type", text), ("CONTENT-TYPE", form)], "a=b", malformed),
        (&[("Content-Type", form), ("Content-Type", text)], "", None),
        (&[("Content-Type", form), ("Content-Encoding", "gzip")], "xyz", malformed),
        (&[("Content-Type", form), ("Content-Encoding", "Identity")], "a=b", None),
        (&[("Content-Type", "image/png"), ("Content-Encoding", "gzip")], "xyz", None),
        (&[("Content-Encoding", "gzip")], "", None),
        (&[("Content-Type", parts)], hidden, malformed),
        (&[("Content-Type", " \tMultipart/form-data; boundary=B ")], hidden, malformed),
        (&[("Content-Type", parts)], &hidden.replace("x\r--B", "x\r-B"), None),
    ] {
        let cause = match Request::post("/", headers, body.as_bytes()).run(&policy).1 {
            Verdict::Deny { cause, .. } => Some(cause),
            _ => None,
        };
        assert_eq!(cause, expected, "{headers:?} {body}");
    }
}

/// Before, names of 48 MiB were made of 128 KiB.
#[test]
fn names_of_json_are_bounded_by_what_a_body_without_files_may_be() {
    let policy =
        policy("SecRule ARGS_NAMES \"@rx .\" \"id:1,phase:2,pass\"", PolicyOptions::default());
    let (open, leaves) = (format!("{{\"{}\":", "k".repeat(250)), vec!["1"; 400].join(","));
    let body = format!("{}[{leaves}]{}", open.repeat(500), "}".repeat(500));
    let kind = [("Content-Type", "application/json")];
    let (transaction, verdict) = Request::post("/", &kind, body.as_bytes()).run(&policy);
    assert!(
        matches!(verdict, Verdict::Deny { cause: Cause::Limit(Limit::Arguments), .. }),
        "{verdict:?}"
    );
    assert!(transaction.work() < 4 << 20, "{}", transaction.work());
}

#[test]
fn cookies_are_counted() {
    let policy = policy(
        "SecRule REQUEST_COOKIES \"@streq x\" \"id:1,phase:1,deny\"",
        PolicyOptions::default(),
    );
    let cause = |count: usize| {
        let cookies = vec!["a=b"; count].join(";");
        let headers = [("Cookie", &*cookies)];
        let request = Request { headers: &headers, ..Request::get("/") };
        match request.run(&policy).1 {
            Verdict::Deny { cause, .. } => Some(cause),
            _ => None,
        }
    };
    assert_eq!(cause(1_000), None);
    assert_eq!(cause(1_001), Some(Cause::Limit(Limit::Arguments)));
}
