//! The document described for people: Markdown, from the same definitions it is read by.

use crate::{
    schema,
    shape::{Catalogue, Key, TableDoc},
};
use serde_json::Value as Json;
use std::fmt::Write;

/// A complete reference of the document in Markdown: `docs/configuration.md`.
pub fn reference() -> String {
    let catalogue = schema::catalogue();
    let mut out = String::from(INTRODUCTION);
    for table in catalogue.tables() {
        // Writing to a string cannot fail.
        let _ = write_table(&mut out, table, &catalogue);
    }
    out
}

fn write_table(out: &mut String, table: &TableDoc, catalogue: &Catalogue) -> std::fmt::Result {
    write!(out, "\n## {}\n\n", heading(table))?;
    if table.places.iter().any(|place| !place.is_empty()) {
        write!(
            out,
            "{}

",
            description(table)
        )?;
    }
    out.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in &table.keys {
        let value = value(key, catalogue);
        let default = match (&key.default, key.required) {
            (_, true) => "*required*".to_owned(),
            (Some(default), _) => format!("`{}`", toml(default)),
            (None, _) => String::new(),
        };
        let cells = [format!("`{}`", key.name), value, default, key.doc.clone()];
        writeln!(out, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))?;
    }
    Ok(())
}

/// A table's documentation without its place, which the heading has.
fn description(table: &TableDoc) -> String {
    let doc = match table.doc.split_once("`: ") {
        Some((place, doc)) if place.starts_with("`[") => doc,
        _ => &table.doc,
    };
    let (first, rest) = doc.split_at(doc.len().min(1));
    first.to_uppercase() + rest
}

fn heading(table: &TableDoc) -> String {
    let places: Vec<_> = table.places.iter().map(|place| format!("`[{place}]`")).collect();
    match table.places.first().map(String::as_str) {
        Some("") | None => "Top level".to_owned(),
        Some(_) => places.join(", "),
    }
}

/// What a key holds, with links to the tables it leads to.
fn value(key: &Key, catalogue: &Catalogue) -> String {
    let mut names = Vec::new();
    referenced(&key.shape, &mut names);
    let tables = catalogue.tables().iter().filter(|table| names.contains(&table.name));
    let links: Vec<_> =
        tables.map(|table| format!("[{}](#{})", table.name, anchor(table))).collect();
    match links.is_empty() {
        true => key.expected.clone(),
        false => format!("{}: {}", key.expected, links.join(", ")),
    }
}

/// The names of the definitions a schema refers to.
fn referenced<'a>(schema: &'a Json, names: &mut Vec<&'a str>) {
    match schema {
        Json::Object(keys) => {
            if let Some(Json::String(target)) = keys.get("$ref") {
                names.extend(target.strip_prefix("#/$defs/"));
            }
            keys.values().for_each(|value| referenced(value, names));
        }
        Json::Array(items) => items.iter().for_each(|item| referenced(item, names)),
        _ => {}
    }
}

/// The anchor that Markdown renderers give a heading.
fn anchor(table: &TableDoc) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    heading(table).to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// A default as it would be written.
fn toml(value: &Json) -> String {
    match value {
        Json::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

const INTRODUCTION: &str = include_str!("reference.md");
