//! What a WAF policy does to responses, what its audit log tells, and the commands that read it.

use super::reasons;
use crate::support::{
    Client, Dir, Edge, Origin,
    client::{Reply, with_headers},
    edge::{Output, run_cli},
    eventually, listener,
    origin::{Act, Then},
    route, service,
};
use serde_json::Value;
use std::path::Path;

const RULES: &str = r#"
SecResponseBodyMimeType text/html
SecRule ARGS "@contains attack" "id:1001,phase:2,pass,log,msg:'An attack',tag:'attack-test',severity:CRITICAL,setvar:'tx.blocking_inbound_anomaly_score=+5'"
SecRule TX:BLOCKING_INBOUND_ANOMALY_SCORE "@ge 5" "id:1003,phase:2,deny,log,msg:'Over the threshold'"
SecRule RESPONSE_HEADERS:X-Debug "@rx ." "id:2001,phase:3,deny,log,msg:'Debugging is on'"
SecRule RESPONSE_BODY "@contains secret-token" "id:2002,phase:4,deny,log,msg:'A leak'"
SecRule REQUEST_HEADERS:X-Mark "@rx ." "id:3001,phase:5,pass,log,msg:'Summed up'"
"#;

fn config(dir: &Dir, endpoint: std::net::SocketAddr, lines: &str) -> String {
    let rules = dir.write("rules.conf", RULES);
    let log = dir.path("waf.log");
    format!("[log]\nformat = \"json\"\nwaf = {log:?}\n")
        + &listener("http")
        + &format!("\n[waf.strict]\nrules = [{rules:?}]\n{lines}\n")
        + &service("app", &[("app", 100, endpoint)])
        + &route("app")
        + "waf = \"strict\"\n"
}

fn answer(headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::raw(
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{headers}\r\n{body}"),
        Then::Close,
    )
}

/// The record of this request; records are written when it is over.
async fn record(log: &Path, path: &str) -> Value {
    eventually("its audit record", || {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let found = records.rev().find(|record| record["path"] == path);
        async { found }
    })
    .await
}

#[tokio::test]
async fn responses_are_looked_at_before_the_client_gets_them() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let html = "Content-Type: text/html\r\n";
    origin
        .on("/debug", answer("X-Debug: 1\r\n", "fine"))
        .on("/leak", answer(html, "<p>secret-token</p>"))
        .on("/other", answer("Content-Type: text/css\r\n", "secret-token"))
        .on("/fine", answer(html, "<p>nothing</p>"))
        .on(
            "/cut",
            Act::raw(format!("HTTP/1.1 200 OK\r\n{html}Content-Length: 99\r\n\r\nx"), Then::Close),
        )
        .on("/long", answer(html, &("x".repeat(5_000) + "secret-token")));
    let log = dir.path("waf.log");
    let lines = "response_bodies = true\nresponse_limit = \"1KiB\"";
    let edge = Edge::start_in(dir.clone(), &config(&dir, origin.address, lines)).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        client.get("/debug").await.assert_refused(403, reasons::WAF_BLOCKED);
        client.get("/leak").await.assert_refused(403, reasons::WAF_BLOCKED);
        // Not a type that the rules want to see.
        assert_eq!(client.get("/other").await.text(), "secret-token");
        assert_eq!(client.get("/fine").await.text(), "<p>nothing</p>");
        client.get("/cut").await.assert_refused(502, reasons::UPSTREAM_TRUNCATED);
        // Beyond the limit it passes, whole.
        assert_eq!(client.get("/long").await.text().len(), 5_012);
    }
    let told = record(&log, "/leak").await;
    assert_eq!(told["decided_by"]["rule"], 2002, "{told}");
    assert_eq!((&told["rules"][0]["phase"], &told["outcome"]), (&4.into(), &"blocked".into()));
    // The upstream was not asked for what rules cannot read.
    let gzip = with_headers("GET", "/gzip", &[("accept-encoding", "gzip")], "");
    Client::http1(http).send(gzip).await;
    assert_eq!(origin.only("/gzip").header("accept-encoding"), None);
}

