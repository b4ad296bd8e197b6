//! From a logged request to the exclusion that would have let it pass, and as little else as can
//! be.

use crate::cli::{Failure, verbs};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{BufRead, BufReader},
    ops::Range,
    path::{Path, PathBuf},
};
use tidegate_config::{LogTarget, Waf};

/// The Core Rule Set's thresholds, where the policy leaves them to the rules.
const INBOUND: u64 = 5;
const OUTBOUND: u64 = 4;
/// Ids of virtual patches.
const PATCHES: Range<u64> = 9_990_000..9_991_000;
/// A variable's name is logged up to here.
const NAME_BYTES: usize = 256;

/// `tidegate waf exclude`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Exclude {
    /// The request's id, as in its answer's `x-request-id`
    request_id: String,
    /// Configuration files; the log is the one of `log.waf`, else of `log.access`
    #[arg(short, long = "config", value_name = "FILE", required_unless_present = "log")]
    config: Vec<PathBuf>,
    /// The WAF's audit log or a JSON access log
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

pub(super) fn execute(exclude: &Exclude, as_json: bool) -> Result<String, Failure> {
    let config = match exclude.config.as_slice() {
        [] => None,
        files => {
            let loaded = tidegate_config::load(files);
            Some(loaded.map_err(|faults| Failure::Other(faults.to_string()))?.config)
        }
    };
    let file = match (&exclude.log, &config) {
        (Some(file), _) => file.clone(),
        (None, Some(config)) => match (&config.log.waf, &config.log.access) {
            (LogTarget::File(file), _) | (_, LogTarget::File(file)) => file.clone(),
            _ => {
                return Err(Failure::Usage(
                    "neither `log.waf` nor `log.access` is a file: give one with `--log`".into(),
                ));
            }
        },
        (None, None) => return Err(Failure::Usage("`--config` or `--log` is needed".into())),
    };
    let record = find(&file, &exclude.request_id)?;
    let told = Told::new(&record).ok_or_else(|| {
        Failure::Other(format!("no WAF policy had anything to say of `{}`", exclude.request_id))
    })?;
    let policy = config.as_ref().and_then(|config| {
        config.waf.iter().find(|(name, _)| name.as_str() == told.policy).map(|(_, policy)| policy)
    });
    told.exclusion(&exclude.request_id, policy, as_json)
}

/// The newest line of this request.
fn find(file: &Path, id: &str) -> Result<Value, Failure> {
    let failed = |error: std::io::Error| Failure::Other(format!("`{}`: {error}", file.display()));
    let mut found = None;
    for line in BufReader::new(File::open(file).map_err(failed)?).split(b'\n') {
        let line = line.map_err(failed)?;
        // Cheap before exact: logs are long.
        if memchr::memmem::find(&line, id.as_bytes()).is_some()
            && let Ok(record) = serde_json::from_slice::<Value>(&line)
            && record["request_id"] == id
        {
            found = Some(record);
        }
    }
    found.ok_or_else(|| Failure::Other(format!("`{}` tells of no request `{id}`", file.display())))
}

/// What a record tells.
struct Told<'a> {
    record: &'a Value,
    /// The WAF's part of it: access lines have it one deeper.
    waf: &'a Value,
    policy: &'a str,
    outcome: &'a str,
    rules: Vec<Rule<'a>>,
}

/// A rule that looked at the request or its response, not at scores.
struct Rule<'a> {
    id: u64,
    score: u64,
    of_response: bool,
    variables: Vec<&'a str>,
    /// Whether more values matched than are told.
    more: bool,
}

/// An entry of `exclusions`.
#[derive(serde::Serialize)]
struct Entry {
    rules: Vec<u64>,
    target: String,
    path: String,
}

impl<'a> Told<'a> {
    fn new(record: &'a Value) -> Option<Self> {
        let waf = if record["waf"].is_object() { &record["waf"] } else { record };
        let rules = waf["rules"].as_array()?.iter().filter_map(Rule::new);
        Some(Self {
            record,
            waf,
            policy: waf["policy"].as_str()?,
            outcome: waf["outcome"].as_str()?,
            rules: rules.collect(),
        })
    }

