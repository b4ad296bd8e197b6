//! The stage before the rules: a policy's checks of the head, counted and logged like its rules.

use super::{
    Inspected, Outcome, Waf,
    crawlers::Identity,
    guard::{Check, Decision, Facts, Finding},
};
use crate::{
    body::ClientBody, conn::Connection, observe::Observation, reason::Reason, respond::Refusal,
};
use http::{HeaderMap, Method, Request, header::USER_AGENT};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tidegate_config::WafMode;

/// Whether a request goes on to the policy's rules; an error is the answer. `path` is the path
/// as routes match it.
pub(crate) fn check(
    waf: &Arc<Waf>,
    connection: &Connection,
    observation: &mut Observation,
    request: &Request<ClientBody>,
    path: &str,
) -> Result<bool, Refusal> {
    let has_rules = !waf.policy.rules().is_empty();
    let finding = match decide(waf, connection, observation, request, path) {
        Decision::Bypass => {
            waf.counts.check(Check::Bypass);
            return Ok(false);
        }
        Decision::Pass if has_rules => return Ok(true),
        Decision::Pass => None,
        Decision::Refuse(finding) => Some(finding),
    };
    let outcome = match (&finding, waf.document.mode) {
        (None, _) => Outcome::Passed,
        (Some(_), WafMode::Block) => Outcome::Blocked,
        (Some(_), WafMode::Detect) => Outcome::Detected,
    };
    let refusal = finding.as_ref().filter(|_| outcome == Outcome::Blocked).map(|finding| {
        let detail = format!("WAF policy `{}`: {}", waf.name, finding.told());
        Refusal::new(Reason::WafBlocked, detail)
    });
    if let Some(finding) = &finding {
        waf.counts.check(finding.check);
    }
    // Rules, if there are any, add what they find.
    let inspected = Inspected::checked(waf, outcome, finding, request.headers());
    observation.facts.inspected = Some(Box::new(inspected));
    refusal.map_or(Ok(has_rules), Err)
}

/// What the checks that ask nobody say of a head.
pub(crate) fn judge(
    waf: &Waf,
    client: IpAddr,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    has_body: bool,
) -> Decision {
    let (country, asn) = waf.guard.place(client);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    waf.guard.judge(&Facts { client, country, asn, method, path, headers, has_body }, now)
}

fn decide(
    waf: &Waf,
    connection: &Connection,
    observation: &Observation,
    request: &Request<ClientBody>,
    path: &str,
) -> Decision {
    let client = observation.facts.client;
    let has_body = !request.body().is_empty();
    let decision = judge(waf, client, request.method(), path, request.headers(), has_body);
    if decision != Decision::Pass {
        return decision;
    }
    let user_agent = request.headers().get(USER_AGENT).map(|value| value.as_bytes());
    let Some(crawler) = waf.guard.claimed(user_agent) else { return Decision::Pass };
    match connection.core.crawlers.identity(client, crawler) {
        Identity::Verified | Identity::Unknown => Decision::Pass,
        Identity::Refuted => {
            let by = vec![("crawler", crawler.name.clone().into_bytes())];
            Decision::Refuse(Finding { check: Check::Crawler, by })
        }
    }
}
