//! Checks across tables, after each was read on its own.

mod addresses;
mod precedence;
mod tls;
mod unused;
mod waf;

use crate::{
    Config,
    document::{Node, Span},
    report::{Note, Report},
    shape::join,
};

/// Reports what is wrong between the tables of `config`, which was read from `root`. Entries
/// that could not be read are not in `config`; nothing is concluded from their absence.
pub(crate) fn check(config: &Config, root: &Node, report: &mut Report) {
    let mut check = Check { config, root, report };
    addresses::check(&mut check);
    tls::check(&mut check);
    precedence::check(&mut check);
    waf::check(&mut check);
    unused::check(&mut check);
}

struct Check<'a> {
    config: &'a Config,
    root: &'a Node,
    report: &'a mut Report,
}

impl Check<'_> {
    fn fault(&mut self, path: &[&str], message: impl Into<String>) -> &mut Note {
        let at = self.at(path);
        self.report.fault(at, &join(path), message)
    }

    fn warn(&mut self, path: &[&str], message: impl Into<String>) -> &mut Note {
        let at = self.at(path);
        self.report.warn(at, &join(path), message)
    }

    /// Whether the document has this value, readable or not.
    fn has(&self, path: &[&str]) -> bool {
        self.root.find(path).is_some()
    }

    /// The place of a value, or of the nearest thing around it that the document has.
    fn at(&self, path: &[&str]) -> Span {
        (0..=path.len())
            .rev()
            .find_map(|length| self.root.find(&path[..length]))
            .map_or(Span::NOWHERE, |node| node.at)
    }
}
