//! Rate limits: who is counted together, what a refusal says, and that workers share them.

use super::reasons;
use crate::support::{
    Client, Edge, Origin, Reply,
    client::{get_with, with_headers},
    get, listener, service,
};
use std::net::SocketAddr;
use tokio::task::JoinSet;

fn limited(endpoint: SocketAddr, limit: &str) -> String {
    listener("http")
        + "trusted_proxies = [\"127.0.0.1/32\"]\n"
        + &service("app", &[("app", 100, endpoint)])
        + &format!("\n[rate_limits.per]\n{limit}\n")
        + "\n[routes.app]\nservice = \"app\"\nrate_limits = [\"per\"]\n"
}

fn refused(reply: &Reply) {
    reply.assert_refused(429, reasons::RATE_LIMITED);
    let wait: u64 = reply.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=3_600).contains(&wait), "{wait}");
}

#[tokio::test]
async fn each_key_has_its_own_allowance() {
    let origin = Origin::start("v1").await;
    for (key, one, other) in [
        (
            r#"key = "client_ip""#,
            ("x-forwarded-for", "203.0.113.1"),
            ("x-forwarded-for", "203.0.113.2"),
        ),
        (r#"key = "header:x-api-key""#, ("x-api-key", "one"), ("x-api-key", "two")),
        (
            r#"key = "cookie:session""#,
            ("cookie", "a=b; session=one"),
            ("cookie", "session=two; a=b"),
        ),
        // IPv6 clients own a /64.
        (
            r#"key = "client_ip""#,
            ("x-forwarded-for", "2001:db8::1"),
            ("x-forwarded-for", "2001:db8:0:1::1"),
        ),
    ] {
        let edge = Edge::start(&limited(origin.address, &format!("{key}\nrate = \"3/h\""))).await;
        let http = edge.address("http").await;
        for _ in 0..3 {
            assert_eq!(get_with(http, "/", &[one]).await.status, 200, "{key}");
        }
        refused(&get_with(http, "/", &[one]).await);
        assert_eq!(get_with(http, "/", &[other]).await.status, 200, "{key}: {other:?}");
    }
}

#[tokio::test]
async fn neighbours_in_an_ipv6_network_share_one_allowance() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&limited(origin.address, "key = \"client_ip\"\nrate = \"2/h\"")).await;
    let http = edge.address("http").await;
    for last in 1..=2 {
        let address = format!("2001:db8::{last}");
        assert_eq!(get_with(http, "/", &[("x-forwarded-for", &address)]).await.status, 200);
    }
    refused(&get_with(http, "/", &[("x-forwarded-for", "2001:db8::3")]).await);
}

#[tokio::test]
async fn keys_combine() {
    let origin = Origin::start("v1").await;
    let limit = "key = [\"path\", \"header:x-user\"]\nrate = \"1/h\"";
    let edge = Edge::start(&limited(origin.address, limit)).await;
    let http = edge.address("http").await;
    for (path, user, status) in [
        ("/a", "one", 200),
        ("/a", "one", 429),
        ("/b", "one", 200),
        ("/a", "two", 200),
        ("/a?q=1", "two", 429),
    ] {
        let reply = get_with(http, path, &[("x-user", user)]).await;
        assert_eq!(reply.status, status, "{path} {user}");
    }
}

#[tokio::test]
async fn a_burst_passes_and_then_the_rate_holds() {
    let origin = Origin::start("v1").await;
    let limit = "key = \"path\"\nrate = \"2/s\"\nburst = 5";
    let edge = Edge::start(&limited(origin.address, limit)).await;
    let mut client = Client::http1(edge.address("http").await);
    let mut passed = 0;
    while client.get("/burst").await.status == 200 {
        passed += 1;
        assert!(passed < 20, "the burst never ends");
    }
    assert!(passed >= 5, "only {passed} passed");
    crate::support::eventually("the next allowance", || async {
        let reply = get(edge.address("http").await, "/burst").await;
        (reply.status == 200).then_some(())
    })
    .await;
    assert!(client.connected(), "a refusal does not end the connection");
}

#[tokio::test]
async fn answers_tell_what_is_left() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&limited(origin.address, "key = \"client_ip\"\nrate = \"5/m\"")).await;
    let http = edge.address("http").await;
    let mut client = Client::http2(http);
    let reply = client.get("/").await;
    let (policy, left) = (reply.header("ratelimit-policy"), reply.header("ratelimit"));
    assert!(policy.is_some_and(|p| p.contains("per") && p.contains("q=5")), "{policy:?}");
    assert!(left.is_some_and(|l| l.contains("r=4")), "{left:?}");
    for _ in 0..4 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let reply = client.get("/").await;
    refused(&reply);
    assert!(reply.header("ratelimit").is_some_and(|l| l.contains("r=0")), "{:?}", reply.headers);
}

#[tokio::test]
async fn all_workers_share_one_limit() {
    let origin = Origin::start("v1").await;
    let config = "[server]\nworkers = 4\n".to_owned()
        + &limited(origin.address, "key = \"path\"\nrate = \"50/h\"");
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    // A connection belongs to one worker; twenty of them use all four.
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        clients.spawn(async move {
            let mut client = Client::http1(http);
            let mut passed = 0;
            for _ in 0..10 {
                passed += u32::from(client.get("/shared").await.status == 200);
            }
            passed
        });
    }
    let passed: u32 = clients.join_all().await.into_iter().sum();
    assert_eq!(passed, 50, "of 200 requests over 20 connections");
}

#[tokio::test]
async fn a_limit_survives_a_reload() {
    let origin = Origin::start("v1").await;
    let config = limited(origin.address, "key = \"path\"\nrate = \"2/h\"");
    let edge = Edge::start(&config).await;
    let mut client = Client::http1(edge.address("http").await);
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status, 200);
    }
    edge.reload(&(config + "request_headers = { set = { x-new = \"1\" } }\n")).await;
    refused(&client.get("/").await);
}

#[tokio::test]
async fn a_flood_of_keys_is_bounded_and_counted() {
    let origin = Origin::start("v1").await.forgetful();
    let config = "[server]\nworkers = 2\nrate_limit_keys = 1000\n".to_owned()
        + &limited(origin.address, "key = \"header:x-user\"\nrate = \"1/h\"");
    let edge = Edge::start(&config).await;
    let mut client = Client::http1(edge.address("http").await);
    for user in 0..3_000 {
        let user = user.to_string();
        client.send(with_headers("GET", "/", &[("x-user", &user)], "")).await;
    }
    let metrics = edge.api().get("/metrics").await.text();
    let evicted = metrics.lines().find(|line| {
        line.starts_with("tidegate_rate_limit") && line.contains("evict") && !line.ends_with(" 0")
    });
    assert!(evicted.is_some(), "evictions are counted:\n{metrics}");
}
