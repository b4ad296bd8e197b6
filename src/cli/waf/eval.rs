//! Requests through a policy, without a process that serves: what matched, where, and what it
//! came to.

use crate::cli::{Failure, verbs};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    io::{self, BufRead, Read, Write as _},
    net::IpAddr,
    path::PathBuf,
};
use tidegate_config::{Config, Name, Waf, WafOverLimit, WafRules};
use tidegate_proxy::{WafChecked, WafTrial};
use tidegate_waf::{
    Cause, Connection, Escaped, Match, Transaction, Verdict,
    message::{self, Message},
};

/// Bytes a message may have.
const MESSAGE_BYTES: u64 = 64 << 20;

/// `tidegate waf eval`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Eval {
    /// Configuration files with the policy; later ones override earlier ones
    #[arg(short, long = "config", value_name = "FILE", required_unless_present = "rules")]
    config: Vec<PathBuf>,
    /// The policy; not needed where there is only one
    #[arg(long, value_name = "NAME", requires = "config")]
    policy: Option<Name>,
    /// Instead of a configured policy: `crs`, or rule files and globs in their order
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    rules: Vec<PathBuf>,
    /// The paranoia level, in place of the policy's
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=4))]
    paranoia: Option<u8>,
    /// The inbound threshold, in place of the policy's
    #[arg(long, value_name = "SCORE")]
    threshold: Option<u32>,
    /// The client's address, for the checks before the rules
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    client: IpAddr,
    /// Speak the framing of regression runners: a line `REQUEST_BYTES RESPONSE_BYTES`, both
    /// messages, and a line of JSON back, until standard input ends
    #[arg(long, conflicts_with = "requests")]
    batch: bool,
    /// Files with a raw request each, `-` for standard input (default)
    requests: Vec<PathBuf>,
}

pub(super) fn execute(eval: &Eval, as_json: bool) -> Result<String, Failure> {
    let mut trials = tidegate_proxy::waf_trials(&config(eval)?).map_err(|faults| {
        Failure::Other(format!("the policy cannot be used\n{}", faults.join("\n")))
    })?;
    let Some((_, trial)) = trials.pop_first() else { unreachable!("one policy went in") };
    if eval.batch {
        return batch(&trial).map(|()| String::new());
    }
    let stdin = [PathBuf::from("-")];
    let files = if eval.requests.is_empty() { &stdin[..] } else { &eval.requests };
    let mut reports = Vec::new();
    for file in files {
        reports.push((file.display().to_string(), judge(&trial, eval.client, &read(file)?)));
    }
    if as_json {
        let reports = reports.into_iter().map(|(file, report)| {
            json!({ "request": file, "verdict": report.verdict, "score": report.score,
                "rules": report.rules })
        });
        return verbs::json(&Value::Array(reports.collect()));
    }
    Ok(reports.iter().map(|(file, report)| report.text(file)).collect())
}

/// A configuration with one policy: the one chosen, or what the command line describes.
fn config(eval: &Eval) -> Result<Config, Failure> {
    let loaded = match eval.rules.as_slice() {
        [] => tidegate_config::load(&eval.config),
        _ => tidegate_config::parse("", "--rules"),
    };
    let mut config = loaded.map_err(|faults| Failure::Other(faults.to_string()))?.config;
    let mut document = if eval.rules.is_empty() {
        let mut policies = std::mem::take(&mut config.waf);
        let names: Vec<_> = policies.keys().map(ToString::to_string).collect();
        let chosen = match &eval.policy {
            Some(name) => policies.remove(name),
            None if policies.len() == 1 => policies.pop_first().map(|(_, policy)| policy),
            None => None,
        };
        chosen.ok_or_else(|| match names.as_slice() {
            [] => Failure::Other("the configuration has no WAF policy".into()),
            names => Failure::Usage(format!("`--policy` is to be one of: {}", names.join(", "))),
        })?
    } else {
        let rules = eval.rules.iter().map(|rules| match rules.to_str() {
            Some("crs") => WafRules::Crs,
            _ => WafRules::Files(rules.clone()),
        });
        let rules = rules.collect();
        Waf { rules, response_bodies: true, ..Waf::default() }
    };
    document.paranoia = eval.paranoia.unwrap_or(document.paranoia);
    document.inbound_threshold = eval.threshold.or(document.inbound_threshold);
    if eval.batch {
        // Suites ask which rules match, also behind a limit.
        document.on_limit.arguments = WafOverLimit::Pass;
        document.on_limit.malformed = WafOverLimit::Pass;
    }
    let name = eval.policy.clone().or_else(|| "eval".parse().ok());
    config.waf.extend(name.map(|name| (name, document)));
    Ok(config)
}

