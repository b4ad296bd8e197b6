//! Finding the files of WAF policies: rules, and lists of addresses.

use crate::{AddressList, Waf, WafRules, document::glob};
use std::path::{Path, PathBuf};

/// Names a directory with a Core Rule Set: `crs-setup.conf` and `rules/`. Looked at before the
/// usual places.
pub const CRS_VARIABLE: &str = "TIDEGATE_CRS";

/// Where an installed Core Rule Set is looked for: the set-up file and the rules' directory.
const PLACES: [(&str, &str); 3] = [
    ("/etc/tidegate/crs/crs-setup.conf", "/etc/tidegate/crs/rules"),
    ("/usr/share/tidegate/crs/crs-setup.conf", "/usr/share/tidegate/crs/rules"),
    // Debian's package `modsecurity-crs`.
    ("/etc/modsecurity/crs/crs-setup.conf", "/usr/share/modsecurity-crs/rules"),
];

impl Waf {
    /// The files of its rules in the order they are read in; says as a fragment why there are
    /// none.
    pub fn rule_files(&self) -> Result<Vec<PathBuf>, String> {
        let mut files = Vec::new();
        for rules in &self.rules {
            files.extend(match rules {
                WafRules::Crs => installed()?,
                WafRules::Files(pattern) => expand(pattern)?,
            });
        }
        Ok(files)
    }
}

impl AddressList {
    /// Its files in their order; says as a fragment why there are none.
    pub fn files(&self) -> Result<Vec<PathBuf>, String> {
        let mut files = Vec::new();
        for pattern in &self.files {
            files.extend(expand(pattern)?);
        }
        Ok(files)
    }

    /// Directories in which a new file may belong to it.
    pub(crate) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let globs = self.files.iter().filter(|pattern| glob::is_glob(pattern));
        globs.map(|pattern| glob::directory_of(pattern).to_owned())
    }
}

/// The files of a pattern; a plain path must exist, a glob must match something: a policy
/// without the rules that were meant would be worse than none.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |what: String| format!("`{}`: {what}", pattern.display());
    if !glob::is_glob(pattern) {
        return match pattern.is_file() {
            true => Ok(vec![pattern.to_owned()]),
            false => Err(cannot("no such file".to_owned())),
        };
    }
    let found = glob::expand(pattern).map_err(|error| cannot(error.to_string()))?;
    if found.is_empty() { Err(cannot("matches no file".to_owned())) } else { Ok(found) }
}

fn installed() -> Result<Vec<PathBuf>, String> {
    let named = std::env::var_os(CRS_VARIABLE).map(PathBuf::from);
    let named = named.iter().map(|home| (home.join("crs-setup.conf"), home.join("rules")));
    let usual = PLACES.iter().map(|(setup, rules)| (PathBuf::from(setup), PathBuf::from(rules)));
    for (setup, rules) in named.chain(usual) {
        if !rules.is_dir() {
            continue;
        }
        // As it comes, the set-up is an example that sets what the rules' defaults are.
        let example = setup.with_extension("conf.example");
        let setup = [setup, example].into_iter().find(|file| file.is_file());
        let mut files: Vec<_> = setup.into_iter().collect();
        files.extend(expand(&rules.join("*.conf"))?);
        return Ok(files);
    }
    Err(format!(
        "no Core Rule Set is installed: unpack one to `/etc/tidegate/crs`, name its directory in \
         `{CRS_VARIABLE}`, or install Debian's `modsecurity-crs`"
    ))
}

/// What the rules read beside themselves: phrase and address lists in their directories.
pub fn data_files(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut directories: Vec<_> = files.iter().filter_map(|file| file.parent()).collect();
    directories.dedup();
    let lists = directories.into_iter().filter_map(|dir| glob::expand(&dir.join("*.data")).ok());
    lists.flatten().collect()
}
