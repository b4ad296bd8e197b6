//! No text, however broken, does more than be refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use std::fmt::Write;
use tidegate_config::{diff, parse_with};

const DOCUMENTS: [&str; 2] = [include_str!("example.toml"), include_str!("full.toml")];

fn read(text: &str) {
    let env = |name: &str| name.len().is_multiple_of(2).then(|| "c2VjcmV0".to_owned());
    match parse_with(text, "tidegate.toml", &env) {
        Ok(loaded) => {
            let example = parse_with(DOCUMENTS[0], "tidegate.toml", &env).unwrap();
            let _ = diff(&example.config, &loaded.config).to_string();
        }
        Err(faults) => {
            assert!(faults.len() > 0);
            let _ = faults.to_string();
        }
    }
}

proptest! {
    #[test]
    fn any_text(text in "\\PC*") {
        read(&text);
    }

    #[test]
    fn text_of_toml_parts(parts in prop::collection::vec(
        prop::sample::select(vec![
            "[", "]", "{", "}", "=", ".", ",", "\n", "\"", "'", "\"\"\"", "#", " ", "\\u00", "é",
            "routes", "a", "1", "-", "0x", "true", "inf", "1979-05-27", "${", "}", "[[", "]]",
        ]),
        0..60,
    )) {
        read(&parts.concat());
    }

    #[test]
    fn documents_with_lines_moved_and_characters_changed(
        which in 0..2_usize,
        lines in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 0..4),
    ) {
        let mut text: Vec<&str> = DOCUMENTS[which].lines().collect();
        for (one, other) in lines {
            let (one, other) = (one.index(text.len()), other.index(text.len()));
            text.swap(one, other);
        }
        let mut text: Vec<char> = text.join("\n").chars().collect();
        for (at, c) in edits {
            let at = at.index(text.len());
            text[at] = c;
        }
        read(&text.into_iter().collect::<String>());
    }

    #[test]
    fn documents_with_values_of_any_kind(
        which in 0..2_usize,
        line in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![
            "1", "-1", "1.5", "true", "\"\"", "\"x\"", "[]", "{}", "[1]", "[[]]", "{ file = \"\" }",
            "{ file = [] }", "{ a = {} }", "\"${A}\"", "\"${AB}\"", "2001-01-01", "nan",
        ]),
    ) {
        let mut lines: Vec<String> = DOCUMENTS[which].lines().map(str::to_owned).collect();
        let line = line.index(lines.len());
        if let Some((key, _)) = lines[line].split_once(" = ") {
            lines[line] = format!("{key} = {value}");
        }
        read(&lines.join("\n"));
    }
}

#[test]
fn deep_nesting() {
    read(&format!("a = {}", "[".repeat(100_000)));
    read(&format!("a = {}{}", "[".repeat(70), "]".repeat(70)));
    read(&"a.".repeat(100_000));
    read(&format!("{}b = 1", "a.".repeat(75)));
    read(&format!("[{}b]", "a.".repeat(100_000)));
    let inline = "{ a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a = ".repeat(60) + "1" + &" }".repeat(60);
    read(&format!("a = {inline}"));
}

#[test]
fn ten_thousand_routes() {
    // Unoptimised a tenth will do.
    let count = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
    let mut text = String::from("[listeners.http]\naddress = '0.0.0.0:80'\n");
    for n in 0..count {
        write!(
            text,
            "[upstreams.u{n}]\nendpoints = ['10.0.0.1:80']\n\
             [services.s{n}]\nversions = {{ v = {{ upstream = 'u{n}', weight = 1 }} }}\n\
             [routes.r{n}]\nhost = 'h.example.com'\nheaders = {{ x-tenant = '{n}' }}\nservice = 's{n}'\n",
        )
        .unwrap();
    }
    let started = std::time::Instant::now();
    let loaded = parse_with(&text, "many.toml", &|_| None).unwrap();
    assert_eq!(loaded.config.routes.len(), count);
    println!("{count} routes: {:?}", started.elapsed());
    let started = std::time::Instant::now();
    let faults = parse_with(&text.replace("service = 's", "service = 'x"), "many.toml", &|_| None);
    assert_eq!(faults.unwrap_err().len(), count);
    println!("{count} faults: {:?}", started.elapsed());
}
