//! What a WAF policy checks before its rules: who asks, for what, and known faults of services.

use super::reasons;
use crate::support::{
    Client, Dir, Dns, Edge, Origin, Reply,
    client::with_headers,
    eventually, listener,
    mmdb::{Fact, database},
    route, service,
};
use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

/// A policy of `lines` in front of `endpoint`, behind a listener that believes the story who the
/// client is. `tables` stand beside the policy.
fn checked(endpoint: SocketAddr, lines: &str, tables: &str) -> String {
    listener("http")
        + "trusted_proxies = [\"127.0.0.1\"]\n"
        + tables
        + &format!("\n[waf.strict]\n{lines}\n")
        + &service("app", &[("app", 100, endpoint)])
        + &route("app")
        + "waf = \"strict\"\n"
}

async fn start(origin: &Origin, dir: Dir, lines: &str, tables: &str) -> (Edge, SocketAddr) {
    let edge = Edge::start_in(dir, &checked(origin.address, lines, tables)).await;
    let http = edge.address("http").await;
    (edge, http)
}

/// A GET by a client of this address.
async fn ask(http: SocketAddr, client: &str, path: &str) -> Reply {
    let request = with_headers("GET", path, &[("x-forwarded-for", client)], "");
    Client::http1(http).send(request).await
}

async fn status(http: SocketAddr, client: &str) -> u16 {
    ask(http, client, "/").await.status.as_u16()
}

async fn await_status(http: SocketAddr, client: &str, wanted: u16) {
    eventually(&format!("{wanted} for {client}"), || async {
        (status(http, client).await == wanted).then_some(())
    })
    .await;
}

const LIST: &str = "rules = []\ndeny = { lists = [\"abusers\"] }";

fn list(dir: &Dir) -> String {
    format!("\n[address_lists.abusers]\nfiles = [\"{}/*.netset\"]\n", dir.path("").display())
}

#[tokio::test]
async fn a_list_is_followed_and_a_faulty_one_changes_nothing() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    dir.write("a.netset", "# abusers\n203.0.113.0/24\n2001:db8:1::/48 ; SBL1\n");
    let tables = list(&dir);
    let (edge, http) = start(&origin, dir, LIST, &tables).await;
    ask(http, "203.0.113.9", "/").await.assert_refused(403, reasons::WAF_BLOCKED);
    assert_eq!(status(http, "2001:db8:1::9").await, 403);
    assert_eq!(status(http, "198.51.100.9").await, 200);
    assert_eq!(origin.requests(), 1);
    let line = edge.logs().await_access("a line", |line| line["client"] == "203.0.113.9").await;
    assert_eq!(line["waf"]["outcome"], "blocked", "{line}");
    assert_eq!(line["waf"]["decided_by"]["check"], "deny", "{line}");
    assert_eq!(line["waf"]["decided_by"]["list"], "abusers", "{line}");
    assert!(line["detail"].as_str().unwrap().contains("list abusers"), "{line}");

    // Another content, and another file that the glob finds.
    edge.dir.write("a.netset", "198.51.100.0/24\n");
    await_status(http, "203.0.113.9", 200).await;
    assert_eq!(status(http, "198.51.100.9").await, 403);
    edge.dir.write("b.netset", "203.0.113.1-203.0.113.9\n");
    await_status(http, "203.0.113.9", 403).await;

    // A line that nobody understands: told, and nothing changes.
    edge.dir.write("a.netset", "198.51.100.0/24\n0.0.0.0 ads.example.com\n");
    let refused = edge.api().reload().await;
    assert_eq!(refused.status, 422);
    let told = refused.text();
    assert!(told.contains("a.netset:2") && told.contains("host names"), "{told}");
    assert_eq!(status(http, "203.0.113.9").await, 403);
    let api = edge.api();
    let denied = ["policy=\"strict\"", "check=\"deny\""];
    assert!(api.metric_sum("tidegate_waf_checks_total", &denied).await >= 4.0);
    assert_eq!(api.metric_sum("tidegate_address_list_ranges", &["list=\"abusers\""]).await, 2.0);
}

#[tokio::test]
async fn an_entry_that_expires_lets_its_address_in_again() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let text = format!("203.0.113.1 expires={}\n203.0.113.2 until 2099-01-01\n", now + 4);
    dir.write("a.netset", &text);
    let tables = list(&dir);
    let (_edge, http) = start(&origin, dir, LIST, &tables).await;
    // A start may take longer than the entry lasts; then there is only its end to see.
    let seen = status(http, "203.0.113.1").await;
    let late = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() > now + 3;
    assert!(seen == 403 || late);
    await_status(http, "203.0.113.1", 200).await;
    assert_eq!(status(http, "203.0.113.2").await, 403);
}

