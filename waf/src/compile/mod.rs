//! From directives to an immutable [`Ruleset`].

mod build;
mod draft;
mod finish;
mod macros;
mod operate;
mod prefilter;
mod rule;
mod ruleset;
mod shared;
mod watch;

pub(crate) use macros::{CAPTURE_SLOTS, Macro, Names, Piece};
pub(crate) use prefilter::Prefilter;
pub(crate) use rule::{Change, ChangeOp, Disposition, Effect, Link, Rule, RuleBits};
pub use ruleset::Ruleset;
pub(crate) use ruleset::{Atom, Step};
pub(crate) use watch::{Exclusion, Pick, Watch};
