//! The configuration document: what an operator writes, read with all its faults at once.
//!
//! Two layers: the *document* is what the files say, kept with positions so that a fault can
//! point at them; [`Config`] is what is left when every value has been parsed and every name
//! refers to something. Nothing here knows the network or an async runtime.

pub mod model;
pub mod units;

pub use model::*;
pub use units::*;
