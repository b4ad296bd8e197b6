use crate::{
    document::{Env, Files, Node, Span, Text, shorten},
    report::{Note, Report},
};

/// What shapes read with: where they are, what they may look up, where faults go.
pub(crate) struct Cx<'a> {
    pub(crate) files: &'a mut Files,
    pub(crate) report: &'a mut Report,
    pub(crate) env: Env<'a>,
    /// The whole document, for references.
    pub(crate) root: &'a Node,
    path: Vec<String>,
}

/// Why a text is not what was expected.
#[derive(Debug, Default)]
pub(crate) struct Misfit {
    message: Option<String>,
    help: Option<String>,
}

impl Misfit {
    /// It has another form; "expected .., found .." says it all.
    pub(crate) fn form() -> Self {
        Self::default()
    }

    /// It has the form but something else is wrong with it.
    pub(crate) fn because(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), help: None }
    }

    /// Adds what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl<'a> Cx<'a> {
    pub(crate) fn new(
        files: &'a mut Files,
        report: &'a mut Report,
        env: Env<'a>,
        root: &'a Node,
    ) -> Self {
        Self { files, report, env, root, path: Vec::new() }
    }

    /// Reads what stands under `key`, so that faults carry its path.
    pub(crate) fn inside<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let value = read(self);
        self.path.pop();
        value
    }

    /// The path of what is being read.
    pub(crate) fn path(&self) -> String {
        join(&self.path)
    }

    pub(crate) fn fault(&mut self, at: Span, message: impl Into<String>) -> &mut Note {
        let path = self.path();
        self.report.fault(at, &path, message)
    }

    /// The value is not of the kind that was expected.
    pub(crate) fn unexpected(&mut self, node: &Node, expected: &str) -> &mut Note {
        let found = node.describe();
        self.fault(node.at, format!("expected {expected}, found {found}"))
    }

    /// The value is of the kind expected but not right. Of a text that a reference brought in,
    /// which may be a secret in the wrong place, nothing derived from it is said.
    pub(crate) fn misfit(&mut self, at: Span, expected: &str, found: &Text, why: Misfit) {
        let why = if found.literal { why } else { Misfit::form() };
        let form = || format!("expected {expected}, found {}", found.shown);
        let note = self.fault(at, why.message.unwrap_or_else(form));
        if let Some(help) = why.help {
            note.help(help);
        }
    }

    /// The text of a string or of a `{ file = ".." }`, variables expanded.
    pub(crate) fn text(&mut self, node: &Node, expected: impl FnOnce() -> String) -> Option<Text> {
        let reference = node.as_file_reference();
        match Text::expand(reference.unwrap_or(node), self.env) {
            Some(Ok(text)) if reference.is_some() => self.referenced(node, &text.value),
            Some(Ok(text)) => Some(text),
            Some(Err(why)) => {
                self.fault(node.at, why);
                None
            }
            None => {
                self.unexpected(node, &expected());
                None
            }
        }
    }

    fn referenced(&mut self, node: &Node, path: &str) -> Option<Text> {
        let path = self.files.resolve(node.at.file, path);
        match self.files.read_reference(&path) {
            Ok(value) => Some(Text::brought(value, format!("the content of `{}`", path.display()))),
            Err(why) => {
                self.fault(node.at, format!("`{}`: {why}", path.display()));
                None
            }
        }
    }
}

/// Keys as one path, those that are not bare in quotes: `routes."a b".rate_limits[2]`.
pub(crate) fn join<S: AsRef<str>>(path: &[S]) -> String {
    let mut joined = String::new();
    for step in path.iter().map(AsRef::as_ref) {
        let bare = !step.is_empty()
            && step.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if step.starts_with('[') {
            joined.push_str(step);
            continue;
        }
        if !joined.is_empty() {
            joined.push('.');
        }
        match bare {
            true => joined.push_str(&shorten(step)),
            false => joined.push_str(&format!("\"{}\"", shorten(step))),
        }
    }
    joined
}