/// What would become of a request: checks, then rules.
fn judge(trial: &WafTrial, client: IpAddr, request: &Message) -> Report {
    let (method, target) = request.method_and_target();
    let path = str::from_utf8(target).ok().and_then(tidegate_proxy::route_path);
    let method = Method::from_bytes(method).unwrap_or_default();
    let headers = request.headers.iter().filter_map(|(name, value)| {
        HeaderName::from_bytes(name).ok().zip(HeaderValue::from_bytes(value).ok())
    });
    let headers: HeaderMap = headers.collect();
    let has_body = !request.body.is_empty();
    let checked = match &path {
        Some(path) => trial.check(client, &method, path, &headers, has_body),
        None => WafChecked::Passed,
    };
    let before = match checked {
        WafChecked::Passed => None,
        WafChecked::Bypassed => return Report::of_checks("bypassed", "the policy's `bypass`"),
        WafChecked::Refused(check) if trial.blocks() => {
            return Report::of_checks("blocked", &check);
        }
        WafChecked::Refused(check) => Some(check),
    };
    let connection = Connection { client, ..Connection::default() };
    let mut transaction = trial.transaction(&connection, path.as_deref());
    message::run(&mut transaction, request, None);
    match (before, report(&transaction)) {
        (Some(check), rules) if rules.verdict["outcome"] == "passed" => {
            Report { rules: rules.rules, ..Report::of_checks("detected", &check) }
        }
        (_, report) => report,
    }
}

