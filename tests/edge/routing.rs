//! Which route a request gets.

use super::reasons;
use crate::support::{
    Client, Edge, Origin,
    client::{get_with, request, with_headers},
    get, listener, route, service,
};
use std::fmt::Write;

/// A route that answers with its own name.
fn answers(name: &str, matchers: &str) -> String {
    format!("\n[routes.{name}]\n{matchers}\nrespond = {{ status = 200, body = \"{name}\" }}\n")
}

#[tokio::test]
async fn the_most_specific_route_wins() {
    let config = listener("http")
        + &answers("any", "")
        + &answers("exact-host", r#"host = "shop.test""#)
        + &answers("wildcard", r#"host = "*.shop.test""#)
        + &answers("longer-wildcard", r#"host = "*.eu.shop.test""#)
        + &answers("regex-host", r#"host = "~^api[0-9]+[.]test$""#)
        + &answers("prefix", "host = \"shop.test\"\npath = \"/cart\"")
        + &answers("longer-prefix", "host = \"shop.test\"\npath = \"/cart/items\"")
        + &answers("exact-path", "host = \"shop.test\"\npath = \"=/cart\"")
        + &answers("hidden-regex", "host = \"shop.test\"\npath = \"~^/v[0-9]+/\"")
        + &answers("regex-path", "host = \"api.test\"\npath = \"~^/v[0-9]+/\"")
        + &answers("later-regex", "host = \"api.test\"\npath = \"~^/v2/\"")
        + &answers("post", "host = \"shop.test\"\npath = \"/cart\"\nmethods = [\"POST\"]")
        + &answers(
            "beta",
            "host = \"shop.test\"\npath = \"/cart\"\nmethods = [\"GET\"]\nheaders = { x-beta = \"1\" }",
        );
    let edge = Edge::start(&config).await;
    let mut client = Client::http1(edge.address("http").await);
    for (host, line, headers, expected) in [
        ("other.test", "GET /", vec![], "any"),
        ("shop.test", "GET /", vec![], "exact-host"),
        ("SHOP.test", "GET /", vec![], "exact-host"),
        ("shop.test:8080", "GET /", vec![], "exact-host"),
        ("a.shop.test", "GET /", vec![], "wildcard"),
        ("b.a.shop.test", "GET /", vec![], "wildcard"),
        ("a.eu.shop.test", "GET /", vec![], "longer-wildcard"),
        ("api7.test", "GET /", vec![], "regex-host"),
        ("apix.test", "GET /", vec![], "any"),
        ("shop.test", "GET /cart", vec![], "exact-path"),
        ("shop.test", "GET /cart?x=1", vec![], "exact-path"),
        ("shop.test", "GET /cart/", vec![], "prefix"),
        ("shop.test", "GET /cart/9", vec![], "prefix"),
        ("shop.test", "GET /cart/items/9", vec![], "longer-prefix"),
        ("shop.test", "GET /cart/itemsx", vec![], "prefix"),
        ("shop.test", "GET /carts", vec![], "exact-host"),
        // Every prefix comes before every regex, and regexes in the order of their names.
        ("shop.test", "GET /v2/x", vec![], "exact-host"),
        ("api.test", "GET /v2/x", vec![], "later-regex"),
        ("api.test", "GET /v3/x", vec![], "regex-path"),
        ("api.test", "GET /x/v3/", vec![], "any"),
        ("shop.test", "POST /cart/9", vec![], "post"),
        ("shop.test", "GET /cart/9", vec![("x-beta", "1")], "beta"),
        ("shop.test", "GET /cart/9", vec![("x-beta", "2")], "prefix"),
        // Matched as it is forwarded: dot segments are gone before a route is chosen.
        ("shop.test", "GET /x/../cart/9", vec![], "prefix"),
        ("shop.test", "GET /x/%2e%2e/cart/9", vec![], "prefix"),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let mut headers = headers;
        headers.push(("host", host));
        let reply = client.send(with_headers(method, path, &headers, "")).await;
        assert_eq!(reply.text(), expected, "{host} {line} {headers:?}");
    }
}

#[tokio::test]
async fn no_route_answers_404_with_its_reason() {
    let config = listener("http") + &answers("only", r#"host = "known.test""#);
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    get_with(http, "/", &[("host", "unknown.test")]).await.assert_refused(404, reasons::NO_ROUTE);
    for mut client in [Client::http1(http), Client::http2(http)] {
        client.get("/").await.assert_refused(404, reasons::NO_ROUTE);
    }
}

#[tokio::test]
async fn a_route_can_keep_to_a_listener() {
    let config = listener("inside")
        + &listener("outside")
        + &answers("admin", "path = \"/admin\"\nlisteners = [\"inside\"]")
        + &answers("rest", "");
    let edge = Edge::start(&config).await;
    assert_eq!(get(edge.address("inside").await, "/admin").await.text(), "admin");
    assert_eq!(get(edge.address("outside").await, "/admin").await.text(), "rest");
}

#[tokio::test]
async fn redirects_say_where_to() {
    let config = listener("http")
        + r#"
[routes.moved]
path = "/old"
redirect = { to = "https://new.test/base", keep_path = true }
[routes.short]
path = "=/go"
redirect = { to = "/gone/to", status = 302 }
[routes.plain]
path = "/whole"
redirect = { to = "https://new.test/landing", status = 301 }
"#;
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    for (path, status, location) in [
        ("/old/a?b=c", 308, "https://new.test/base/old/a?b=c"),
        ("/go", 302, "/gone/to"),
        ("/whole/a?b=c", 301, "https://new.test/landing"),
    ] {
        let reply = get(http, path).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (status, Some(location)));
    }
}

#[tokio::test]
async fn fixed_answers_are_what_the_file_says() {
    let config = listener("http")
        + r#"
[routes.robots]
path = "=/robots.txt"
respond = { status = 200, body = "User-agent: *\n", content_type = "text/x-robots" }
[routes.gone]
path = "/gone"
respond = { status = 410, body = "" }
response_headers = { set = { x-why = "moved on" } }
"#;
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let reply = client.get("/robots.txt").await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "User-agent: *\n"));
        assert_eq!(reply.header("content-type"), Some("text/x-robots"));
        let reply = client.get("/gone/x").await;
        assert_eq!((reply.status.as_u16(), reply.header("x-why")), (410, Some("moved on")));
        let reply = client.send(request("HEAD", "/robots.txt", "")).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
    }
}

#[tokio::test]
async fn redirect_https_sends_everybody_to_the_secure_port() {
    let origin = Origin::start("v1").await;
    for (switch, expected) in [
        ("redirect_https = true\n", "https://app.test/path?q=1"),
        ("redirect_https = 8443\n", "https://app.test:8443/path?q=1"),
    ] {
        let config = listener("http")
            + switch
            + &service("app", &[("app", 100, origin.address)])
            + &route("app");
        let edge = Edge::start(&config).await;
        let http = edge.address("http").await;
        let reply = get_with(http, "/path?q=1", &[("host", "app.test:80")]).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (308, Some(expected)));
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn ten_thousand_routes_load_and_match() {
    let mut config = listener("http");
    for number in 0..10_000 {
        let host = number % 100;
        write!(
            config,
            "\n[routes.r{number}]\nhost = \"h{host}.test\"\npath = \"/p{number}\"\nrespond = {{ status = 200, body = \"r{number}\" }}\n"
        )
        .unwrap();
    }
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    let mut client = Client::http1(http);
    for number in [0, 42, 5_000, 9_999] {
        let host = format!("h{}.test", number % 100);
        let path = format!("/p{number}/x");
        let reply = client.send(with_headers("GET", &path, &[("host", &host)], "")).await;
        assert_eq!(reply.text(), format!("r{number}"));
    }
}