#[tokio::test]
async fn the_bodies_of_responses_are_left_alone_by_default() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    origin.on("/leak", answer("Content-Type: text/html\r\n", "secret-token"));
    let edge = Edge::start_in(dir.clone(), &config(&dir, origin.address, "")).await;
    let mut client = Client::http1(edge.address("http").await);
    assert_eq!(client.get("/leak").await.text(), "secret-token");
}

#[tokio::test]
async fn the_audit_log_tells_what_is_needed_and_no_secret() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let log = dir.path("waf.log");
    let edge = Edge::start_in(dir.clone(), &config(&dir, origin.address, "")).await;
    let mut client = Client::http1(edge.address("http").await);
    let headers = [("authorization", "Bearer hunter2"), ("cookie", "s=hunter2"), ("x-mark", "m")];
    let reply = client.send(with_headers("GET", "/a?q=an+attack", &headers, "")).await;
    let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    reply.assert_refused(403, reasons::WAF_BLOCKED);
    let told = record(&log, "/a?q=an+attack").await;
    assert_eq!(told["request_id"], id.as_str(), "{told}");
    assert_eq!((&told["policy"], &told["mode"]), (&"strict".into(), &"block".into()), "{told}");
    assert_eq!(told["decided_by"]["rule"], 1003, "{told}");
    assert_eq!((&told["score"], &told["status"]), (&5.into(), &403.into()), "{told}");
    let ids: Vec<_> = told["rules"].as_array().unwrap().iter().map(|rule| &rule["id"]).collect();
    assert_eq!(ids, [1001, 1003, 3001], "phase 5 has its say: {told}");
    assert_eq!(told["rules"][0]["tags"][0], "attack-test", "{told}");
    assert_eq!(told["rules"][0]["score"], 5, "{told}");
    assert!(told["headers"].to_string().contains("***"), "{told}");
    assert!(!std::fs::read_to_string(&log).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn limits_pass_where_the_policy_says_so() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let lines = "body_limit = \"1KiB\"\narguments = 10\n\
                 on_limit = { body = \"pass\", arguments = \"pass\", malformed = \"pass\" }";
    let edge = Edge::start_in(dir.clone(), &config(&dir, origin.address, lines)).await;
    let mut client = Client::http1(edge.address("http").await);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let long = format!("a={}", "x".repeat(5_000));
    let reply = client.send(with_headers("POST", "/", &form, long.clone())).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["body"]), (200, &long.into()));
    let many: Vec<_> = (0..20).map(|n| format!("a{n}=1")).collect();
    assert_eq!(client.send(with_headers("POST", "/", &form, many.join("&"))).await.status, 200);
    let json = [("content-type", "application/json")];
    assert_eq!(client.send(with_headers("POST", "/", &json, "{\"a\":")).await.status, 200);
    // Each by its own switch.
    let lines = "body_limit = \"1KiB\"\narguments = 10\non_limit = { body = \"pass\", arguments = \"pass\" }";
    let own = Dir::new();
    let strict = Edge::start_in(own.clone(), &config(&own, origin.address, lines)).await;
    let mut other = Client::http1(strict.address("http").await);
    let (long, many) = (format!("[\"{}\"]", "x".repeat(5_000)), format!("[1{}]", ",1".repeat(20)));
    for (body, status) in [(long.as_str(), 200), (&many, 200), ("{\"a\":", 400)] {
        let reply = other.send(with_headers("POST", "/json", &json, body.to_owned())).await;
        assert_eq!(reply.status, status, "{body}");
    }
    drop(strict);
    // Both logs and a metric tell of it.
    let line = edge.logs().await_access("the long form's line", |line| {
        line["waf"]["limits"] == serde_json::json!(["body"])
    });
    assert_eq!(line.await["waf"]["outcome"], "passed");
    assert_eq!(record(&dir.path("waf.log"), "/").await["outcome"], "passed");
    let api = edge.api();
    for limit in ["body", "arguments", "malformed"] {
        let label = format!("limit=\"{limit}\"");
        api.counted("tidegate_waf_limits_total", &[&label], 1.0).await;
    }
    // What is within the limit is looked at all the same.
    let bad = format!("a=attack&b={}", "x".repeat(5_000));
    let refused = client.send(with_headers("POST", "/", &form, bad)).await;
    refused.assert_refused(403, reasons::WAF_BLOCKED);
}

