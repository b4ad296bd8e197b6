//! What `tidegate diff OLD NEW` says.

use insta::assert_snapshot;
use tidegate_config::{Config, Diff, Effect, diff, parse};

const EXAMPLE: &str = include_str!("example.toml");

fn config(text: &str) -> Config {
    parse(text, "tidegate.toml").unwrap_or_else(|faults| panic!("{faults}")).config
}

/// The example against itself with some text replaced.
fn changed(replacements: &[(&str, &str)]) -> Diff {
    let mut new = EXAMPLE.to_owned();
    for (old, with) in replacements {
        assert!(new.contains(old), "the example has no {old}");
        new = new.replace(old, with);
    }
    diff(&config(EXAMPLE), &config(&new))
}

#[test]
fn nothing() {
    let diff = changed(&[]);
    assert!(diff.is_empty());
    assert_eq!(diff.to_string(), "no change for traffic");
}

#[test]
fn nothing_for_traffic() {
    let diff = changed(&[
        ("9180", "9182"),
        ("ops@", "noc@"),
        ("[acme]", "[server]\nworkers = 3\n[log]\nlevel = 'debug'\n[acme]"),
    ]);
    assert!(!diff.changes_traffic());
    assert_snapshot!(diff);
}

#[test]
fn weights_are_told_as_shares() {
    assert_snapshot!(changed(&[("weight = 100", "weight = 2"), ("weight = 0", "weight = 1")]), @"service `shop`: blue 100% → 66.67%, green 0% → 33.33% (weights set through the API or a release win)");
    assert_snapshot!(changed(&[("weight = 100", "weight = 50")]), @"service `shop`: the same shares in other numbers (weights set through the API or a release win)");
}

#[test]
fn versions_come_and_go() {
    assert_snapshot!(changed(&[(
        r#"green = { upstream = "shop-green", weight = 0 }"#,
        r#"red = { upstream = "shop-green", weight = 25 }"#
    )]));
}

#[test]
fn what_has_a_name_comes_and_goes() {
    let more = r#"
        [listeners.extra]
        address = "127.0.0.1:8080"
        [upstreams.extra]
        endpoints = ["10.0.0.31:80", "10.0.0.32:80"]
        [services.extra]
        versions = { a = { upstream = "extra", weight = 1 }, b = { upstream = "extra", weight = 2 } }
        [rate_limits.extra]
        key = "path"
        rate = "5/m"
        [routes.extra]
        path = "/extra"
        methods = ["GET"]
        service = "extra"
        [routes.moved]
        path = "/old"
        redirect = { to = "/new" }
        [routes.fixed]
        path = "/fixed"
        respond = { body = "ok" }
    "#;
    let (old, new) = (config(EXAMPLE), config(&format!("{EXAMPLE}{more}")));
    assert_snapshot!(diff(&old, &new));
    assert_snapshot!(diff(&new, &old));
}

#[test]
fn fields_change() {
    let diff = changed(&[
        ("0.0.0.0:443", "0.0.0.0:8443"),
        (
            "tls = {}",
            "tls = { policy = 'modern', min_version = '1.3', names = ['a.example.com'] }\nlimits = { headers = 200, body_timeout = '1s' }",
        ),
        ("redirect_https = true", "redirect_https = false"),
        ("\"10.0.0.12:8080\"", "\"10.0.0.13:8080\", \"10.0.0.14:8080\""),
        ("\"10.0.0.21:8080\", \"10.0.0.22:8080\"", "\"10.0.0.22:8080\", \"10.0.0.21:8080\""),
        ("p2c", "round-robin"),
        ("health = { path = \"/healthz\", interval = \"2s\" }", "tls = { server_name = 'shop' }"),
        ("cookie = \"tg_shop\"", "client_ip = true"),
        ("100/s", "3000/m"),
        ("burst = 200", "burst = 300"),
        (
            "host = \"shop.example.com\"",
            "host = \"store.example.com\"\nbody_limit = \"1MiB\"\nrequest_headers = { set = { Authorization = 'secret' } }",
        ),
        ("rate_limits = [\"per-client\"]", ""),
    ]);
    let text = diff.to_string();
    assert!(!text.contains("secret"));
    assert_snapshot!(text);
    insta::assert_json_snapshot!(diff.lines[0]);
    assert!(diff.lines.iter().all(|line| line.effect == Effect::Traffic));
}

#[test]
fn a_secret_that_changes_is_told_without_the_secret() {
    let text = |key: &str| {
        format!(
            "[acme]\nissuers = [{{ name = 'zerossl', eab = {{ kid = 'k', hmac_key = '{key}' }} }}]"
        )
    };
    let diff = diff(&config(&text("b25l")), &config(&text("dHdv")));
    assert_snapshot!(diff, @r"
    no change for traffic
    acme: `issuers` changed
    ");
}
