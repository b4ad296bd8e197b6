//! Values with a unit or a grammar of their own. Each parses from a string once, at the edge.

mod duration;
mod name;
mod rate;
mod secret;
mod size;
mod weight;

pub use duration::{InvalidDuration, parse_duration, show_duration};
pub use name::{InvalidName, Name};
pub use rate::{InvalidRate, Rate};
pub use secret::Secret;
pub use size::{ByteSize, InvalidByteSize};
pub use weight::{InvalidWeight, Weight};

/// Splits `12.5MiB` into its number and its unit.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// Reads a plain decimal such as `12` or `12.5` as `numerator / 10^digits`. No sign, no
/// exponent, a digit on both sides of the point.
fn decimal(text: &str) -> Option<(u64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let numerator = format!("{whole}{fraction}").parse().ok()?;
    Some((numerator, u32::try_from(fraction.len()).ok()?))
}
