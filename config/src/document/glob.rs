//! `*` and `?` in the last part of a path: all that `include` needs.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Whether `pattern`'s last part has a wildcard.
pub(crate) fn is_glob(pattern: &Path) -> bool {
    pattern.file_name().is_some_and(|name| name.to_string_lossy().contains(['*', '?']))
}

/// The files `pattern` matches, in the order of their names. A directory that does not exist
/// has none. As in a shell, names that start with a dot need a pattern that does, too.
pub(crate) fn expand(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let directory = directory_of(pattern);
    let entries = match directory.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let file = entry.file_name();
        let Some(file) = file.to_str() else { continue };
        let hidden = file.starts_with('.') && !name.starts_with('.');
        if !hidden && matches(name.as_bytes(), file.as_bytes()) && entry.path().is_file() {
            found.push(pattern.with_file_name(file));
        }
    }
    found.sort();
    Ok(found)
}

/// The directory `pattern` looks through.
pub(crate) fn directory_of(pattern: &Path) -> &Path {
    match pattern.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Matches greedily and goes back to the last `*` only: linear in the name for each `*`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_and_question_mark() {
        let matches = |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes());
        assert!(matches("*.toml", "a.toml"));
        assert!(matches("*.toml", ".toml"));
        assert!(matches("1?-*", "10-shop.toml"));
        assert!(matches("*a*b*", "xxaxxbxx"));
        assert!(matches("*", ""));
        assert!(!matches("*.toml", "a.toml~"));
        assert!(!matches("?", ""));
        assert!(!matches("a*b", "acbd"));
    }

    #[test]
    fn many_stars_stay_quick() {
        let pattern = "*a".repeat(40) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(2_000).as_bytes()));
    }
}
