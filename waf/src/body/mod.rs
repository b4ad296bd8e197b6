//! Request bodies taken apart into what rules look at.
//!
//! Each processor is a pure function of the body and its [`Limits`]; none copies
//! the body, calls out or panics on any bytes. Names, values and flags are those
//! of libmodsecurity 3.0.9, which the Core Rule Set is tested on. Where that loses
//! bytes a back end would see, the bytes are kept; each such place says so, under
//! the words "Unlike libmodsecurity".
//!
//! What was read before an error or a limit is handed over with it: whether such
//! a request is refused is the policy's decision, and one that is let through has
//! still been looked at.

pub mod json;
mod limits;
pub mod multipart;
pub mod urlencoded;
pub mod xml;

pub use limits::Limits;

/// A name and its value, as `ARGS` shows them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Argument {
    /// Decoded name; may be empty.
    pub name: Vec<u8>,
    /// Decoded value; may be empty.
    pub value: Vec<u8>,
}
