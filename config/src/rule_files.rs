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
    /// The files of its rules in the order they are read in; says as fragments which are not
    /// there.
    pub fn rule_files(&self) -> Result<Vec<PathBuf>, Vec<String>> {
        all(self.rules.iter().map(|rules| match rules {
            WafRules::Crs => installed(),
            WafRules::Files(pattern) => expand(pattern),
        }))
    }
}

impl AddressList {
    /// Its files in their order; says as fragments which are not there.
    pub fn files(&self) -> Result<Vec<PathBuf>, Vec<String>> {
        all(self.files.iter().map(|pattern| expand(pattern)))
    }

    /// Directories in which a new file may belong to it.
    pub(crate) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let globs = self.files.iter().filter(|pattern| glob::is_glob(pattern));
        globs.map(|pattern| glob::directory_of(pattern).to_owned())
    }
}

fn all(
    found: impl Iterator<Item = Result<Vec<PathBuf>, String>>,
) -> Result<Vec<PathBuf>, Vec<String>> {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for found in found {
        match found {
            Ok(more) => files.extend(more),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(files) } else { Err(faults) }
}

/// The files of a pattern; a plain path must exist, a glob must match something: a policy
/// without the rules that were meant would be worse than none.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |what: String| format!("`{}`: {what}", pattern.display());
    if !glob::is_glob(pattern) {
        return match pattern {
            file if file.is_file() => Ok(vec![file.to_owned()]),
            directory if directory.is_dir() => {
                Err(cannot("is a directory: say which files of it, such as `*.conf`".to_owned()))
            }
            _ => Err(cannot("no such file".to_owned())),
        };
    }
    let found = glob::expand(pattern).map_err(|error| cannot(error.to_string()))?;
    if found.is_empty() { Err(cannot("matches no file".to_owned())) } else { Ok(found) }
}

fn installed() -> Result<Vec<PathBuf>, String> {
    if let Some(home) = std::env::var_os(CRS_VARIABLE).map(PathBuf::from) {
        let (setup, rules) = (home.join("crs-setup.conf"), home.join("rules"));
        // Other rules than those named would be a surprise.
        return match rules.is_dir() {
            true => set_of(setup, &rules),
            false => Err(format!(
                "`{CRS_VARIABLE}` names `{}`, which has no directory `rules`",
                home.display()
            )),
        };
    }
    for (setup, rules) in PLACES.map(|(setup, rules)| (PathBuf::from(setup), Path::new(rules))) {
        if !rules.is_dir() {
            continue;
        }
        return set_of(setup, rules);
    }
    Err(format!(
        "no Core Rule Set is installed: unpack one to `/etc/tidegate/crs`, name its directory in \
         `{CRS_VARIABLE}`, or install Debian's `modsecurity-crs`"
    ))
}

/// The files of a Core Rule Set.
fn set_of(setup: PathBuf, rules: &Path) -> Result<Vec<PathBuf>, String> {
    // A site's own rules, where the package keeps them beside the set-up; else they are in `rules`.
    let beside = |pattern| glob::expand(&setup.with_file_name(pattern)).unwrap_or_default();
    let (before, after) = (beside("REQUEST-900-*.conf"), beside("RESPONSE-999-*.conf"));
    // As it comes, the set-up is an example that sets what the rules' defaults are.
    let example = setup.with_extension("conf.example");
    let mut files: Vec<_> =
        [&setup, &example].into_iter().find(|file| file.is_file()).cloned().into_iter().collect();
    files.extend(before);
    files.extend(expand(&rules.join("*.conf"))?);
    files.extend(after);
    Ok(files)
}