#[tokio::test]
async fn the_order_is_bypass_then_deny_then_allow() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let lines = r#"
        rules = []
        bypass = { addresses = ["203.0.113.7"] }
        deny = { addresses = ["203.0.113.0/24"] }
        allow = { addresses = ["203.0.113.0/24", "198.51.100.0/24"] }
        methods = ["POST", "GET"]
    "#;
    let (edge, http) = start(&origin, dir, lines, "").await;
    for (client, wanted) in
        [("203.0.113.7", 200), ("203.0.113.8", 403), ("198.51.100.1", 200), ("192.0.2.1", 403)]
    {
        assert_eq!(status(http, client).await, wanted, "{client}");
    }
    // Whom nobody trusts is judged by its own address, whatever it says.
    let mut direct = checked(origin.address, lines, "");
    direct = direct.replace("trusted_proxies = [\"127.0.0.1\"]", "");
    edge.reload(&direct).await;
    assert_eq!(status(http, "203.0.113.7").await, 403);
    let api = edge.api();
    for (check, count) in [("bypass", 1.0), ("deny", 1.0), ("allow", 2.0)] {
        let labels = [format!("check=\"{check}\"")];
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        api.counted("tidegate_waf_checks_total", &labels, count).await;
    }
    // What was bypassed is not among the requests looked at.
    api.counted("tidegate_waf_requests_total", &[], 4.0).await;
}

#[tokio::test]
async fn countries_and_networks_are_those_of_the_databases() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let countries = |kp: &str| {
        database(&[
            (kp, Fact::Country("KP")),
            ("198.51.100.0/24", Fact::Country("DE")),
            ("2001:db8::/32", Fact::Country("KP")),
        ])
    };
    dir.write_bytes("country.mmdb", &countries("203.0.113.0/25"));
    dir.write_bytes("asn.mmdb", &database(&[("192.0.2.0/24", Fact::Asn(64_496))]));
    // Version 3 of the Core Rule Set looks clients up as this does.
    let rules = dir.write(
        "geo.conf",
        "SecRule REMOTE_ADDR \"@geoLookup\" \"id:1,phase:1,deny,chain\"\n\
         SecRule GEO:COUNTRY_CODE \"@streq DE\" \"chain\"\nSecRule ARGS:no \"@streq de\" \"\"\n",
    );
    let lines = format!("rules = [{rules:?}]\ndeny = {{ countries = [\"KP\"], asns = [64496] }}");
    let tables = "\n[geo]\ncountry = \"country.mmdb\"\nasn = \"asn.mmdb\"\n";
    let (edge, http) = start(&origin, dir, &lines, tables).await;
    for (client, wanted) in [
        ("203.0.113.1", 403),
        ("203.0.113.200", 200),
        ("198.51.100.1", 200),
        ("2001:db8::1", 403),
        ("192.0.2.1", 403),
        ("10.0.0.1", 200),
    ] {
        assert_eq!(status(http, client).await, wanted, "{client}");
    }
    assert_eq!(ask(http, "198.51.100.1", "/?no=de").await.status, 403);
    assert_eq!(ask(http, "203.0.113.200", "/?no=de").await.status, 200);
    let line = edge.logs().await_access("a line", |line| line["client"] == "192.0.2.1").await;
    assert_eq!(line["waf"]["decided_by"]["asn"], "64496", "{line}");
    // A newer database.
    edge.dir.write_bytes("country.mmdb", &countries("203.0.113.128/25"));
    await_status(http, "203.0.113.1", 200).await;
    assert_eq!(status(http, "203.0.113.200").await, 403);
    // What is no database changes nothing.
    edge.dir.write("country.mmdb", "not one");
    let refused = edge.api().reload().await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("geo.country"), "{}", refused.text());
    assert_eq!(status(http, "203.0.113.200").await, 403);
}

