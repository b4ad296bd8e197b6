//! What would become of a request: the decisions of `request`, told instead of acted on.

use crate::{
    client,
    core::Core,
    normalise,
    reason::Reason,
    request::{host, https_url, location},
    route::RequestKey,
    snapshot::RouteAction,
    sticky,
    upstream::Endpoint,
    waf,
};
use http::{HeaderMap, HeaderValue, Method, Uri};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tidegate_config::{Name, Sticky, WafMode};

/// A request that nobody sends.
#[derive(Clone, Debug)]
pub struct Question {
    /// With scheme and host.
    pub uri: Uri,
    /// Its method.
    pub method: Method,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its client.
    pub client: IpAddr,
}

/// What would become of it, stage by stage.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// (stage, what it decided and why).
    pub steps: Vec<(&'static str, String)>,
    /// `service`, `redirect`, `respond` or `refused`.
    pub outcome: &'static str,
    /// The route.
    pub route: Option<Name>,
    /// The service.
    pub service: Option<Name>,
    /// The version this request gets; one such request, where nothing ties it to a version.
    pub version: Option<Name>,
    /// Endpoints that could be chosen.
    pub endpoints: Vec<SocketAddr>,
    /// The reason word of a refusal.
    pub reason: Option<&'static str>,
}

impl Answer {
    fn say(&mut self, stage: &'static str, what: impl Into<String>) {
        self.steps.push((stage, what.into()));
    }

    fn refuse(mut self, stage: &'static str, reason: Reason, why: impl Into<String>) -> Self {
        self.say(stage, why);
        self.outcome = "refused";
        self.reason = Some(reason.word());
        self
    }
}

pub(crate) fn explain(core: &Core, question: &Question) -> Answer {
    let snapshot = core.snapshot();
    let mut answer = Answer::default();
    let https = question.uri.scheme_str() == Some("https");

    if matches!(question.method, Method::CONNECT | Method::TRACE) {
        let why = format!("{} is never forwarded", question.method);
        return answer.refuse("normalise", Reason::Method, why);
    }
    let authority = question.uri.authority().map_or("", |authority| authority.as_str());
    let authority = HeaderValue::try_from(authority).unwrap_or(HeaderValue::from_static(""));
    let host = host(&authority);
    let path = match normalise::path(question.uri.path()) {
        Ok(path) => path,
        Err(bad) => return answer.refuse("normalise", Reason::BadPath, bad.to_string()),
    };
    answer.say("normalise", format!("host `{host}`, path `{path}`, client {}", question.client));

    // The listener of that scheme and port, else of that scheme.
    let port = question.uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let of_scheme = || snapshot.listeners.values().filter(|l| l.tls.is_some() == https);
    let by_port = core.listeners().into_iter().find(|l| l.bound.port() == port);
    let by_port = by_port.and_then(|listener| snapshot.listeners.get(&listener.name));
    let by_port = by_port.filter(|listening| listening.tls.is_some() == https);
    let Some(listening) = by_port.or_else(|| of_scheme().next()) else {
        let why = format!("no listener speaks {}", if https { "https" } else { "http" });
        return answer.refuse("listener", Reason::NoRoute, why);
    };
    answer.say("listener", format!("`{}`", listening.name));
    if let Some(port) = listening.document.redirect_https {
        let to = https_url(&host, port, &path, question.uri.query());
        answer.say("respond", format!("308 to `{to}`: the listener redirects everything to https"));
        answer.outcome = "redirect";
        return answer;
    }

    let key = RequestKey {
        listener: &listening.name,
        host: &host,
        path: &path,
        method: &question.method,
        headers: &question.headers,
    };
    let Some(route) = snapshot.routes.find(&key) else {
        return answer.refuse("route", Reason::NoRoute, "no route matches host, path and the rest");
    };
    answer.route = Some(route.name.clone());
    answer.say("route", format!("`{}`", route.name));
    for limit in &route.limits {
        let document = &limit.document;
        let says = format!(
            "`{}`: {} per {:?}, burst {}",
            limit.name, document.rate.count, document.rate.per, document.burst
        );
        answer.say("limits", says);
    }

    if let Some(waf) = &route.waf {
        let says = format!(
            "policy `{}` ({}, paranoia {}, {} rules)",
            waf.name,
            waf.document.mode,
            waf.document.paranoia,
            waf.policy.rules_in_force()
        );
        answer.say("waf", says);
        let (method, headers) = (&question.method, &question.headers);
        match waf::judge(waf, question.client, method, &path, headers, false) {
            waf::Decision::Pass => {}
            waf::Decision::Bypass => answer.say("waf", "the client bypasses the policy"),
            waf::Decision::Refuse(finding) if waf.document.mode == WafMode::Block => {
                return answer.refuse("waf", Reason::WafBlocked, finding.told());
            }
            waf::Decision::Refuse(finding) => {
                answer.say("waf", format!("{}: refused once the mode is `block`", finding.told()));
            }
        }
    }

    let service = match &route.action {
        RouteAction::Service(at) => &snapshot.services[*at],
        RouteAction::Redirect { to, status, keep_path } => {
            let to = location(to, *keep_path, &path, question.uri.query());
            answer.say("respond", format!("{} to `{to}`", status.as_u16()));
            answer.outcome = "redirect";
            return answer;
        }
        RouteAction::Respond { status, .. } => {
            answer.say("respond", format!("a fixed {}", status.as_u16()));
            answer.outcome = "respond";
            return answer;
        }
    };
    answer.service = Some(service.name.clone());
    let (salt, random) = (core.salt, rand::random());
    let client = client::key(question.client);
    let Some(choice) = sticky::choose(service, salt, &question.headers, client, https, random)
    else {
        return answer.refuse("release", Reason::NoEndpoint, "no version has weight");
    };
    let version = &service.versions[choice.version];
    answer.version = Some(version.name.clone());
    let shares: Vec<_> = service
        .versions
        .iter()
        .map(|v| format!("{} {:.2} %", v.name, share(v.weight.hundredths(), service.total)))
        .collect();
    let tie = match &service.sticky {
        None => "each request by itself".to_owned(),
        Some(Sticky::ClientIp) => "by client address".to_owned(),
        Some(Sticky::Header(name)) => format!("by header `{name}`"),
        Some(Sticky::Cookie(name)) if choice.set_cookie.is_some() => {
            format!("by a new cookie `{name}`")
        }
        Some(Sticky::Cookie(name)) => format!("by cookie `{name}`"),
    };
    let says = format!(
        "service `{}` ({}), {tie}: version `{}`",
        service.name,
        shares.join(", "),
        version.name
    );
    answer.say("release", says);

    let usable: Arc<Vec<Arc<Endpoint>>> = version.upstream.usable();
    answer.endpoints = usable.iter().map(|endpoint| endpoint.address).collect();
    if usable.is_empty() {
        let why = format!("upstream `{}` has no usable endpoint", version.upstream.name);
        return answer.refuse("balance", Reason::NoEndpoint, why);
    }
    let says = format!(
        "upstream `{}`: {} of {} endpoints usable",
        version.upstream.name,
        usable.len(),
        version.upstream.endpoints.len()
    );
    answer.say("balance", says);
    answer.outcome = "service";
    answer
}

fn share(weight: u32, total: u32) -> f64 {
    100.0 * f64::from(weight) / f64::from(total.max(1))
}
