//! Moving traffic between versions: weights, assignment and the runtime state they live in.
//! Pure: time and randomness are passed in.
//!
//! Plans and evidence join this crate with automated releases.

pub mod assign;
pub mod state;

pub use assign::{Salt, Unit, assign};
pub use state::{EndpointAdmin, RuntimeState};
