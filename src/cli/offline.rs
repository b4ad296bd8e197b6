//! What needs no running process: `check`, `diff` and `schema`.

use super::{Failure, verbs};
use serde_json::json;
use std::path::{Path, PathBuf};
use tidegate_config::{Config, Fault, Faults, Loaded};

/// `tidegate check`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Check {
    /// Configuration files; later ones override earlier ones
    #[arg(short, long = "config", value_name = "FILE", required = true)]
    config: Vec<PathBuf>,
}

/// `tidegate diff`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Diff {
    /// The file in force
    old: PathBuf,
    /// The file to come
    new: PathBuf,
}

/// Says whether files can be put into force, as far as the files alone show.
pub(super) fn check(check: &Check, as_json: bool) -> Result<String, Failure> {
    match (tidegate_config::load(&check.config), as_json) {
        (Ok(loaded), true) => verbs::json(&json!({ "valid": true, "warnings": loaded.warnings })),
        (Ok(loaded), false) => Ok(valid(&loaded)),
        (Err(faults), true) => {
            let faults: Vec<&Fault> = faults.iter().collect();
            Err(Failure::Found(verbs::json(&json!({ "valid": false, "faults": faults }))?))
        }
        (Err(faults), false) => Err(Failure::Other(invalid(&faults))),
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