#[tokio::test]
async fn a_logged_request_leads_to_the_exclusion_that_lets_it_pass() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let log = dir.path("waf.log");
    let base = config(&dir, origin.address, "");
    let edge = Edge::start_in(dir.clone(), &base).await;
    let mut client = Client::http1(edge.address("http").await);
    let target = "/forum?comment=an+attack";
    let reply = client.get(target).await;
    let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    reply.assert_refused(403, reasons::WAF_BLOCKED);
    record(&log, target).await;
    let output = run_cli(&["waf", "exclude", &id, "--log", log.to_str().unwrap()], &[]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let narrow = r#"{ rules = [1001], target = "ARGS:comment", path = "=/forum" }"#;
    assert!(output.stdout.contains(narrow), "{output:?}");
    edge.reload(&base.replace("[waf.strict]\n", &format!("[waf.strict]\n{}", output.stdout))).await;
    assert_eq!(client.get(target).await.status, 200);
    client.get("/forum?other=attack").await.assert_refused(403, reasons::WAF_BLOCKED);
    client.get("/else?comment=attack").await.assert_refused(403, reasons::WAF_BLOCKED);
    // A path that the client spelled otherwise, and more values than are logged.
    let many: Vec<_> = (0..12).map(|n| format!("a{n}=attack")).collect();
    let target = format!("/x/../%66orum%27s?{}", many.join("&"));
    let reply = client.get(&target).await;
    let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    reply.assert_refused(403, reasons::WAF_BLOCKED);
    record(&log, &target).await;
    let output = run_cli(&["waf", "exclude", &id, "--log", log.to_str().unwrap()], &[]).await;
    let narrow = r#"{ rules = [1001], target = "ARGS", path = "=/forum%27s" }"#;
    assert!(output.stdout.contains(narrow), "{output:?}");
    let unknown = run_cli(&["waf", "exclude", "nobody", "--log", log.to_str().unwrap()], &[]).await;
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(unknown.stderr.contains("tells of no request `nobody`"), "{unknown:?}");
}

#[tokio::test]
async fn eval_explains_rule_by_rule() {
    let dir = Dir::new();
    let file = dir.write("tidegate.toml", &config(&dir, "127.0.0.1:1".parse().unwrap(), ""));
    let bad = dir.write("bad.http", "GET /?q=an+attack HTTP/1.1\nHost: a\n\n");
    let good = dir.write("good.http", "GET /?q=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (file, bad, good) = (file.to_str().unwrap(), bad.to_str().unwrap(), good.to_str().unwrap());
    let output = run_cli(&["waf", "eval", "-c", file, bad, good], &[]).await;
    assert_eq!(output.code, 0, "{output:?}");
    for words in [
        "bad.http: blocked by rule 1003, score 5",
        "rule 1001, phase 2: An attack (score +5)",
        "rules.conf:3",
        "ARGS:q = an attack",
        "good.http: passed",
    ] {
        assert!(output.stdout.contains(words), "`{words}` is missing in {}", output.stdout);
    }
    let output = run_cli(&["--json", "waf", "eval", "-c", file, bad], &[]).await;
    let told: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(told[0]["verdict"]["by"]["rule"], 1003, "{told}");
    let output = run_cli(&["waf", "eval", "-c", file, "--policy", "other", bad], &[]).await;
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("strict"), "{output:?}");
}

/// `tidegate waf exclude` of the request that this was the answer to.
async fn exclude(log: &Path, reply: Reply, path: &str) -> Output {
    let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    reply.assert_refused(403, reasons::WAF_BLOCKED);
    record(log, path).await;
    run_cli(&["waf", "exclude", &id, "--log", log.to_str().unwrap()], &[]).await
}

