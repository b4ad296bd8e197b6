//! Files and their includes, merged into one tree.
//!
//! A file is laid over what it includes, in the order its `include` lists them, and each `-c`
//! over the one before.

use super::{Env, Files, Node, Span, Text, Value, glob, syntax};
use crate::report::Report;
use std::path::{Path, PathBuf};

/// Files that may be included in one load, counted each time.
const MAX_INCLUDES: usize = 1_000;
/// Files that include each other in a row.
const MAX_DEPTH: usize = 16;

/// Reads and merges `paths`.
pub(crate) fn gather(
    paths: &[PathBuf],
    files: &mut Files,
    env: Env<'_>,
    report: &mut Report,
) -> Node {
    let mut layers = Layers { files, env, report, open: Vec::new(), included: 0 };
    let mut root = Node::empty(Span::NOWHERE);
    for path in paths {
        layers.lay_file(&mut root, path, None);
    }
    root
}

/// Reads `text` as if it stood in a file called `name`.
pub(crate) fn gather_text(
    name: &str,
    text: &str,
    files: &mut Files,
    env: Env<'_>,
    report: &mut Report,
) -> Node {
    let file = files.add_text(name, text);
    let mut layers = Layers { files, env, report, open: vec![name.into()], included: 0 };
    let mut root = Node::empty(Span::NOWHERE);
    layers.lay(&mut root, file);
    root
}

struct Layers<'a> {
    files: &'a mut Files,
    env: Env<'a>,
    report: &'a mut Report,
    /// The file being read and those that include it, outermost first.
    open: Vec<PathBuf>,
    included: usize,
}

impl Layers<'_> {
    /// Lays a file over `root`; `from` is the `include` that names it.
    fn lay_file(&mut self, root: &mut Node, path: &Path, from: Option<Span>) {
        match self.files.read_document(path) {
            Ok(file) => {
                self.open.push(path.to_owned());
                self.lay(root, file);
                self.open.pop();
            }
            Err((file, why)) => {
                let (at, why) = match from {
                    Some(at) => (at, format!("`{}`: {why}", path.display())),
                    None => (Span::whole(file), why),
                };
                self.report.fault(at, if from.is_some() { "include" } else { "" }, why);
            }
        }
    }

    fn lay(&mut self, root: &mut Node, file: usize) {
        let mut layer = syntax::parse(self.files, file, self.report);
        let include = match &mut layer.value {
            Value::Table(table) => table.remove("include"),
            _ => None,
        };
        if let Some(include) = include {
            for (at, path) in self.includes(file, &include.node) {
                self.include(root, &path, at);
            }
        }
        root.merge(layer);
    }

    fn include(&mut self, root: &mut Node, path: &Path, at: Span) {
        self.included += 1;
        let shown = path.display();
        let fault = if self.included > MAX_INCLUDES {
            // One fault says it; a thousand more would not help.
            (self.included == MAX_INCLUDES + 1)
                .then(|| format!("more than {MAX_INCLUDES} files are included"))
        } else if self.open.iter().any(|open| same_file(open, path)) {
            Some(format!("`{shown}` includes itself"))
        } else if self.open.len() > MAX_DEPTH {
            Some(format!("includes are nested more than {MAX_DEPTH} deep"))
        } else {
            return self.lay_file(root, path, Some(at));
        };
        if let Some(message) = fault {
            self.report.fault(at, "include", message);
        }
    }

    /// The files an `include` names, globs expanded.
    fn includes(&mut self, file: usize, include: &Node) -> Vec<(Span, PathBuf)> {
        let Value::Array(items) = &include.value else {
            let message = format!(
                "expected an array of files such as `[\"conf.d/*.toml\"]`, found {}",
                include.describe()
            );
            self.report.fault(include.at, "include", message);
            return Vec::new();
        };
        items.iter().flat_map(|item| self.include_item(file, item)).collect()
    }

    fn include_item(&mut self, file: usize, item: &Node) -> Vec<(Span, PathBuf)> {
        let text = match Text::expand(item, self.env) {
            Some(Ok(text)) if !text.value.is_empty() => text.value,
            Some(Err(why)) => {
                self.report.fault(item.at, "include", why);
                return Vec::new();
            }
            _ => {
                let message = format!("expected a file or a glob, found {}", item.describe());
                self.report.fault(item.at, "include", message);
                return Vec::new();
            }
        };
        let path = self.files.resolve(file, &text);
        if !glob::is_glob(&path) {
            return vec![(item.at, path)];
        }
        self.files.add_directory(glob::directory_of(&path).to_owned());
        match glob::expand(&path) {
            Ok(found) => found.into_iter().map(|path| (item.at, path)).collect(),
            Err(error) => {
                let message = format!("cannot list `{}`: {error}", path.display());
                self.report.fault(item.at, "include", message);
                Vec::new()
            }
        }
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}
