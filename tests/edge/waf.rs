//! What a WAF policy does to requests on their way.

use super::reasons;
use crate::support::{
    Client, Dir, Edge, Origin, RawClient,
    client::{request, streaming, with_headers},
    eventually, get,
    grpc::fed_body,
    listener, route, service, websocket,
};
use bytes::Bytes;
use hyper::body::Frame;
use std::path::{Path, PathBuf};

/// Two attacks by their names, scored as the Core Rule Set does.
const RULES: &str = r#"
SecRule ARGS "@contains attack" "id:1001,phase:2,pass,log,t:lowercase,msg:'An attack',tag:'attack-test',severity:CRITICAL,setvar:'tx.blocking_inbound_anomaly_score=+5'"
SecRule REQUEST_HEADERS:User-Agent "@streq scanner" "id:1002,phase:1,deny,status:403,log,msg:'A scanner'"
SecRule TX:BLOCKING_INBOUND_ANOMALY_SCORE "@ge 5" "id:1003,phase:2,deny,status:403,log,msg:'Over the threshold'"
"#;

fn policy(dir: &Dir, rules: &str, lines: &str) -> String {
    let file = dir.write("rules.conf", rules);
    format!("\n[waf.strict]\nrules = [{file:?}]\n{lines}\n")
}

fn guarded(endpoint: std::net::SocketAddr, policy: &str) -> String {
    listener("http")
        + policy
        + &service("app", &[("app", 100, endpoint)])
        + &route("app")
        + "waf = \"strict\"\n"
}

#[tokio::test]
async fn an_attack_is_refused_before_an_upstream_is_contacted_and_told_in_the_log() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let config = guarded(origin.address, &policy(&dir, RULES, ""));
    let edge = Edge::start_in(dir, &config).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        client.get("/?q=an+ATTACK").await.assert_refused(403, reasons::WAF_BLOCKED);
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let post = with_headers("POST", "/form", &form, "a=1&b=attack");
        client.send(post).await.assert_refused(403, reasons::WAF_BLOCKED);
        let json = [("content-type", "application/json")];
        let post = with_headers("POST", "/json", &json, r#"{"deep": {"list": ["attack"]}}"#);
        client.send(post).await.assert_refused(403, reasons::WAF_BLOCKED);
        let scanner = with_headers("GET", "/", &[("user-agent", "scanner")], "");
        client.send(scanner).await.assert_refused(403, reasons::WAF_BLOCKED);
    }
    assert_eq!(origin.requests(), 0);

    let line = edge.logs().await_access("the form's line", |line| line["path"] == "/form").await;
    let told = &line["waf"];
    assert_eq!(
        (&told["policy"], &told["outcome"]),
        (&"strict".into(), &"blocked".into()),
        "{line}"
    );
    assert_eq!(told["score"], 5, "{line}");
    assert_eq!(told["rules"][0]["id"], 1001, "{line}");
    assert_eq!(told["rules"][0]["values"][0]["variable"], "ARGS:b", "{line}");
    assert!(line["detail"].as_str().unwrap().contains("1003"), "{line}");
    let api = edge.api();
    let blocked = ["policy=\"strict\"", "outcome=\"blocked\""];
    api.counted("tidegate_waf_requests_total", &blocked, 8.0).await;
    api.counted("tidegate_waf_matches_total", &["rule=\"1001\""], 6.0).await;
}

#[tokio::test]
async fn what_passes_arrives_byte_for_byte() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let config = guarded(origin.address, &policy(&dir, RULES, ""));
    let edge = Edge::start_in(dir, &config).await;
    let http = edge.address("http").await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for mut client in [Client::http1(http), Client::http2(http)] {
        let reply = client.send(with_headers("POST", "/a", &form, "a=1&b=two")).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["body"]), (200, &"a=1&b=two".into()));
        // A body of unknown length.
        let (feed, body) = fed_body();
        let mut upload = streaming("POST", "/b", body);
        upload.headers_mut().insert("content-type", form[0].1.parse().unwrap());
        let sent = tokio::spawn(async move { client.send(upload).await });
        for part in ["a=1", "&b=", "three"] {
            feed.send(Frame::data(Bytes::from(part))).await.unwrap();
        }
        drop(feed);
        assert_eq!(sent.await.unwrap().json()["body"], "a=1&b=three");
    }
}