fn read(file: &PathBuf) -> Result<Message, Failure> {
    let failed = |error: io::Error| Failure::Other(format!("`{}`: {error}", file.display()));
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        io::stdin().lock().take(MESSAGE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let opened = std::fs::File::open(file).map_err(failed)?;
        opened.take(MESSAGE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    }
    Message::parse(&with_crlf(bytes)).ok_or_else(|| {
        let file = file.display();
        Failure::Other(format!("`{file}`: not a request: no empty line ends its head"))
    })
}

/// Editors end the lines of a head with LF alone.
fn with_crlf(bytes: Vec<u8>) -> Vec<u8> {
    let blank = |end: &[u8]| bytes.windows(end.len()).position(|window| window == end);
    match (blank(b"\r\n\r\n"), blank(b"\n\n")) {
        (None, Some(end)) => {
            let mut head = Vec::new();
            for line in bytes[..end].split(|&byte| byte == b'\n') {
                head.extend_from_slice(line);
                head.extend_from_slice(b"\r\n");
            }
            [&head, &b"\r\n"[..], &bytes[end + 2..]].concat()
        }
        (None, None) if bytes.ends_with(b"\n") => {
            // A head alone, its empty line forgotten.
            let text = bytes.strip_suffix(b"\n").unwrap_or_default();
            with_crlf([text, b"\n\n"].concat())
        }
        _ => bytes,
    }
}

struct Report {
    verdict: Value,
    score: Option<u64>,
    rules: Vec<Value>,
    told: String,
}

fn report(transaction: &Transaction<'_>) -> Report {
    let score = transaction.scores().inbound;
    let stands = transaction.verdict();
    let (word, verdict) = match (stands, transaction.would_be()) {
        (Verdict::Pass, Verdict::Pass) => ("passed", stands),
        (Verdict::Pass, would) => ("detected", would),
        (blocked, _) => ("blocked", blocked),
    };
    let cause = verdict.cause();
    let (by, why) = match cause {
        None => (Value::Null, String::new()),
        Some(Cause::Rule(id)) => (json!({ "rule": id }), format!(" by rule {id}")),
        Some(Cause::Limit(limit)) => {
            (json!({ "limit": limit.word() }), format!(" by the limit `{}`", limit.word()))
        }
    };
    let shown = score.map_or(String::new(), |score| format!(", score {score}"));
    Report {
        verdict: json!({ "outcome": word, "status": cause.map(tidegate_proxy::waf_status), "by": by }),
        score,
        rules: transaction.matches().iter().map(rule).collect(),
        told: format!("{word}{why}{shown}"),
    }
}

fn rule(found: &Match) -> Value {
    let text = |bytes: &[u8]| Escaped(bytes).to_string();
    let values = found.values.iter().map(|value| {
        json!({ "variable": text(&value.variable), "value": text(&value.value), "cut": value.cut })
    });
    json!({
        "id": found.id,
        "phase": found.phase,
        "message": text(&found.message),
        "severity": found.severity,
        "score": found.score,
        "tags": found.tags.iter().map(|tag| text(tag)).collect::<Vec<_>>(),
        "at": found.at.to_string(),
        "values": values.collect::<Vec<_>>(),
    })
}

impl Report {
    /// Of a request whose fate no rule decides.
    fn of_checks(outcome: &str, check: &str) -> Self {
        let status = (outcome == "blocked").then_some(403);
        Self {
            verdict: json!({ "outcome": outcome, "status": status, "by": { "check": check } }),
            score: None,
            rules: Vec::new(),
            told: format!("{outcome} by {check}"),
        }
    }

    fn text(&self, file: &str) -> String {
        let mut out = format!("{file}: {}\n", self.told);
        for rule in &self.rules {
            let plain = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
            let score = match rule["score"].as_i64() {
                Some(score) if score != 0 => format!(" (score {score:+})"),
                _ => String::new(),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "  rule {}, phase {}: {}{score}\n    {}",
                rule["id"],
                rule["phase"],
                plain("message"),
                plain("at")
            );
            for value in rule["values"].as_array().into_iter().flatten() {
                let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
                let more = if value["cut"] == true { " ..." } else { "" };
                let _ = writeln!(out, "    {} = {}{more}", text("variable"), text("value"));
            }
        }
        out
    }
}

/// One answer a request, until there is none.
fn batch(trial: &WafTrial) -> Result<(), Failure> {
    let mut input = io::stdin().lock();
    let mut output = io::stdout().lock();
    let mut line = String::new();
    for count in 0_u64.. {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            break;
        }
        let mut sizes = line.split_ascii_whitespace().map(str::parse::<u64>);
        let (request, response) = match (sizes.next(), sizes.next()) {
            (Some(Ok(request)), Some(Ok(response))) if request.max(response) <= MESSAGE_BYTES => {
                (request, response)
            }
            _ => {
                let line = line.trim();
                return Err(Failure::Other(format!("expected two sizes, found `{line}`")));
            }
        };
        let mut message = |size: u64| -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; size as usize];
            input.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        let (request, response) = (message(request)?, message(response)?);
        let id = count.to_string();
        writeln!(output, "{}", answer(trial, &request, &response, &id))?;
        output.flush()?;
    }
    Ok(())
}

fn answer(trial: &WafTrial, request: &[u8], response: &[u8], id: &str) -> Value {
    let Some(request) = Message::parse(request) else { return json!({ "ids": [], "status": 400 }) };
    let connection = Connection {
        unique_id: id.as_bytes(),
        server_port: 80,
        client_port: 40_000,
        ..Connection::default()
    };
    let (_, target) = request.method_and_target();
    let path = str::from_utf8(target).ok().and_then(tidegate_proxy::route_path);
    let mut transaction = trial.transaction(&connection, path.as_deref());
    message::run(&mut transaction, &request, Message::parse(response).as_ref());
    let ids: Vec<u64> = transaction.matches().iter().map(|found| found.id).collect();
    json!({ "ids": ids, "status": transaction.verdict().status().unwrap_or(200) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_from_an_editor_is_a_request() {
        let crlf = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nbody\n".to_vec();
        assert_eq!(with_crlf(b"GET / HTTP/1.1\nhost: a\n\nbody\n".to_vec()), crlf);
        assert_eq!(with_crlf(crlf.clone()), crlf);
        assert_eq!(with_crlf(b"GET / HTTP/1.1\n".to_vec()), b"GET / HTTP/1.1\r\n\r\n");
    }
}