#[tokio::test]
async fn methods_paths_and_content_types_have_to_be_listed() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let lines = r#"
        rules = []
        methods = ["GET", "POST"]
        paths = ["/api", "=/health"]
        content_types = ["application/json"]
        body_limit = "1KiB"
    "#;
    let (edge, http) = start(&origin, dir, lines, "").await;
    let json = [("content-type", "application/json; charset=utf-8")];
    let text = [("content-type", "text/plain")];
    let long = "x".repeat(5_000);
    for mut client in [Client::http1(http), Client::http2(http)] {
        for (method, path, headers, body, refused_by) in [
            ("GET", "/api/x", &[][..], "", None),
            ("GET", "/health", &[], "", None),
            // Without rules nothing holds a body or looks at its size.
            ("POST", "/api", &json, &long, None),
            ("PUT", "/api", &json, "{}", Some("method")),
            ("GET", "/apis", &[], "", Some("path")),
            ("GET", "/api/../admin", &[], "", Some("path")),
            ("POST", "/api", &text, "{}", Some("content_type")),
            ("POST", "/api", &[], "{}", Some("content_type")),
            ("POST", "/api", &[], "", None),
        ] {
            let reply = client.send(with_headers(method, path, headers, body.to_owned())).await;
            match refused_by {
                None => assert_eq!(reply.status, 200, "{method} {path} {headers:?}"),
                Some(_) => reply.assert_refused(403, reasons::WAF_BLOCKED),
            }
        }
    }
    let api = edge.api();
    for (check, count) in [("method", 2.0), ("path", 4.0), ("content_type", 4.0)] {
        let label = format!("check=\"{check}\"");
        api.counted("tidegate_waf_checks_total", &[&label], count).await;
    }
}

#[tokio::test]
async fn detect_mode_tells_what_a_check_would_refuse_and_runs_the_rules() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let rules = dir.write(
        "rules.conf",
        "SecRule ARGS \"@contains attack\" \"id:1001,phase:2,deny,log,msg:'An attack'\"\n",
    );
    let lines = format!(
        "rules = [{rules:?}]\nmode = \"detect\"\ndeny = {{ addresses = [\"203.0.113.0/24\"] }}"
    );
    let audit = dir.path("audit.log");
    let tables = format!("\n[log]\nformat = \"json\"\nwaf = {audit:?}\n");
    let (edge, http) = start(&origin, dir, &lines, &tables).await;
    assert_eq!(ask(http, "203.0.113.9", "/?q=attack").await.status, 200);
    assert_eq!(ask(http, "203.0.113.9", "/?q=other").await.status, 200);
    assert_eq!(ask(http, "192.0.2.1", "/").await.status, 200);
    let line = edge.logs().await_access("the first", |line| line["path"] == "/?q=attack").await;
    assert_eq!(line["waf"]["outcome"], "detected", "{line}");
    assert_eq!(line["waf"]["decided_by"]["address"], "203.0.113.0/24", "{line}");
    assert_eq!(line["waf"]["rules"][0]["id"], 1001, "{line}");
    let line = edge.logs().await_access("the second", |line| line["path"] == "/?q=other").await;
    assert_eq!(line["waf"]["decided_by"]["check"], "deny", "{line}");
    let record = eventually("its audit record", || async {
        let text = std::fs::read_to_string(&audit).unwrap_or_default();
        let records = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        records.into_iter().find(|record: &serde_json::Value| record["path"] == "/?q=other")
    })
    .await;
    let decided_by = serde_json::json!({ "check": "deny", "address": "203.0.113.0/24" });
    assert_eq!(record["decided_by"], decided_by, "{record}");
    let api = edge.api();
    for (label, count) in [("outcome=\"detected\"", 2.0), ("outcome=\"passed\"", 1.0)] {
        api.counted("tidegate_waf_requests_total", &[label], count).await;
    }
    api.counted("tidegate_waf_checks_total", &["check=\"deny\""], 2.0).await;
}

/// A GET by a client that says to be a crawler.
async fn crawl(http: SocketAddr, client: &str) -> u16 {
    let agent = "Mozilla/5.0 (compatible; GoodBot/2.1; +http://bot.test/about)";
    let headers = [("x-forwarded-for", client), ("user-agent", agent)];
    Client::http1(http).send(with_headers("GET", "/", &headers, "")).await.status.as_u16()
}