    fn exclusion(&self, id: &str, policy: Option<&Waf>, as_json: bool) -> Result<String, Failure> {
        if let Some(what) = self.no_rule(id) {
            return Err(Failure::Other(what));
        }
        let needed = self.needed(policy);
        if needed.is_empty() {
            return Err(Failure::Other(format!("no rule stood in the way of request `{id}`")));
        }
        let entries = self.entries(&needed);
        let notes: Vec<_> = needed.iter().filter_map(|rule| rule.note()).collect();
        if as_json {
            let told = json!({ "policy": self.policy, "exclusions": entries, "notes": notes });
            return verbs::json(&told);
        }
        let method = self.record["method"].as_str().unwrap_or("GET");
        let (outcome, name) = (self.outcome, self.policy);
        let path = self.path();
        let mut text = format!("# request {id}, {method} {path}: {outcome} by `{name}`\n");
        let lines = entries.iter().map(|entry| format!("  {entry},\n")).collect::<String>();
        // A key stands once.
        match policy.is_some_and(|policy| !policy.exclusions.is_empty()) {
            true => text += &format!("# add to the `exclusions` of [waf.{name}]:\n{lines}"),
            false => text += &format!("# add to [waf.{name}]:\nexclusions = [\n{lines}]\n"),
        }
        notes.iter().for_each(|note| text += &format!("# {note}\n"));
        Ok(text)
    }

    /// What stood in the way if it was no rule.
    fn no_rule(&self, id: &str) -> Option<String> {
        let (by, policy) = (&self.waf["decided_by"], self.policy);
        if let Some(limit) = by["limit"].as_str() {
            return Some(format!(
                "a limit stood in the way of request `{id}`, not a rule: `{limit}`; raise it in \
                 [waf.{policy}] or let it pass in [waf.{policy}.on_limit]"
            ));
        }
        let check = by["check"].as_str()?;
        let members = by.as_object().into_iter().flatten().filter(|(key, _)| *key != "check");
        let told = members.map(|(key, value)| format!("{key} {}", value.as_str().unwrap_or("")));
        let told = told.collect::<Vec<_>>().join(", ");
        Some(format!(
            "a check stood in the way of request `{id}`, not a rule: `{check}` ({told}); see it in \
             [waf.{policy}]"
        ))
    }

    /// The rules to be excluded: of requests or of responses, whichever was over its threshold.
    fn needed(&self, policy: Option<&Waf>) -> Vec<&Rule<'a>> {
        let decided_by = self.waf["decided_by"]["rule"].as_u64();
        let phase =
            self.waf["rules"].as_array().into_iter().flatten().find_map(|rule| {
                rule["phase"].as_u64().filter(|_| rule["id"].as_u64() == decided_by)
            });
        let of_response = phase.is_some_and(|phase| phase > 2);
        let threshold = match of_response {
            true => policy.and_then(|policy| policy.outbound_threshold).map_or(OUTBOUND, u64::from),
            false => policy.and_then(|policy| policy.inbound_threshold).map_or(INBOUND, u64::from),
        };
        let rules = self.rules.iter().filter(|rule| rule.of_response == of_response);
        needed(rules, decided_by, threshold)
    }

    /// The path as exclusions know it.
    fn path(&self) -> String {
        let path = self.record["path"].as_str().unwrap_or("/");
        tidegate_proxy::route_path(path).unwrap_or_else(|| "/".to_owned())
    }

    fn entries(&self, needed: &[&Rule<'_>]) -> Vec<Entry> {
        let mut by_target: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for rule in needed {
            for variable in &rule.variables {
                let rules = by_target.entry(target(variable, rule.more)).or_default();
                if !rules.contains(&rule.id) {
                    rules.push(rule.id);
                }
            }
        }
        let path = format!("={}", self.path());
        let entries = by_target.into_iter();
        entries.map(|(target, rules)| Entry { rules, target, path: path.clone() }).collect()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<_> = self.rules.iter().map(u64::to_string).collect();
        // What JSON escapes in a string, TOML does in the same way.
        let (target, path) = (Value::from(&*self.target), Value::from(&*self.path));
        write!(f, "{{ rules = [{}], target = {target}, path = {path} }}", rules.join(", "))
    }
}

