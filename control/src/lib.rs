//! The control plane.

pub mod ports;