#[tokio::test]
async fn who_says_to_be_a_crawler_has_to_be_it() {
    let (origin, dir, dns) = (Origin::start("v1").await, Dir::new(), Dns::start().await);
    // One that is, by IPv4 and IPv6, the latter over TCP.
    dns.name("203.0.113.1", "crawl-1.bot.test").address("crawl-1.bot.test", "203.0.113.1");
    dns.long_name("2001:db8::1", "crawl-6.bot.test").address("crawl-6.bot.test", "2001:db8::1");
    // Without a name; with a name elsewhere; with a name that only ends alike; with a name that
    // leads elsewhere.
    dns.name("203.0.113.3", "host.other.test").address("host.other.test", "203.0.113.3");
    dns.name("203.0.113.4", "host.evilbot.test").address("host.evilbot.test", "203.0.113.4");
    dns.name("203.0.113.5", "crawl-1.bot.test");
    dns.fail("203.0.113.6");
    let lines = "rules = []\ncrawlers = [{ user_agent = \"goodbot\", domains = [\"bot.test\"] }]";
    let tables = format!("\n[dns]\nservers = [\"{}\"]\n", dns.address);
    let (edge, http) = start(&origin, dir, lines, &tables).await;
    let api = edge.api();
    let looked_up = async |count: f64| {
        eventually("the lookups", || async {
            let sum = api.metric_sum("tidegate_crawler_lookups_total", &[]).await;
            (sum >= count).then_some(())
        })
        .await;
    };
    // The first request of each passes: nobody waits.
    let (good, bad) = (
        ["203.0.113.1", "2001:db8::1"],
        ["203.0.113.2", "203.0.113.3", "203.0.113.4", "203.0.113.5"],
    );
    for client in good.iter().chain(&bad).chain(&["203.0.113.6"]) {
        assert_eq!(crawl(http, client).await, 200, "{client}, first");
    }
    looked_up(7.0).await;
    let questions = dns.questions();
    for client in good {
        assert_eq!(crawl(http, client).await, 200, "{client}");
    }
    for client in bad {
        assert_eq!(crawl(http, client).await, 403, "{client}");
        assert_eq!(status(http, client).await, 200, "{client} as itself");
    }
    assert_eq!(crawl(http, "203.0.113.6").await, 200, "the DNS cannot say");
    assert_eq!(dns.questions(), questions, "answers are kept");
    for (result, count) in [("verified", 2.0), ("refuted", 4.0), ("failed", 1.0)] {
        let label = format!("result=\"{result}\"");
        let sum = api.metric_sum("tidegate_crawler_lookups_total", &[&label]).await;
        assert_eq!(sum, count, "{result}");
    }
    assert_eq!(api.metric_sum("tidegate_crawler_addresses", &[]).await, 7.0);
    let line = edge.logs().await_access("a refusal", |line| line["status"] == 403).await;
    assert_eq!(line["waf"]["decided_by"]["check"], "crawler", "{line}");
    assert_eq!(line["waf"]["decided_by"]["crawler"], "goodbot", "{line}");
}

#[tokio::test]
async fn a_virtual_patch_stops_what_exploits_a_fault() {
    let (origin, dir) = (Origin::start("v1").await, Dir::new());
    let lines = r#"
        rules = []
        exclusions = [{ target = "ARGS:comment", path = "/forum" }]
        patches = [
          { name = "CVE-2026-1234", path = "/login", methods = ["POST"], target = "ARGS:user", matches = '(?i)"?jndi:' },
          { name = "digits", target = "ARGS:id", unless = '^\d*$' },
          { name = "comments", target = "ARGS:comment", longer_than = 10 },
        ]
    "#;
    let (edge, http) = start(&origin, dir, lines, "").await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let json = [("content-type", "application/json")];
    let mut client = Client::http1(http);
    for (method, path, headers, body, wanted) in [
        ("POST", "/login", &form, "user=$%7BJNDI:ldap%7D", 403),
        ("POST", "/login/x", &json, r#"{"user": "a"}"#, 200),
        ("POST", "/./login", &form, "user=jndi:", 403),
        ("POST", "/login", &form, "user=me", 200),
        ("POST", "/other", &form, "user=jndi:", 200),
        ("PUT", "/login", &form, "user=jndi:", 200),
        ("GET", "/?id=12", &form, "", 200),
        ("GET", "/?id=12;--", &form, "", 403),
        ("GET", "/?comment=0123456789", &form, "", 200),
        ("GET", "/?comment=0123456789a", &form, "", 403),
        ("GET", "/forum?comment=0123456789a", &form, "", 200),
    ] {
        let reply = client.send(with_headers(method, path, headers, body)).await;
        assert_eq!(reply.status, wanted, "{method} {path} {body}");
    }
    let line = edge.logs().await_access("the first", |line| line["path"] == "/login").await;
    let rule = &line["waf"]["rules"][0];
    assert_eq!(rule["id"], 9_990_000, "{line}");
    assert_eq!(rule["message"], "virtual patch CVE-2026-1234", "{line}");
    edge.api().counted("tidegate_waf_checks_total", &[], 0.0).await;
    // A pattern that is none is told by the patch's name.
    let broken = checked(origin.address, &lines.replace(r"^\d*$", "("), "");
    edge.write_config(&broken);
    let refused = edge.api().reload().await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("virtual patch digits"), "{}", refused.text());
}
