//! Virtual patches as rules: text in the rule language, compiled with the policy's own rules, so
//! that they see what those see and are excluded, counted and logged as those are.
//!
//! A patch is one rule of up to three links: path, method, value. What the document says goes
//! into it in a form that cannot end the rule or become part of another.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf};
use tidegate_config::{PathPattern, WafPatch};

/// The rules' ids begin here; docs/waf.md reserves a thousand.
const FIRST_ID: usize = 9_990_000;
const MOST: usize = 1_000;

/// The rules of a policy's patches, in phase 2: behind the body. Each stands in a file of its own,
/// which is nowhere but in memory; its path names the patch in faults.
pub(crate) fn rules(patches: &[WafPatch]) -> Result<BTreeMap<PathBuf, Vec<u8>>, String> {
    if patches.len() > MOST {
        return Err(format!("more than {MOST} patches"));
    }
    let files = patches.iter().enumerate().map(|(at, patch)| {
        let path = PathBuf::from(format!("virtual patch {}", patch.name));
        (path, rule(FIRST_ID + at, patch).into_bytes())
    });
    Ok(files.collect())
}

fn rule(id: usize, patch: &WafPatch) -> String {
    let mut text = String::new();
    let mut links: Vec<(&str, String, &str)> = Vec::new();
    if let Some(path) = &patch.path {
        // The rules see the path as it was sent, an upstream gets it without dot segments.
        links.push(("REQUEST_FILENAME", format!("@rx {}", path_pattern(path)), "t:normalizePath"));
    }
    if !patch.methods.is_empty() {
        let methods: Vec<_> =
            patch.methods.iter().map(|m| escaped(m.as_str().as_bytes())).collect();
        links.push(("REQUEST_METHOD", format!("@rx ^(?:{})$", methods.join("|")), ""));
    }
    let (test, transformation) = match (&patch.matches, &patch.unless, patch.longer_than) {
        (Some(pattern), ..) => (format!("@rx {}", pattern_text(pattern)), ""),
        (None, Some(pattern), _) => (format!("!@rx {}", pattern_text(pattern)), ""),
        (None, None, most) => (format!("@gt {}", most.unwrap_or(u32::MAX)), "t:length"),
    };
    links.push((&patch.target, test, transformation));
    let last = links.len() - 1;
    for (at, (target, test, transformation)) in links.into_iter().enumerate() {
        let mut actions = Vec::new();
        if at == 0 {
            actions.push(format!(
                "id:{id},phase:2,deny,status:403,log,msg:'virtual patch {}',tag:'virtual-patch',\
                 severity:CRITICAL",
                patch.name
            ));
        }
        actions.push("t:none".to_owned());
        if !transformation.is_empty() {
            actions.push(transformation.to_owned());
        }
        if at < last {
            actions.push("chain".to_owned());
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "SecRule {target} \"{test}\" \"{}\"", actions.join(","));
    }
    text
}

/// What some servers drop from the end of a segment (RFC 3986 section 3.3): `/login;x` and
/// `/;x/login` are `/login` to them.
const PARAMETERS: &str = "(?:;[^/]*)?";

/// Paths as routes match them, over the decoded path, whatever the parameters of segments are.
fn path_pattern(path: &PathPattern) -> String {
    match path {
        PathPattern::Prefix(path) => format!("^{}(?:[/;]|$)", literal(path.trim_end_matches('/'))),
        PathPattern::Exact(path) => format!("^{}{PARAMETERS}$", literal(path)),
        PathPattern::Regex(pattern) => pattern_text(pattern),
    }
}

/// The pattern of a path's decoded bytes.
fn literal(path: &str) -> String {
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    let segments: Vec<_> = decoded.split(|&byte| byte == b'/').map(escaped).collect();
    segments.join(&format!("{PARAMETERS}(?:/;[^/]*)*/"))
}

/// The pattern that finds these bytes only.
fn escaped(bytes: &[u8]) -> String {
    let mut pattern = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' => {
                pattern.push(char::from(byte));
            }
            byte => {
                let _ = write!(pattern, "\\x{byte:02x}");
            }
        }
    }
    pattern
}

