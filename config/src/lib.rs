//! The configuration document: what an operator writes, read with all its faults at once.
//!
//! Two layers: the *document* is what the files say, kept with positions so that a fault can
//! point at them; [`Config`] is what is left when every value has been parsed and every name
//! refers to something. Nothing here knows the network or an async runtime.
//!
//! # From files to a configuration
//!
//! 1. **Gather.** Each `-c` file is parsed to a tree whose values know their file and byte
//!    range. What a file includes is merged first, in the order of its `include`, globs sorted
//!    by name; then the file itself is laid over that, and each `-c` over the one before.
//!    Tables merge key by key; a later scalar or array replaces the earlier one whole; the
//!    same key twice in one file is a fault.
//! 2. **Read.** Every table of [`model`] is declared once, and that declaration decodes it,
//!    describes it as JSON Schema ([`schema()`]) and as Markdown ([`reference()`]), and compares it
//!    ([`diff()`]). A fault does not stop the reading. Unknown keys are faults.
//! 3. **Resolve.** Where a text is expected, `${NAME}` and `${NAME:-default}` stand for
//!    environment variables (`$${` is a plain `${`) and `{ file = ".." }` for a file's content
//!    without its trailing newline. Only values in force are resolved: one that an overlay
//!    replaces may refer to what does not exist.
//! 4. **Check.** Then what no table shows alone: references, addresses, the certificates that
//!    routes need, and that of any two routes that can match the same request one has
//!    precedence.
//!
//! A relative path is relative to the file that names it. Bounds: 16 MiB a file, 64 MiB
//! together, 1,000 includes, 16 deep; 64 KiB behind a `{ file = ".." }`.
//!
//! # Secrets
//!
//! No fault, warning, diff or [`Loaded::document`] shows a [`Secret`]. Nor do they show text
//! that a reference brought in where something else was expected, or the value of a misspelt
//! key: either may be a secret in the wrong place.
//!
//! ```
//! let faults = tidegate_config::parse("[server]\ndrain = \"2 sconds\"\n", "tidegate.toml").unwrap_err();
//! assert_eq!(
//!     faults.iter().next().unwrap().to_string(),
//!     "tidegate.toml:2:9: server.drain: expected a duration such as `2s`, found `2 sconds`",
//! );
//! ```

mod check;
mod diff;
mod document;
mod fault;
mod later;
mod load;
mod nearest;
mod reference;
mod report;
mod rule_files;
mod schema;
mod shape;

pub mod model;
pub mod units;

pub use diff::{Diff, DiffLine, Effect, diff};
pub use document::Source;
pub use fault::{Fault, Faults};
pub use load::{Loaded, load, load_with, parse, parse_with};
pub use model::*;
pub use reference::reference;
pub use rule_files::CRS_VARIABLE;
pub use schema::schema;
pub use units::*;
