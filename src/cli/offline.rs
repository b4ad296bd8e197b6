//! What needs no running process: `check`, `diff` and `schema`.

use super::{Failure, verbs};
use serde_json::json;
use std::path::{Path, PathBuf};
use tidegate_config::{Config, Fault, Faults, Loaded};
use tidegate_proxy::WafTrial;

/// `tidegate check`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Check {
    /// Configuration files; later ones override earlier ones
    #[arg(short, long = "config", value_name = "FILE", required = true)]
    config: Vec<PathBuf>,
    /// Look at the document only, not at the rules, address lists and databases it names
    #[arg(long)]
    document_only: bool,
}

/// `tidegate diff`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Diff {
    /// The file in force
    old: PathBuf,
    /// The file to come
    new: PathBuf,
}

/// Says whether files can be put into force, as far as they and the files they name show.
pub(super) fn check(check: &Check, as_json: bool) -> Result<String, Failure> {
    let mut loaded = match (tidegate_config::load(&check.config), as_json) {
        (Ok(loaded), _) => loaded,
        (Err(faults), true) => {
            let faults: Vec<&Fault> = faults.iter().collect();
            return Err(Failure::Found(verbs::json(&json!({ "valid": false, "faults": faults }))?));
        }
        (Err(faults), false) => return Err(Failure::Other(invalid(&faults))),
    };
    let mut faults: Vec<Fault> = Vec::new();
    if !check.document_only {
        match tidegate_proxy::waf_trials(&loaded.config) {
            Ok(trials) => {
                let warnings = trials.values().flat_map(WafTrial::warnings);
                loaded.warnings.extend(warnings.map(Fault::elsewhere));
            }
            Err(found) => faults = found.into_iter().map(Fault::elsewhere).collect(),
        }
    }
    match (faults.as_slice(), as_json) {
        ([], true) => verbs::json(&json!({ "valid": true, "warnings": loaded.warnings })),
        ([], false) => Ok(valid(&loaded)),
        (_, true) => {
            Err(Failure::Found(verbs::json(&json!({ "valid": false, "faults": faults }))?))
        }
        (_, false) => {
            let lines: String = faults.iter().map(|fault| format!("\n{fault}")).collect();
            Err(Failure::Other(count(faults.len(), "fault") + &lines))
        }
    }
}

fn valid(loaded: &Loaded) -> String {
    let mut text = String::new();
    for warning in &loaded.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    let Config { listeners, routes, services, upstreams, .. } = &loaded.config;
    text.push_str(&format!(
        "valid: {}, {}, {}, {}\n",
        count(listeners.len(), "listener"),
        count(routes.len(), "route"),
        count(services.len(), "service"),
        count(upstreams.len(), "upstream"),
    ));
    text
}

fn invalid(faults: &Faults) -> String {
    format!("{}\n{faults}", count(faults.len(), "fault"))
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Shows what another file would change.
pub(super) fn diff(diff: &Diff, as_json: bool) -> Result<String, Failure> {
    let difference = tidegate_config::diff(&load(&diff.old)?, &load(&diff.new)?);
    if as_json { verbs::json(&difference) } else { Ok(difference.to_string()) }
}

fn load(path: &Path) -> Result<Config, Failure> {
    let loaded = tidegate_config::load(&[path.to_owned()]);
    loaded.map(|loaded| loaded.config).map_err(|faults| Failure::Other(invalid(&faults)))
}

/// The schema, for editors.
pub(super) fn schema() -> String {
    format!("{:#}\n", tidegate_config::schema())
}