/// A pattern inside the quotes of a rule: a quote would end it, `%{` would begin a macro and
/// white space at its ends would be lost. All are written as escapes that mean the same;
/// validation refused control characters and a `\` at the end.
fn pattern_text(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, chars.peek()) {
            ('\\', Some('"')) => {
                chars.next();
                text.push_str("\\x22");
            }
            ('\\', Some('%')) => {
                chars.next();
                text.push_str("\\x25");
            }
            ('\\', Some(&next)) => {
                chars.next();
                text.extend(['\\', next]);
            }
            ('"', _) => text.push_str("\\x22"),
            ('%', Some('{')) => text.push_str("\\x25"),
            (' ', next) if text.is_empty() || next.is_none() => text.push_str("\\x20"),
            (char, _) => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use tidegate_waf::{
        Connection, Faults, Interner, Memory, Policy, PolicyOptions, Ruleset, Transaction,
    };

    fn patch(target: &str, matches: Option<&str>) -> WafPatch {
        WafPatch {
            name: "CVE-1".parse().unwrap(),
            path: None,
            methods: Vec::new(),
            target: target.to_owned(),
            matches: matches.map(str::to_owned),
            unless: None,
            longer_than: None,
        }
    }

    fn load(patches: &[WafPatch]) -> Result<Arc<Ruleset>, Faults> {
        let files = rules(patches).unwrap();
        let paths: Vec<_> = files.keys().cloned().collect();
        let roots: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
        Ruleset::load(&Memory(files), &roots, &Interner::default())
    }

    fn policy(patches: &[WafPatch]) -> Policy {
        let ruleset = load(patches).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(ruleset.len(), patches.len());
        Policy::new(ruleset, PolicyOptions::default()).unwrap()
    }

    /// Whether a request is refused.
    fn refuses(policy: &Policy, method: &str, target: &str, form: &[u8]) -> bool {
        let mut transaction = Transaction::new(policy, &Connection::default());
        transaction.request_line(method.as_bytes(), target.as_bytes(), b"HTTP/1.1");
        let form_type = b"application/x-www-form-urlencoded";
        transaction.request_header(b"Content-Type", form_type);
        transaction.request_headers();
        !transaction.request_body(form).is_pass()
    }

    #[test]
    fn all_conditions_of_a_patch_have_to_hold() {
        let patch = WafPatch {
            path: Some("/login".parse().unwrap()),
            methods: vec![http::Method::POST],
            ..patch("ARGS:user", Some("(?i)jndi:"))
        };
        let policy = policy(&[patch]);
        for (method, target, form, refused) in [
            ("POST", "/login", "user=x${JNDI:y}", true),
            ("POST", "/login/deep?user=jndi%3A", "", true),
            ("POST", "/./a/../login", "user=jndi:", true),
            ("POST", "/%6Cogin", "user=jndi:", true),
            ("POST", "/login;x=1", "user=jndi:", true),
            ("POST", "/;x/;y/login;z/deep", "user=jndi:", true),
            ("POST", "/x;/login", "user=jndi:", false),
            ("GET", "/login", "user=jndi:", false),
            ("POST", "/logins", "user=jndi:", false),
            ("POST", "/login", "other=jndi:", false),
            ("POST", "/login", "user=jndi", false),
        ] {
            assert_eq!(
                refuses(&policy, method, target, form.as_bytes()),
                refused,
                "{target} {form}"
            );
        }
    }

    #[test]
    fn each_kind_of_test() {
        let named = |name: &str, patch| WafPatch { name: name.parse().unwrap(), ..patch };
        let unless = WafPatch { unless: Some("^[0-9]*$".into()), ..patch("ARGS:id", None) };
        let long = WafPatch { longer_than: Some(5), ..patch("ARGS:key", None) };
        let exact = WafPatch {
            path: Some("=/a%20b.c".parse().unwrap()),
            ..patch("REQUEST_METHOD", Some("."))
        };
        let policy = policy(&[named("a", unless), named("b", long), named("c", exact)]);
        for (target, refused) in [
            ("/?id=12", false),
            ("/?id=1x", true),
            ("/?other=x", false),
            ("/?key=12345", false),
            ("/?key=123456", true),
            ("/a%20b.c", true),
            ("/a%20b.c;x", true),
            ("/a%20b.c;x/", false),
            ("/a%20bxc", false),
            ("/a%20b.c/", false),
        ] {
            assert_eq!(refuses(&policy, "GET", target, b""), refused, "{target}");
        }
    }

    #[test]
    fn a_pattern_cannot_leave_its_rule() {
        for pattern in [
            r#"a" "id:1,phase:1,pass""#,
            r#"a\" "id:1"#,
            r#"a\\" b"#,
            r#"["'%{]"#,
            "%{TX.x}",
            r"\%{TX.x}",
            " a ",
            "@rx a",
            "!a",
            "a',b",
            r"a\ ",
        ] {
            let policy = policy(&[patch("ARGS:q", Some(pattern))]);
            // A brace that begins no quantifier is one to PCRE and a fault elsewhere.
            let expected = regex::Regex::new(&pattern.replace("%{", r"%\{")).unwrap();
            for text in [
                r#"a" "id:1,phase:1,pass""#,
                "a",
                " a ",
                "!a",
                "a',b",
                "%{TX.x}",
                "@rx a",
                r#"a\" b"#,
                "a ",
                "'",
            ] {
                let form: String =
                    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                        .to_string();
                let refused = refuses(&policy, "POST", "/", format!("q={form}").as_bytes());
                assert_eq!(refused, expected.is_match(text), "{pattern} on {text}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_pattern_is_one_rule_or_a_fault(pattern in r#"[ -~]{1,20}|[a"\\%{}\[\] ']{1,8}"#) {
            let ending = pattern.bytes().rev().take_while(|&byte| byte == b'\\').count();
            prop_assume!(ending % 2 == 0);
            if let Ok(rules) = load(&[patch("ARGS:q", Some(&pattern))]) {
                prop_assert_eq!(rules.ids().collect::<Vec<_>>(), [FIRST_ID as u64]);
            }
        }
    }
}