#[tokio::test]
async fn what_was_no_rule_of_the_request_is_told_as_what_it_was() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let log = dir.path("waf.log");
    origin.on("/debug", answer("X-Debug: 1\r\n", "fine"));
    let lines = "methods = [\"GET\", \"PUT\"]\n\
                 patches = [{ name = \"p\", path = \"/patched\", target = \"ARGS:x\", matches = \"bad\" }]\n";
    let edge = Edge::start_in(dir.clone(), &config(&dir, origin.address, lines)).await;
    let mut client = Client::http1(edge.address("http").await);

    let of_response = exclude(&log, client.get("/debug").await, "/debug").await;
    let narrow = r#"{ rules = [2001], target = "RESPONSE_HEADERS:X-Debug", path = "=/debug" }"#;
    assert!(of_response.stdout.to_lowercase().contains(&narrow.to_lowercase()), "{of_response:?}");

    let patched = exclude(&log, client.get("/patched?x=bad").await, "/patched?x=bad").await;
    let narrow = r#"{ rules = [9990000], target = "ARGS:x", path = "=/patched" }"#;
    assert!(
        patched.stdout.contains(narrow) && patched.stdout.contains("change the patch"),
        "{patched:?}"
    );
    assert_eq!(patched.stdout.matches("target").count(), 1, "{patched:?}");

    let checked = client.send(with_headers("DELETE", "/deleted", &[], "")).await;
    let checked = exclude(&log, checked, "/deleted").await;
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(checked.stderr.contains("`method` (method DELETE)"), "{checked:?}");
}

#[tokio::test]
async fn eval_and_explain_know_the_checks_before_the_rules() {
    let dir = Dir::new();
    let lines = "deny = { addresses = [\"192.0.2.0/24\"] }\npaths = [\"/shop\"]\n\
                 exclusions = [{ rules = [1001], path = \"/shop/free\" }]";
    let document = config(&dir, "127.0.0.1:1".parse().unwrap(), lines);
    let file = dir.write("tidegate.toml", &document);
    let file = file.to_str().unwrap();
    let requests = [
        ("out", "/else", "blocked by path (path /else)"),
        ("in", "/shop/free?q=attack", "passed"),
        ("around", "/shop/free/../x?q=attack", "blocked by rule 1003"),
    ];
    for (name, target, told) in requests {
        let request = dir.write(name, &format!("GET {target} HTTP/1.1\nHost: a\n\n"));
        let request = request.to_str().unwrap();
        let output = run_cli(&["waf", "eval", "-c", file, request], &[]).await;
        assert!(output.stdout.contains(told), "{output:?}");
        let output =
            run_cli(&["waf", "eval", "-c", file, "--client", "192.0.2.9", request], &[]).await;
        assert!(output.stdout.contains("blocked by deny (address 192.0.2.0/24)"), "{output:?}");
    }
    let edge = Edge::start_in(dir.clone(), &document).await;
    let told = edge.api().json("/v1/explain?url=http%3A%2F%2Fa.test%2Felse").await;
    assert_eq!(told["reason"], reasons::WAF_BLOCKED, "{told}");
    let told = edge.api().json("/v1/explain?url=http%3A%2F%2Fa.test%2Fshop").await;
    assert_eq!(told["outcome"], "service", "{told}");
}

#[tokio::test]
async fn check_reads_what_a_policy_names() {
    let dir = Dir::new();
    let lines = "exclusions = [{ target = \"ARGSS:x\" }]";
    let file = dir.write("tidegate.toml", &config(&dir, "127.0.0.1:1".parse().unwrap(), lines));
    let file = file.to_str().unwrap();
    let output = run_cli(&["check", "-c", file], &[]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("1 fault\n") && output.stderr.contains("`ARGSS`"), "{output:?}");
    dir.write("rules.conf", "SecRule ARGS \"@frobnicate x\" \"id:1,phase:2,deny\"\n");
    let output = run_cli(&["--json", "check", "-c", file], &[]).await;
    let told: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(told["valid"], false, "{told}");
    assert!(told["faults"][0]["message"].as_str().unwrap().contains("rules.conf:1"), "{told}");
    let output = run_cli(&["check", "-c", file, "--document-only"], &[]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let lines =
        "exclusions = [{ rules = [999] }, { tags = [\"attack-test\"], target = \"ARGS:x\" }]";
    dir.write("tidegate.toml", &config(&dir, "127.0.0.1:1".parse().unwrap(), lines));
    let output = run_cli(&["check", "-c", file], &[]).await;
    assert!(output.stdout.contains("about rule 999, and there is no such rule"), "{output:?}");
    assert_eq!(output.stdout.matches("warning").count(), 1, "{output:?}");
}
