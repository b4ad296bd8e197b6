//! `tidegate weights SERVICE [reset | VERSION=WEIGHT ...]`

use super::{Failure, Remote, table::Table, table::printable, verbs};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, str::FromStr};
use tidegate_config::{Name, Weight};
use tidegate_control::{
    Stamp,
    client::{Answer, Call, Client},
};

/// `tidegate weights`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Weights {
    /// The service; all of them if left out
    pub(super) service: Option<Name>,
    /// New weights for every version, such as `blue=90 green=10`, or `reset` to give them back
    /// to the configuration file
    #[arg(value_name = "reset | VERSION=WEIGHT")]
    change: Vec<Change>,
    /// Why, for those who read it later
    #[arg(long, requires = "change")]
    reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Change {
    Reset,
    Set(Name, Weight),
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "reset" {
            return Ok(Self::Reset);
        }
        let (version, weight) =
            text.split_once('=').ok_or("expected `reset` or VERSION=WEIGHT, such as `blue=50`")?;
        let version = version.parse().map_err(|e: tidegate_config::InvalidName| e.to_string())?;
        let weight = weight.parse().map_err(|e: tidegate_config::InvalidWeight| e.to_string())?;
        Ok(Self::Set(version, weight))
    }
}

#[derive(Deserialize)]
struct View {
    weights: BTreeMap<String, f64>,
    source: String,
    document: BTreeMap<String, f64>,
    drift: bool,
    set: Option<Stamp>,
}

/// Shows, sets or resets the weights of one service. A change is made only if nobody else has
/// made one since the weights were read here.
pub(super) async fn execute(remote: &Remote, args: &Weights) -> Result<String, Failure> {
    let service = args.service.as_ref().expect("the caller shows all services otherwise");
    let path = format!("/v1/services/{service}/weights");
    let client = remote.client()?;
    let now = client.call::<Value>(Call::get(&path)).await?;
    let answer = match args.change.as_slice() {
        [] => now,
        [Change::Reset] => {
            change(&client, Method::DELETE, &path, &now, json!({ "reason": args.reason })).await?
        }
        changes => {
            let weights = wanted(changes, &verbs::view::<View>(now.content.clone())?)?;
            let body = json!({ "weights": weights, "reason": args.reason });
            change(&client, Method::PUT, &path, &now, body).await?
        }
    };
    if remote.json {
        return verbs::json(&answer.content);
    }
    Ok(render(service, &verbs::view(answer.content)?))
}

async fn change(
    client: &Client,
    method: Method,
    path: &str,
    seen: &Answer<Value>,
    body: Value,
) -> Result<Answer<Value>, Failure> {
    let call = Call::new(method, path).body(body).if_match(seen.etag.as_deref().unwrap_or("*"));
    Ok(client.call(call).await?)
}

/// The weights asked for. A version that has traffic and is not named would lose all of it,
/// which is too much to be implied.
fn wanted(changes: &[Change], now: &View) -> Result<BTreeMap<String, Weight>, Failure> {
    let mut weights = BTreeMap::new();
    for change in changes {
        let Change::Set(version, weight) = change else {
            return Err(Failure::Usage("`reset` stands alone".to_owned()));
        };
        if weights.insert(version.to_string(), *weight).is_some() {
            return Err(Failure::Usage(format!("version `{version}` is given twice")));
        }
    }
    if let Some(unknown) = weights.keys().find(|version| !now.document.contains_key(*version)) {
        let known: Vec<_> = now.document.keys().map(|version| format!("`{version}`")).collect();
        let known = known.join(", ");
        return Err(Failure::Usage(format!("there is no version `{unknown}`; there are {known}")));
    }
    let forgotten: Vec<_> = now
        .weights
        .iter()
        .filter(|(version, weight)| **weight > 0.0 && !weights.contains_key(*version))
        .map(|(version, weight)| {
            format!("version `{version}` has weight {weight} and is not named; add `{version}=..`")
        })
        .collect();
    if forgotten.is_empty() { Ok(weights) } else { Err(Failure::Usage(forgotten.join("\n"))) }
}

fn render(service: &Name, view: &View) -> String {
    let total: f64 = view.weights.values().sum();
    let mut table = Table::new(&["VERSION", "WEIGHT", "SHARE %", "DOCUMENT"]);
    for (version, weight) in &view.weights {
        let share = if total > 0.0 { weight / total * 100.0 } else { 0.0 };
        table.row([
            version.clone(),
            weight.to_string(),
            format!("{share:.2}"),
            view.document.get(version).copied().unwrap_or(0.0).to_string(),
        ]);
    }
    let owner = match (&view.set, view.source.as_str()) {
        (Some(set), "api") => {
            let why = set.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("set by {}{why}", set.author)
        }
        _ => "from the configuration file".to_owned(),
    };
    let drift = if view.drift {
        format!(
            "\ndrift: the file was edited since and changes nothing until `tidegate weights {service} reset`\n"
        )
    } else {
        String::new()
    };
    format!("{service}: {}\n\n{table}{drift}", printable(&owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> View {
        verbs::view(json!({
            "weights": {"blue": 90, "green": 10, "teal": 0}, "source": "api", "drift": false,
            "document": {"blue": 100, "green": 0},
            "set": {"author": "ci", "time": "2026-01-02T03:04:05Z", "reason": "canary"},
        }))
        .unwrap()
    }

    fn wanted_of(words: &str) -> Result<BTreeMap<String, Weight>, Failure> {
        let changes: Vec<_> = words.split(' ').map(|word| word.parse().unwrap()).collect();
        wanted(&changes, &now())
    }

    #[test]
    fn a_version_with_traffic_is_never_forgotten() {
        assert_eq!(wanted_of("blue=50 green=50").unwrap().len(), 2);
        let error = wanted_of("green=100").unwrap_err();
        assert!(error.to_string().contains("`blue`"), "{error}");
        assert_eq!(error.code(), 2);
        assert!(wanted_of("blue=1 blue=2 green=0").is_err());
        assert!(wanted_of("reset blue=1").is_err());
    }

    #[test]
    fn the_table_lines_up() {
        assert_eq!(
            render(&"shop".parse().unwrap(), &now()),
            "shop: set by ci: canary\n\
             \n\
             VERSION  WEIGHT  SHARE %  DOCUMENT\n\
             blue         90    90.00       100\n\
             green        10    10.00         0\n\
             teal          0     0.00         0\n"
        );
    }
}