#[tokio::test]
async fn detect_mode_tells_and_stops_nothing() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let detect = "mode = \"detect\"\nbody_limit = \"1KiB\"";
    let config = guarded(origin.address, &policy(&dir, RULES, detect));
    let edge = Edge::start_in(dir, &config).await;
    let mut client = Client::http1(edge.address("http").await);
    assert_eq!(client.get("/?q=attack").await.status, 200);
    // Of a body over the limit the beginning was looked at, and all of it goes on.
    let long = format!("a=attack&b={}", "x".repeat(5_000));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let reply = client.send(with_headers("POST", "/long", &form, long.clone())).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["body"]), (200, &long.into()));
    let line =
        edge.logs().await_access("the long one's line", |line| line["path"] == "/long").await;
    assert_eq!(line["waf"]["outcome"], "detected", "{line}");
    let detected = ["outcome=\"detected\""];
    edge.api().counted("tidegate_waf_requests_total", &detected, 2.0).await;
}

#[tokio::test]
async fn bodies_have_limits_and_streams_are_not_held() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let limits = "body_limit = \"1KiB\"\narguments = 10";
    let config = guarded(origin.address, &policy(&dir, RULES, limits));
    let edge = Edge::start_in(dir, &config).await;
    let http = edge.address("http").await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let mut client = Client::http1(http);
    let large = format!("a={}", "x".repeat(2_000));
    client
        .send(with_headers("POST", "/", &form, large))
        .await
        .assert_refused(413, reasons::BODY_TOO_LARGE);
    let many: Vec<_> = (0..20).map(|n| format!("a{n}=1")).collect();
    client
        .send(with_headers("POST", "/", &form, many.join("&")))
        .await
        .assert_refused(400, reasons::WAF_LIMIT);
    let broken = with_headers("POST", "/", &[("content-type", "application/json")], "{\"a\":");
    client.send(broken).await.assert_refused(400, reasons::WAF_LIMIT);
    assert_eq!(origin.requests(), 0);
    let mut raw = RawClient::connect(http).await;
    websocket::open(&mut raw, "/chat").await;
    assert_eq!(websocket::say(&mut raw, "attack").await, "attack");
}

#[tokio::test]
async fn a_length_beyond_the_limit_is_refused_before_the_body_is_sent() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let lines = "body_limit = \"1KiB\"\nupload_limit = \"2KiB\"";
    let edge =
        Edge::start_in(dir.clone(), &guarded(origin.address, &policy(&dir, RULES, lines))).await;
    let http = edge.address("http").await;
    for (kind, length, status) in [
        ("text/plain", 1_025, "413"),
        ("multipart/form-data; boundary=x", 2_000, "100"),
        ("multipart/form-data; boundary=x", 2_049, "413"),
    ] {
        let mut raw = RawClient::connect(http).await;
        raw.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\n\r\n"
        ))
        .await;
        let answer = raw.head().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{kind} {length}: {answer}");
    }
    edge.api().counted("tidegate_waf_limits_total", &["limit=\"upload\""], 1.0).await;
}

