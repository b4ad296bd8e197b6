//! Reads files and what they include, each fault with its file and line.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    directive::{Directive, Located},
    fault::{Fault, Position, show},
    lexer,
};

/// How deep includes nest, and how many files and bytes one load reads at most.
const DEPTH: usize = 16;
const FILES: usize = 2_000;
const BYTES: usize = 64 << 20;

/// Where rule and data files come from.
///
/// The engine itself never touches a disk: a fuzz target or a test gives [`Memory`].
pub trait Files: Send + Sync {
    /// The content of a file.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The files a pattern with `*`, `?` or `[..]` in its last component finds, sorted.
    ///
    /// # Errors
    /// Whatever keeps the directory from being listed.
    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;
}

/// Files on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let directory = match pattern.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => Path::new("/"),
        };
        let Some(name) = pattern.file_name() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let matches = path
                .file_name()
                .is_some_and(|n| wildcard(name.as_encoded_bytes(), n.as_encoded_bytes()));
            if matches && path.is_file() {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Files in memory, for tests and fuzzing.
#[derive(Clone, Debug, Default)]
pub struct Memory(pub BTreeMap<PathBuf, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = pattern.as_os_str().as_encoded_bytes();
        Ok(self
            .0
            .keys()
            .filter(|path| wildcard(pattern, path.as_os_str().as_encoded_bytes()))
            .cloned()
            .collect())
    }
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The directives of all readable lines, even when there are faults, so that the compiler can
    /// add its own to the list.
    pub(crate) directives: Vec<Located>,
    pub(crate) faults: Vec<Fault>,
    /// The files, in the order they were opened; one that is included twice is here twice.
    pub(crate) files: Vec<Arc<Path>>,
}

/// Collects directives and faults while it follows includes.
pub(super) struct Reader<'f> {
    files: &'f dyn Files,
    read: Read,
    open: Vec<PathBuf>,
    bytes: usize,
}

impl<'f> Reader<'f> {
    pub(super) fn new(files: &'f dyn Files) -> Self {
        Self { files, read: Read::default(), open: Vec::new(), bytes: 0 }
    }

    pub(super) fn root(&mut self, path: &Path) {
        let at = Position { file: path.into(), line: 0 };
        self.file(path, &at);
    }

    pub(super) fn finish(self) -> Read {
        self.read
    }

    fn file(&mut self, path: &Path, from: &Position) {
        if self.open.iter().any(|open| open == path) {
            return self.fault(from, format!("`{}` includes itself", path.display()));
        }
        let file: Arc<Path> = path.into();
        self.read.files.push(Arc::clone(&file));
        if self.open.len() >= DEPTH || self.read.files.len() > FILES {
            return self.fault(
                from,
                format!("more than {FILES} files, or includes more than {DEPTH} deep"),
            );
        }
        let text = match self.files.read(path) {
            Ok(text) => text,
            Err(error) => {
                return self.fault(from, format!("cannot read `{}`: {error}", path.display()));
            }
        };
        self.bytes += text.len();
        if self.bytes > BYTES {
            return self.fault(from, format!("more than {} MiB of rule files", BYTES >> 20));
        }
        self.open.push(path.to_owned());
        for line in lexer::lines(&text) {
            match line {
                Ok(line) => {
                    let at = Position { file: Arc::clone(&file), line: line.number };
                    match Directive::parse(&line.words) {
                        Ok(Directive::Include(pattern, optional)) => {
                            self.include(&pattern, optional, &at)
                        }
                        Ok(directive) => self.read.directives.push(Located { at, directive }),
                        Err(wrong) => {
                            for what in wrong {
                                self.fault(&at, what);
                            }
                        }
                    }
                }
                Err((line, what)) => self.fault(&Position { file: Arc::clone(&file), line }, what),
            }
        }
        self.open.pop();
    }

    fn include(&mut self, pattern: &[u8], optional: bool, at: &Position) {
        let Ok(pattern) = std::str::from_utf8(pattern) else {
            return self.fault(at, format!("a path that is not UTF-8: `{}`", show(pattern)));
        };
        let path = beside(&at.file, Path::new(pattern));
        if !pattern.contains(['*', '?', '[']) {
            if optional
                && self.files.read(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
            {
                return;
            }
            return self.file(&path, at);
        }
        match self.files.glob(&path) {
            Ok(paths) if paths.is_empty() && !optional => {
                self.fault(at, format!("`{pattern}` finds no file"))
            }
            Ok(paths) => {
                for path in paths {
                    self.file(&path, at);
                }
            }
            Err(error) => self.fault(at, format!("cannot list `{pattern}`: {error}")),
        }
    }

    fn fault(&mut self, at: &Position, what: String) {
        self.read.faults.push(Fault::new(at, what));
    }
}

/// `path` as seen from the file that names it.
pub(crate) fn beside(file: &Path, path: &Path) -> PathBuf {
    match file.parent() {
        Some(directory) if path.is_relative() => directory.join(path),
        _ => path.to_owned(),
    }
}

/// Shell wildcards: `*`, `?` and `[a-z]`.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[p..], text[t]),
            Some(&byte) if byte == text[t] => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(width), _) => {
                p += width;
                t += 1;
            }
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// The width of the `[..]` at the start of `pattern` if it holds `byte`.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let end = pattern.iter().skip(2).position(|&b| b == b']')? + 2;
    let (negated, set) = match pattern[1..end].split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        _ => (false, &pattern[1..end]),
    };
    let mut inside = false;
    let mut at = 0;
    while at < set.len() {
        if set.get(at + 1) == Some(&b'-') && at + 2 < set.len() {
            inside |= (set[at]..=set[at + 2]).contains(&byte);
            at += 3;
        } else {
            inside |= set[at] == byte;
            at += 1;
        }
    }
    (inside != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(files: &[(&str, &str)]) -> Memory {
        Memory(files.iter().map(|(p, t)| (PathBuf::from(p), t.as_bytes().to_vec())).collect())
    }

    #[test]
    fn follows_globs_in_order_and_names_every_fault() {
        let files = memory(&[
            (
                "/r/main.conf",
                "Include rules/*.conf\nIncludeOptional none/*.conf\nInclude gone.conf\nNope x\n",
            ),
            ("/r/rules/b.conf", "SecMarker B\n"),
            ("/r/rules/a.conf", "SecMarker A\nInclude ../main.conf\n"),
        ]);
        let read = super::super::read(&files, &[Path::new("/r/main.conf")]);
        let markers: Vec<_> = read.directives.iter().map(|l| l.at.to_string()).collect();
        assert_eq!(markers, ["/r/rules/a.conf:1", "/r/rules/b.conf:1"]);
        let faults: Vec<_> = read.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(
            faults[1].starts_with("/r/main.conf:3: cannot read `/r/gone.conf`"),
            "{}",
            faults[1]
        );
        assert_eq!(faults[2], "/r/main.conf:4: unknown directive `Nope`");
    }

    #[test]
    fn a_file_that_includes_itself_is_a_fault() {
        let files = memory(&[("/a.conf", "Include /a.conf\n")]);
        let read = super::super::read(&files, &[Path::new("/a.conf")]);
        assert_eq!(read.faults[0].to_string(), "/a.conf:1: `/a.conf` includes itself");
    }

    #[test]
    fn wildcards() {
        assert!(wildcard(b"a*c?", b"abbcd"));
        assert!(wildcard(b"[a-c]x*", b"bx"));
        assert!(!wildcard(b"[!a]x", b"ax"));
        assert!(!wildcard(b"*.conf", b"a.data"));
    }
}
