//! From a logged request to the exclusion that would have let it pass, and as little else as can
//! be.

use crate::cli::Failure;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};
use tidegate_config::LogTarget;

/// The Core Rule Set's inbound threshold, where the policy leaves it to the rules.
const THRESHOLD: u64 = 5;
/// Values told of one rule at most; there may have been more.
const VALUES: usize = 3;

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

pub(super) fn execute(exclude: &Exclude) -> Result<String, Failure> {
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
    let threshold = policy.and_then(|policy| policy.inbound_threshold).map_or(THRESHOLD, u64::from);
    told.exclusion(&exclude.request_id, threshold)
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
    policy: &'a str,
    outcome: &'a str,
    rules: Vec<Rule<'a>>,
}

/// A rule that looked at the request, not at scores.
struct Rule<'a> {
    id: u64,
    score: u64,
    variables: Vec<&'a str>,
}

impl<'a> Told<'a> {
    fn new(record: &'a Value) -> Option<Self> {
        // Access lines have it one deeper.
        let waf = if record["waf"].is_object() { &record["waf"] } else { record };
        let rules = waf["rules"].as_array()?.iter().filter_map(Rule::new);
        Some(Self {
            record,
            policy: waf["policy"].as_str()?,
            outcome: waf["outcome"].as_str()?,
            rules: rules.collect(),
        })
    }

    fn exclusion(&self, id: &str, threshold: u64) -> Result<String, Failure> {
        if self.outcome == "limited" {
            let limit = self.record["decided_by"]["limit"].as_str().unwrap_or("a limit");
            let policy = self.policy;
            return Ok(format!(
                "# a limit stopped request {id}, not a rule: `{limit}`; raise it in [waf.{policy}] \
                 or let it pass in [waf.{policy}.on_limit]\n"
            ));
        }
        let needed = needed(&self.rules, self.record["decided_by"]["rule"].as_u64(), threshold);
        if needed.is_empty() {
            return Err(Failure::Other(format!("no rule stood in the way of request `{id}`")));
        }
        let (path, method) = (self.record["path"].as_str(), self.record["method"].as_str());
        let path = path.unwrap_or("/").split('?').next().unwrap_or("/");
        let mut text = format!(
            "# request {id}, {} {path}: {} by `{}`\n# add to [waf.{}]:\nexclusions = [\n",
            method.unwrap_or("GET"),
            self.outcome,
            self.policy,
            self.policy
        );
        let mut by_target: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for rule in &needed {
            for variable in &rule.variables {
                let rules = by_target.entry(target(variable)).or_default();
                if !rules.contains(&rule.id) {
                    rules.push(rule.id);
                }
            }
        }
        for (target, rules) in by_target {
            let rules: Vec<_> = rules.iter().map(u64::to_string).collect();
            text.push_str(&format!(
                "  {{ rules = [{}], target = {}, path = {} }},\n",
                rules.join(", "),
                quoted(&target),
                quoted(&format!("={path}"))
            ));
        }
        text.push_str("]\n");
        for rule in needed.iter().filter(|rule| rule.variables.len() >= VALUES) {
            let id = rule.id;
            text.push_str(&format!(
                "# rule {id} matched {VALUES} values or more, and no more are logged: try the \
                 request with `tidegate waf eval`\n"
            ));
        }
        Ok(text)
    }
}

impl<'a> Rule<'a> {
    fn new(rule: &'a Value) -> Option<Self> {
        let values = rule["values"].as_array()?.iter();
        let of_the_request = |name: &&str| !name.starts_with("TX") && !name.starts_with("MATCHED_");
        let variables: Vec<_> =
            values.filter_map(|value| value["variable"].as_str()).filter(of_the_request).collect();
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
        let id = rule["id"].as_u64()?;
        (!variables.is_empty()).then_some(Self { id, score, variables })
    }
}

/// As few rules as bring the score below the threshold, and the one that decided by itself.
fn needed<'r>(rules: &'r [Rule<'r>], decided_by: Option<u64>, threshold: u64) -> Vec<&'r Rule<'r>> {
    let (mut needed, mut scoring): (Vec<_>, Vec<_>) =
        rules.iter().partition(|rule| Some(rule.id) == decided_by);
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

/// A name with bytes that a configuration cannot hold stands for its whole collection.
fn target(variable: &str) -> String {
    match variable.split_once(':') {
        Some((collection, name)) if name.contains('\\') || name.is_empty() => collection.to_owned(),
        _ => variable.to_owned(),
    }
}

/// A basic string of TOML; what JSON escapes, TOML does in the same way.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: u64, score: u64) -> Rule<'static> {
        Rule { id, score, variables: vec!["ARGS:a"] }
    }

    fn ids(needed: &[&Rule<'_>]) -> Vec<u64> {
        needed.iter().map(|rule| rule.id).collect()
    }

    #[test]
    fn no_more_rules_than_needed() {
        let rules = [rule(1, 2), rule(2, 5), rule(3, 3)];
        assert_eq!(ids(&needed(&rules, Some(949_110), 5)), [2, 3]);
        assert_eq!(ids(&needed(&rules, Some(949_110), 6)), [2]);
        assert_eq!(ids(&needed(&rules, Some(949_110), 20)), [0; 0]);
    }

    #[test]
    fn a_rule_that_denies_by_itself_is_the_one() {
        let rules = [rule(1, 5), rule(2, 0)];
        assert_eq!(ids(&needed(&rules, Some(2), 5)), [2]);
    }
}
