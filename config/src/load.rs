//! From files to a [`Config`].

use crate::{
    Config, Fault, Faults, Source, check,
    document::{self, Env, Files, Node},
    report::Report,
    shape::{Cx, read_table},
};
use std::path::PathBuf;

/// A configuration that was accepted, and what it was read from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The validated configuration.
    pub config: Config,
    /// Every file read, each once, in the order it was met: `-c` files, includes,
    /// `{ file = ".." }` references, the `tls` files of upstreams, those of client authentication, the rules of WAF policies,
    /// address lists and databases.
    pub files: Vec<Source>,
    /// Directories looked through by the globs of `include` and of address lists: a new file
    /// there changes the document, too.
    pub directories: Vec<PathBuf>,
    /// The merged document as written: references are not replaced by what they refer to, and
    /// literal secrets and the values of headers are `***`.
    pub document: serde_json::Value,
    /// What is allowed and yet worth a look.
    pub warnings: Vec<Fault>,
}

/// Reads configuration files, the later over the earlier, with the process' environment.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, Faults> {
    load_with(paths, &|name| std::env::var(name).ok())
}

/// Like [`load`], with variables looked up in `env`.
pub fn load_with(
    paths: &[PathBuf],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Faults> {
    read(env, |files, report| document::gather(paths, files, env, report))
}

/// Reads a document that is no file; `name` stands for the file in faults, and relative paths
/// in the text are relative to its directory.
pub fn parse(text: &str, name: &str) -> Result<Loaded, Faults> {
    parse_with(text, name, &|name| std::env::var(name).ok())
}

/// Like [`parse`], with variables looked up in `env`.
pub fn parse_with(
    text: &str,
    name: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Faults> {
    read(env, |files, report| document::gather_text(name, text, files, env, report))
}

fn read(
    env: Env<'_>,
    gather: impl FnOnce(&mut Files, &mut Report) -> Node,
) -> Result<Loaded, Faults> {
    let (mut files, mut report) = (Files::default(), Report::default());
    let root = gather(&mut files, &mut report);
    // What a broken file would have said is unknown: checking the rest would only mislead.
    let readable = report.count() == 0;
    let mut cx = Cx::new(&mut files, &mut report, env, &root);
    let config = if readable { read_table::<Config>(&root, "a table", &mut cx).0 } else { None };
    if let Some(config) = &config {
        check::check(config, &root, &mut report);
    }
    let document = root.to_json(&|at| report.is_masked(at));
    let warnings = report.finish(&files)?;
    let config = config.expect("without a fault every table was read");
    for tls in config.upstreams.values().filter_map(|upstream| upstream.tls.as_ref()) {
        let paths = tls.ca.iter().chain(&tls.certificate).chain(&tls.key);
        paths.for_each(|path| files.note(path));
    }
    for auth in config.client_auth.values() {
        files.note(&auth.ca);
        auth.crls.iter().for_each(|path| files.note_large(path));
    }
    for policy in config.waf.values() {
        // Without rules there is no policy; whoever compiles it says so.
        let rules = policy.rule_files().unwrap_or_default();
        // What they include, and the lists they read, whoever compiles them knows.
        rules.iter().for_each(|path| files.note(path));
    }
    for list in config.address_lists.values() {
        list.directories().for_each(|directory| files.add_directory(directory));
        list.files().unwrap_or_default().iter().for_each(|path| files.note_large(path));
    }
    config.geo.country.iter().chain(&config.geo.asn).for_each(|path| files.note_large(path));
    let (files, directories) = files.into_sources();
    Ok(Loaded { config, files, directories, document, warnings })
}
