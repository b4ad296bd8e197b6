//! SecLang, the language rule sets are written in: from files to directives with positions.
//!
//! Nothing is skipped silently. What the engine does not know is a [`Fault`] with file and
//! line, and reading goes on behind it, so that one load reports all of them. What it knows
//! but leaves to the policy (limits, audit logs, whether the engine is on) is a directive like
//! any other; the compiler turns it into a notice.
//!
//! The text of a rule is bytes: patterns and phrases need not be UTF-8.

mod action;
mod directive;
mod fault;
mod include;
mod lexer;
mod operator;
mod setting;
mod target;
mod template;

pub(crate) use action::{
    Access, Action, Allow, Bodies, Control, Disruption, Sanitise, SetVar, SetVarOp, Switch,
};
pub(crate) use directive::{Directive, Located, TagOrId};
pub use fault::{Fault, Faults, Position};
pub(crate) use fault::{show, sort};
pub use include::{Disk, Files, Memory};
pub(crate) use include::{Read, beside};
pub(crate) use operator::{OperatorName, OperatorText};
pub(crate) use setting::Setting;
pub use target::Collection;
pub(crate) use target::{Selector, Target};
pub(crate) use template::{Part, Template};

use std::path::Path;

/// Reads `roots` in their order, with everything they include.
pub(crate) fn read(files: &dyn Files, roots: &[&Path]) -> Read {
    let mut reader = include::Reader::new(files);
    for root in roots {
        reader.root(root);
    }
    reader.finish()
}
