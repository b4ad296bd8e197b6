//! Putting another document into force, whole or not at all.

use super::{Plane, View, patiently};
use crate::{
    clock::Moment,
    revisions::{self, Cause, RevisionRecord},
    source::{Document, Fault},
};
use serde::Serialize;
use std::sync::Arc;
use tidegate_store::Op;

/// Changes, or faults, of one reload that are logged one by one; the API tells all of them.
const LOGGED: usize = 50;

/// What a reload did.
#[derive(Clone, Debug)]
pub enum Reloaded {
    /// The document is the one in force; nothing was swapped.
    Unchanged {
        /// Its revision.
        revision: RevisionRecord,
    },
    /// Another document is in force.
    Changed {
        /// Its revision.
        revision: RevisionRecord,
        /// What is different, by key.
        diff: tidegate_config::Diff,
        /// What is allowed but probably not meant.
        warnings: Vec<String>,
        /// Whether the revision is recorded on disk. The document itself is, in its files.
        durable: bool,
    },
}

/// The document on disk is refused; the one in force stays.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct ReloadFailed {
    /// Everything found wrong.
    pub faults: Vec<Fault>,
}

/// A refused reload, as the status shows it.
#[derive(Clone, Debug, Serialize)]
pub struct LastReloadError {
    /// When it was refused.
    pub time: Moment,
    /// What asked for it.
    pub cause: Cause,
    /// Everything found wrong.
    pub faults: Vec<Fault>,
}

impl Plane {
    /// Reads the document again and puts it into force if it differs. When this returns, the
    /// next request on any connection follows it; on failure nothing has changed.
    pub async fn reload(&self, cause: Cause) -> Result<Reloaded, ReloadFailed> {
        let _turn = self.turn.lock().await;
        let outcome = self.try_reload(&cause).await;
        let word = match &outcome {
            Ok(Reloaded::Changed { revision, diff, warnings, .. }) => {
                tracing::info!(
                    revision = revision.number,
                    digest = revision.digest,
                    cause = cause.word(),
                    changes = diff.lines.len(),
                    "configuration changed"
                );
                for line in diff.lines.iter().take(LOGGED) {
                    tracing::info!("{line}");
                }
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                "changed"
            }
            Ok(Reloaded::Unchanged { revision }) => {
                tracing::debug!(revision = revision.number, "configuration unchanged");
                "unchanged"
            }
            Err(failed) => {
                tracing::error!(
                    cause = cause.word(),
                    faults = failed.faults.len(),
                    "configuration refused; the one in force stays"
                );
                for fault in failed.faults.iter().take(LOGGED) {
                    tracing::error!("{fault}");
                }
                "failed"
            }
        };
        // Files are looked at often; that nothing was found is not worth counting.
        if word != "unchanged" || cause != Cause::Files {
            self.metrics.reloads.with_label_values(&[word]).inc();
        }
        self.metrics.last_reload_success.set(outcome.is_ok().into());
        *self.last_error.write() = outcome.as_ref().err().map(|failed| LastReloadError {
            time: Moment::now(),
            cause,
            faults: failed.faults.clone(),
        });
        outcome
    }

    async fn try_reload(&self, cause: &Cause) -> Result<Reloaded, ReloadFailed> {
        let view = self.view();
        let document = self.load().await?;
        // Rules include files that the document does not name.
        let found = document.clone().follow(self.edge.rules_read(true).await);
        if found.digest() == view.revision.digest {
            return Ok(Reloaded::Unchanged { revision: view.revision.clone() });
        }
        refuse_emptied(&view, &document.config)?;
        let (state, stranded) = view.records.state(&document.config);
        refuse_newly_stranded(&view, &stranded)?;
        self.edge
            .apply(document.config.clone(), Arc::new(state))
            .await
            .map_err(|error| failed(error.0.into_iter().map(Fault::new).collect()))?;
        let document = document.follow(self.edge.rules_read(false).await);

        // The files are durable already; what may be owed is only the entry in the history.
        let recorded = patiently(revisions::record(&*self.store, &document, cause)).await;
        let durable = recorded.is_ok();
        let revision = recorded.unwrap_or_else(|error| {
            tracing::warn!(%error, "the revision is not recorded yet");
            let record = RevisionRecord::new(view.revision.number + 1, &document, cause.clone());
            self.backlog.owe(Op::Put { key: record.key(), value: record.encode() });
            record
        });
        self.metrics.revision.set(i64::try_from(revision.number).unwrap_or(i64::MAX));

        let diff = tidegate_config::diff(&view.document.config, &document.config);
        let warnings = document.warnings.clone();
        let records = view.records.clone();
        *self.view.write() = Arc::new(View { document, revision: revision.clone(), records });
        Ok(Reloaded::Changed { revision, diff, warnings, durable })
    }

    async fn load(&self) -> Result<Document, ReloadFailed> {
        let source = self.source.clone();
        tokio::task::spawn_blocking(move || source.load())
            .await
            .unwrap_or_else(|error| Err(vec![Fault::new(format!("loading panicked: {error}"))]))
            .map_err(failed)
    }
}

/// A file that is written in place is empty for a moment, and an empty document is a valid one
/// that serves nobody.
fn refuse_emptied(view: &View, config: &tidegate_config::Config) -> Result<(), ReloadFailed> {
    if !config.listeners.is_empty() || view.document.config.listeners.is_empty() {
        return Ok(());
    }
    let what = "the document has no listener any more: is a file of it just being written? End the \
                process to stop serving";
    Err(failed(vec![Fault::new(what.to_owned())]))
}

/// A document that takes every weighted version away from a service whose weights the API owns
/// is refused: its traffic would go where nobody said.
fn refuse_newly_stranded(
    view: &View,
    stranded: &std::collections::BTreeSet<tidegate_config::Name>,
) -> Result<(), ReloadFailed> {
    let (_, before) = view.records.state(&view.document.config);
    let faults: Vec<_> = stranded
        .difference(&before)
        .map(|service| {
            Fault::new(format!(
                "service `{service}`: its weights were set through the API, and none of the \
                 versions they name is in this document; keep one of them, or give the weights \
                 back first with `tidegate weights {service} reset`"
            ))
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(failed(faults)) }
}

fn failed(faults: Vec<Fault>) -> ReloadFailed {
    ReloadFailed { faults }
}
