//! `GET /v1/config`: the document in force; `POST /v1/config:reload`: read it again; `PUT` and
//! `PATCH` are refused: the files own it.

use super::{
    Caller, Problem,
    params::{self, MaybeBody},
};
use crate::{
    etag::ETag,
    plane::{Plane, Reloaded},
    revisions::{Cause, RevisionRecord},
};
use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize)]
struct Shown {
    revision: RevisionRecord,
    /// The document, merged from its files, with every secret replaced by `"***"`.
    document: Arc<serde_json::Value>,
}

pub(crate) async fn show(State(plane): State<Arc<Plane>>) -> Response {
    let view = plane.view();
    let shown = Shown { revision: view.revision.clone(), document: view.document.json.clone() };
    ([(header::ETAG, ETag::of(&shown.revision).to_string())], Json(shown)).into_response()
}

/// The document is the files' (`[control] source` is `file` in this version); what may be
/// changed through the API is runtime state.
pub(crate) async fn owned_by_file(State(plane): State<Arc<Plane>>) -> Problem {
    let view = plane.view();
    let files = view.document.files.iter().map(|file| format!("`{}`", file.path.display()));
    let files: Vec<_> = files.collect();
    Problem::document_owned_by_file(match files.is_empty() {
        true => "the document is built into this process; start one with files of your own".into(),
        false => format!(
            "edit {}: they are watched, and POST /v1/config:reload reads them at once; weights and \
             drains have resources of their own",
            files.join(", ")
        ),
    })
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reload {
    reason: Option<String>,
}

#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub(crate) enum Outcome {
    Unchanged {
        revision: RevisionRecord,
    },
    Changed {
        revision: RevisionRecord,
        /// What is different, by key.
        diff: tidegate_config::Diff,
        /// The same for people.
        diff_text: String,
        warnings: Vec<String>,
        durable: bool,
    },
}

pub(crate) async fn reload(
    State(plane): State<Arc<Plane>>,
    Extension(caller): Extension<Caller>,
    MaybeBody(Reload { reason }): MaybeBody<Reload>,
) -> Result<Json<Outcome>, Problem> {
    let reason = params::reason(reason.as_deref())?.map(str::to_owned);
    let reloaded = plane.reload(Cause::Api { author: caller.name, reason }).await?;
    Ok(Json(match reloaded {
        Reloaded::Unchanged { revision } => Outcome::Unchanged { revision },
        Reloaded::Changed { revision, diff, warnings, durable } => {
            let diff_text = diff.to_string();
            Outcome::Changed { revision, diff, diff_text, warnings, durable }
        }
    }))
}
