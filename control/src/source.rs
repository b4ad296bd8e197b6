//! Where the document comes from: files, or a text built into the binary.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, path::PathBuf, sync::Arc};
use tidegate_config::{Config, Faults, Loaded};

/// Reads the document. Called from a thread that may block, one call at a time.
pub trait Source: Send + Sync + 'static {
    /// Reads and validates all of it; every fault found is reported, not only the first.
    fn load(&self) -> Result<Document, Vec<Fault>>;

    /// The files named by the operator, watched even while the document cannot be read. Empty
    /// when there is nothing to watch.
    fn files(&self) -> Vec<PathBuf>;
}

/// A document that passed validation.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it means.
    pub config: Arc<Config>,
    /// What it says, merged, with every secret replaced by `"***"`.
    pub json: Arc<serde_json::Value>,
    /// Each file it was read from.
    pub files: Vec<SourceFile>,
    /// Directories in which a new file would change it (`include`).
    pub directories: Vec<PathBuf>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
}

impl Document {
    /// SHA-256 in hex over what it says and the files it was read from: equal digests are the
    /// same document.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for file in &self.files {
            hash.update(file.path.as_os_str().as_encoded_bytes());
            hash.update([0]);
            hash.update(file.digest.as_bytes());
            hash.update([0]);
        }
        hash.update(self.json.to_string().as_bytes());
        hex::encode(hash.finalize())
    }
}

impl Document {
    /// Takes note of what was read for it later on: what is there counts instead of what was
    /// found when the document was loaded.
    pub(crate) fn follow(mut self, read: Vec<SourceFile>) -> Self {
        for file in read {
            match self.files.iter_mut().find(|known| known.path == file.path) {
                Some(known) => known.digest = file.digest,
                None => self.files.push(file),
            }
        }
        self
    }
}

impl From<Loaded> for Document {
    fn from(loaded: Loaded) -> Self {
        let file =
            |file: tidegate_config::Source| SourceFile { path: file.path, digest: file.sha256 };
        Self {
            config: Arc::new(loaded.config),
            json: Arc::new(loaded.document),
            files: loaded.files.into_iter().map(file).collect(),
            directories: loaded.directories,
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The files of the command line.
#[derive(Clone, Debug)]
pub struct Files(
    /// In the order in which they are merged.
    pub Vec<PathBuf>,
);

impl Source for Files {
    fn load(&self) -> Result<Document, Vec<Fault>> {
        tidegate_config::load(&self.0).map(Document::from).map_err(|faults| of(&faults))
    }

    fn files(&self) -> Vec<PathBuf> {
        self.0.clone()
    }
}

/// A text that is in no file.
#[derive(Clone, Debug)]
pub struct Text {
    /// What stands for a file in faults.
    pub name: &'static str,
    /// The document.
    pub text: String,
}

impl Source for Text {
    fn load(&self) -> Result<Document, Vec<Fault>> {
        let loaded = tidegate_config::parse(&self.text, self.name);
        loaded.map(Document::from).map_err(|faults| of(&faults))
    }

    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

fn of(faults: &Faults) -> Vec<Fault> {
    faults.iter().map(Fault::from).collect()
}

/// A file the document was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceFile {
    /// Its path, as named on the command line or found by `include`.
    pub path: PathBuf,
    /// SHA-256 of its content, in hex.
    pub digest: String,
}

/// One thing wrong with a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The file it is in, if it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1; absent if the file as a whole is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column in characters, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The key, such as `routes.shop.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was expected and what was found.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Fault {
    /// A fault that belongs to no place in a file.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
}

impl From<&tidegate_config::Fault> for Fault {
    fn from(fault: &tidegate_config::Fault) -> Self {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let number = |number: usize| (number > 0).then_some(number);
        Self {
            file: text(&fault.file.to_string_lossy()),
            line: number(fault.line),
            column: number(fault.col),
            key: text(&fault.path),
            message: fault.message.clone(),
            help: fault.help.clone(),
        }
    }
}

impl fmt::Display for Fault {
    /// `tidegate.toml:12:9: routes.shop.service: no service named ...; did you mean ...?`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let (Some(line), Some(column)) = (self.line, self.column) {
                write!(f, "{line}:{column}:")?;
            }
            f.write_str(" ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}
