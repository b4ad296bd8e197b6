//! The document as written: files, the tree they merge into, and where each value stands.

mod files;
pub(crate) mod glob;
mod layers;
mod node;
mod syntax;
mod text;

pub use files::Source;
pub(crate) use files::{Files, Span};
pub(crate) use layers::{gather, gather_text};
pub(crate) use node::{Entry, Node, Value, shorten};
pub(crate) use text::Text;

/// How a variable of the environment is looked up.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;