impl<'a> Rule<'a> {
    fn new(rule: &'a Value) -> Option<Self> {
        let id = rule["id"].as_u64()?;
        let values = rule["values"].as_array()?.iter();
        // Where and how a patch applies, not what it refuses.
        let is_place = |name: &str| {
            PATCHES.contains(&id) && matches!(name, "REQUEST_FILENAME" | "REQUEST_METHOD")
        };
        let looked_at = |name: &&str| {
            !name.starts_with("TX") && !name.starts_with("MATCHED_") && !is_place(name)
        };
        let variables: Vec<_> =
            values.filter_map(|value| value["variable"].as_str()).filter(looked_at).collect();
        let score = rule["score"].as_u64().unwrap_or_else(|| {
            // Access lines tell the severity only: what the Core Rule Set scores for it.
            match rule["severity"].as_u64() {
                Some(0..=2) => 5,
                Some(3) => 4,
                Some(4) => 3,
                Some(5) => 2,
                _ => 0,
            }
        });
        let of_response = rule["phase"].as_u64().is_some_and(|phase| phase > 2);
        let more = rule["more"] == true;
        (!variables.is_empty()).then_some(Self { id, score, of_response, variables, more })
    }

    /// What one is to know before excluding it.
    fn note(&self) -> Option<String> {
        let id = self.id;
        if PATCHES.contains(&id) {
            return Some(format!("rule {id} is a virtual patch: change the patch instead"));
        }
        self.more.then(|| {
            format!("rule {id} matched more values than are logged: hence whole collections")
        })
    }
}

/// As few rules as bring the score below the threshold, and the one that decided by itself.
fn needed<'r, 'v>(
    rules: impl Iterator<Item = &'r Rule<'v>>,
    decided_by: Option<u64>,
    threshold: u64,
) -> Vec<&'r Rule<'v>> {
    let (mut needed, mut scoring): (Vec<_>, Vec<_>) =
        rules.partition(|rule| Some(rule.id) == decided_by);
    if needed.is_empty() {
        let mut left: u64 = scoring.iter().map(|rule| rule.score).sum();
        scoring.retain(|rule| rule.score > 0);
        scoring.sort_by_key(|rule| std::cmp::Reverse(rule.score));
        for rule in scoring {
            if left < threshold {
                break;
            }
            left -= rule.score;
            needed.push(rule);
        }
    }
    needed
}

/// The target that a value is excluded by. Its whole collection stands for a name with bytes that
/// a configuration cannot hold, for one that the log cut, and where not all names are known.
fn target(variable: &str, more: bool) -> String {
    match variable.split_once(':') {
        Some((collection, name))
            if more
                || collection == "XML"
                || name.is_empty()
                || name.contains('\\')
                || variable.len() >= NAME_BYTES =>
        {
            collection.to_owned()
        }
        _ => variable.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: u64, score: u64) -> Rule<'static> {
        Rule { id, score, of_response: false, variables: vec!["ARGS:a"], more: false }
    }

    fn ids(needed: &[&Rule<'_>]) -> Vec<u64> {
        needed.iter().map(|rule| rule.id).collect()
    }

    #[test]
    fn no_more_rules_than_needed() {
        let rules = [rule(1, 2), rule(2, 5), rule(3, 3)];
        assert_eq!(ids(&needed(rules.iter(), Some(949_110), 5)), [2, 3]);
        assert_eq!(ids(&needed(rules.iter(), Some(949_110), 6)), [2]);
        assert_eq!(ids(&needed(rules.iter(), Some(949_110), 20)), [0; 0]);
    }

    #[test]
    fn a_rule_that_denies_by_itself_is_the_one() {
        let rules = [rule(1, 5), rule(2, 0)];
        assert_eq!(ids(&needed(rules.iter(), Some(2), 5)), [2]);
    }

    #[test]
    fn names_that_are_not_known_whole_stand_for_their_collection() {
        assert_eq!(target("ARGS:a", false), "ARGS:a");
        assert_eq!(target("ARGS:a", true), "ARGS");
        assert_eq!(target("XML:/*", false), "XML");
        assert_eq!(target(&format!("ARGS:{}", "a".repeat(300)), false), "ARGS");
        assert_eq!(target("REQUEST_BODY", true), "REQUEST_BODY");
    }
}