#[tokio::test]
async fn bodies_that_are_held_take_no_more_than_they_may() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let config = "[server]\nheld_bodies = \"1MiB\"\n".to_owned()
        + &guarded(origin.address, &policy(&dir, RULES, "body_limit = \"2MiB\""));
    let edge = Edge::start_in(dir.clone(), &config).await;
    let http = edge.address("http").await;
    // Most of a body, and then nothing more.
    let mut stalled = RawClient::connect(http).await;
    let part = "x".repeat(1_000_000);
    stalled
        .send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000001\r\n\r\n{part}"))
        .await;
    let api = edge.api();
    eventually("the body is held", || async {
        let held = api.metric_sum("tidegate_waf_held_bytes", &[]).await;
        (held >= 1_000_000.0).then_some(())
    })
    .await;
    let mut client = Client::http1(http);
    let body = "y".repeat(100_000);
    let refused = client.send(with_headers("POST", "/", &[], body.clone())).await;
    refused.assert_refused(503, reasons::OVERLOADED);
    assert_eq!(client.get("/").await.status, 200);
    drop(stalled);
    eventually("room again", || async {
        let reply = Client::http1(http).send(with_headers("POST", "/", &[], body.clone())).await;
        (reply.status == 200).then_some(())
    })
    .await;
    eventually("nothing is held", || async {
        (api.metric_sum("tidegate_waf_held_bytes", &[]).await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_header_takes_a_body_out_of_sight() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let config = guarded(origin.address, &policy(&dir, RULES, ""));
    let edge = Edge::start_in(dir, &config).await;
    let http = edge.address("http").await;
    let form = ("content-type", "application/x-www-form-urlencoded");
    let upgrade = [form, ("connection", "upgrade"), ("upgrade", "websocket")];
    for method in ["POST", "GET"] {
        let hidden = with_headers(method, "/", &upgrade, "a=attack");
        Client::http1(http).send(hidden).await.assert_refused(403, reasons::WAF_BLOCKED);
    }
    let grpc = ("content-type", "application/grpc");
    for mut client in [Client::http1(http), Client::http2(http)] {
        for headers in [[grpc, form], [form, grpc]] {
            let hidden = with_headers("POST", "/", &headers, "a=attack");
            client.send(hidden).await.assert_refused(400, reasons::WAF_LIMIT);
        }
    }
    // A blank before the value: no content type for us, one for an upstream that speaks HTTP/1.
    for kind in [" application/x-www-form-urlencoded", "application/x-www-form-urlencoded\t"] {
        let hidden = with_headers("POST", "/", &[("content-type", kind)], "a=attack");
        let refused = Client::http2(http).send(hidden).await;
        refused.assert_refused(400, "malformed_request");
    }
    assert_eq!(origin.requests(), 0);
    let named = [("content-type", "text/xml"), ("connection", "content-type")];
    let told = Client::http1(http).send(with_headers("POST", "/", &named, "<a/>")).await;
    assert!(told.text().contains("text/xml"), "{}", told.text());
}

#[tokio::test]
async fn exclusions_leave_rules_values_and_paths_alone() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let exclusions = r#"exclusions = [
        { rules = [1001], target = "ARGS:comment" },
        { tags = ["attack-test"], target = "ARGS:/^utm_/" },
        { rules = ["1000-1001"], path = "/admin" },
        { rules = [1001], path = "=/x%27y" },
    ]"#;
    let config = guarded(origin.address, &policy(&dir, RULES, exclusions));
    let edge = Edge::start_in(dir, &config).await;
    let mut client = Client::http1(edge.address("http").await);
    for (path, status) in [
        ("/?q=attack", 403),
        ("/?comment=attack", 200),
        ("/?utm_x=attack", 200),
        ("/?x_utm_=attack", 403),
        ("/admin/x?q=attack", 200),
        ("/administrator?q=attack", 403),
        // The path that a request goes to counts, not the one it comes by.
        ("/admin/../x?q=attack", 403),
        ("/admin/%2e%2e/x?q=attack", 403),
        ("/x/../admin?q=attack", 200),
        ("/%61dmin?q=attack", 200),
        ("/x%27y?q=attack", 200),
        ("/admin%2fx?q=attack", 403),
        // Some servers read it as `/x`.
        ("/admin/..%2fx?q=attack", 403),
    ] {
        assert_eq!(client.get(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn rules_are_followed_and_broken_ones_change_nothing() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let config = guarded(origin.address, &policy(&dir, RULES, ""));
    let edge = Edge::start_in(dir, &config).await;
    let http = edge.address("http").await;
    assert_eq!(get(http, "/?q=assault").await.status, 200);
    edge.dir.write("rules.conf", &RULES.replace("@contains attack", "@contains assault"));
    eventually("the new rule", || async {
        (get(http, "/?q=assault").await.status == 403).then_some(())
    })
    .await;
    assert_eq!(get(http, "/?q=attack").await.status, 200);
    // A rule nobody can read: the old ones stay, and the place is told.
    edge.dir.write("rules.conf", "\n\nSecRule ARGS \"@frobnicate x\" \"id:1,phase:2,deny\"\n");
    let refused = edge.api().reload().await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text().contains("rules.conf:3") && refused.text().contains("frobnicate"),
        "{}",
        refused.text()
    );
    assert_eq!(get(http, "/?q=assault").await.status, 403);
}

/// Before, only rule files themselves and lists named `*.data` were.
#[tokio::test]
async fn what_rules_include_and_lists_of_any_name_are_followed() {
    const RULES: &str = "Include extra.inc\nIncludeOptional more-*.rules\n\
                         SecRule ARGS \"@pmFromFile words.txt\" \"id:1,phase:2,deny\"\n";
    let rule =
        |id: u32, word: &str| format!("SecRule ARGS \"@streq {word}\" \"id:{id},phase:2,deny\"\n");
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    dir.write("words.txt", "one\n");
    dir.write("extra.inc", &rule(2, "two"));
    let config = guarded(origin.address, &policy(&dir, RULES, ""));
    let edge = Edge::start_in(dir, &config).await;
    let http = edge.address("http").await;
    for (path, text, word) in [
        ("words.txt", "three\n".to_owned(), "three"),
        ("extra.inc", rule(2, "four"), "four"),
        ("more-new.rules", rule(3, "five"), "five"),
        ("more-new.rules", rule(3, "six"), "six"),
    ] {
        let target = format!("/?q={word}");
        assert_eq!(get(http, &target).await.status, 200, "{path}");
        edge.dir.write(path, &text);
        eventually(path, || async { (get(http, &target).await.status == 403).then_some(()) }).await;
    }
    for word in ["one", "two", "five"] {
        assert_eq!(get(http, &format!("/?q={word}")).await.status, 200, "{word}");
    }
    // Nothing is compiled again without a reason, and what is gone is noticed.
    let unchanged = edge.api().reload().await;
    assert!(unchanged.text().contains("unchanged"), "{}", unchanged.text());
    std::fs::remove_file(edge.dir.path("more-new.rules")).unwrap();
    eventually("the rule is gone", || async {
        (get(http, "/?q=six").await.status == 200).then_some(())
    })
    .await;
}

/// The Core Rule Set beside the project, if this is a checkout that has it.
fn core_rule_set() -> Option<PathBuf> {
    let shared = std::env::var_os("TIDEGATE_SHARED").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let rules = shared.unwrap_or(beside).join("crs4/rules");
    if !rules.is_dir() {
        eprintln!("skipped: no Core Rule Set beside the project");
    }
    rules.is_dir().then_some(rules)
}

#[tokio::test]
async fn the_core_rule_set_stops_textbook_attacks_and_no_ordinary_request() {
    let Some(rules) = core_rule_set() else { return };
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let setup = rules.with_file_name("crs-setup.conf.example");
    let config = guarded(
        origin.address,
        &format!("\n[waf.strict]\nrules = [{setup:?}, \"{}/*.conf\"]\n", rules.display()),
    );
    let edge = Edge::start_in(dir, &config).await;
    let mut client = Client::http1(edge.address("http").await);
    let browser = [
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "text/html,application/xhtml+xml"),
    ];
    for path in [
        "/?id=1%27%20OR%20%271%27=%271",
        "/?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "/?file=../../../../etc/passwd",
        "/?cmd=;cat%20/etc/passwd",
    ] {
        let reply = client.send(with_headers("GET", path, &browser, "")).await;
        reply.assert_refused(403, reasons::WAF_BLOCKED);
    }
    for path in ["/", "/shop/item-5?ref=mail&sort=price", "/search?q=summer+dresses+size+40"] {
        let reply = client.send(with_headers("GET", path, &browser, "")).await;
        assert_eq!(reply.status, 200, "{path}");
    }
    let json = [browser[0], browser[1], ("content-type", "application/json")];
    let order = r#"{"items": [{"sku": "A-1", "count": 2}], "note": "by 5 o'clock, please"}"#;
    assert_eq!(client.send(with_headers("POST", "/orders", &json, order)).await.status, 200);
    assert_eq!(client.send(request("GET", "/", "")).await.status, 200, "a bare request scores low");
}
