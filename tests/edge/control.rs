//! The control API: what it changes is in force when it answers, and outlives the process.

use super::reasons;
use crate::support::{
    Ca, Client, Dir, Edge, Origin, RawClient, api::request, client::with_headers, eventually, get,
    listener, route, service, text::simple,
};
use serde_json::json;
use std::collections::BTreeMap;

async fn blue_and_green() -> (Origin, Origin, String) {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = listener("http")
        + &service("app", &[("blue", 100, blue.address), ("green", 0, green.address)])
        + &route("app");
    (blue, green, config)
}

#[tokio::test]
async fn weights_hold_for_the_very_next_request_of_an_old_connection() {
    let (_blue, _green, config) = blue_and_green().await;
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    let mut clients = [Client::http1(http), Client::http2(http)];
    for round in 0..10 {
        let (on, off) = if round % 2 == 0 { ("green", "blue") } else { ("blue", "green") };
        edge.api().weights("app", &[(on, 100.0), (off, 0.0)]).await;
        for client in &mut clients {
            assert_eq!(client.get("/").await.version(), on);
            assert_eq!(client.opened, 1);
        }
    }
}

#[tokio::test]
async fn weights_are_guarded_by_etags() {
    let (_blue, _green, config) = blue_and_green().await;
    let edge = Edge::start(&config).await;
    let api = edge.api();
    let path = "/v1/services/app/weights";
    let current = api.get(path).await;
    assert_eq!(current.status, 200);
    let etag = current.header("etag").expect("a strong ETag").to_owned();
    assert!(etag.starts_with('"'), "{etag}");

    let body = json!({ "weights": { "blue": 50, "green": 50 } });
    let bare = api.send(request("PUT", path, Some(&body))).await;
    assert_eq!(bare.status, 428, "without If-Match: {}", bare.text());

    let mut first = request("PUT", path, Some(&body));
    first.headers_mut().insert("if-match", etag.parse().unwrap());
    let stale = first.clone();
    assert!(api.send(first).await.status.is_success());
    let reply = api.send(stale).await;
    assert_eq!(reply.status, 412, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
}

#[tokio::test]
async fn nonsense_weights_are_refused_and_change_nothing() {
    let (_blue, _green, config) = blue_and_green().await;
    let edge = Edge::start(&config).await;
    let api = edge.api();
    for (what, body) in [
        ("all zero", json!({ "weights": { "blue": 0, "green": 0 } })),
        ("negative", json!({ "weights": { "blue": -1, "green": 5 } })),
        ("unknown version", json!({ "weights": { "blue": 1, "red": 5 } })),
        ("too fine", json!({ "weights": { "blue": 0.001, "green": 5 } })),
        ("text", json!({ "weights": { "blue": "lots", "green": 5 } })),
        ("unknown key", json!({ "weights": { "blue": 1, "green": 1 }, "extra": true })),
        ("no weights", json!({})),
    ] {
        let reply = api.put("/v1/services/app/weights", &body).await;
        assert!(reply.status.is_client_error(), "{what}: {} {}", reply.status, reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{what}");
    }
    assert_eq!(
        api.put("/v1/services/none/weights", &json!({ "weights": { "a": 1 } })).await.status,
        404
    );
    assert_eq!(get(edge.address("http").await, "/").await.version(), "blue");
}

#[tokio::test]
async fn weights_outlive_restarts_and_edits_of_the_file() {
    let (_blue, _green, config) = blue_and_green().await;
    let mut edge = Edge::start(&config).await;
    edge.api().weights("app", &[("blue", 0.0), ("green", 100.0)]).await;
    edge.kill().await;
    let edge = edge.restart().await;
    assert_eq!(get(edge.address("http").await, "/").await.version(), "green", "after a crash");

    edge.reload(&config.replace("weight = 100", "weight = 70")).await;
    assert_eq!(get(edge.address("http").await, "/").await.version(), "green", "the API owns it");
    let status = edge.api().json("/v1/status").await.to_string();
    assert!(!status.contains("\"drift\":[]"), "the edit is shown as drift: {status}");

    let output = edge.cli(&["weights", "app", "reset"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(get(edge.address("http").await, "/").await.version(), "blue", "the file's again");
}

#[tokio::test]
async fn edits_of_the_file_hold_while_nobody_else_has_set_the_weights() {
    let (_blue, _green, config) = blue_and_green().await;
    let edge = Edge::start(&config).await;
    let swapped = config
        .replace("weight = 100", "weight = x")
        .replace("weight = 0", "weight = 100")
        .replace("weight = x", "weight = 0");
    edge.reload(&swapped).await;
    assert_eq!(get(edge.address("http").await, "/").await.version(), "green");
}

#[tokio::test]
async fn sticky_clients_move_only_by_the_share_that_changed() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = listener("http")
        + "\n[services.app]\nsticky = { cookie = \"tg_app\" }\n"
        + &service("app", &[("blue", 100, blue.address), ("green", 0, green.address)])
        + &route("app");
    let edge = Edge::start(&config).await;
    let mut client = Client::http1(edge.address("http").await);
    let mut users = Vec::new();
    for _ in 0..1_000 {
        let reply = client.get("/").await;
        users.push(format!("tg_app={}", reply.cookie("tg_app").expect("a cookie of ours")));
    }
    let mut last: BTreeMap<String, String> =
        users.iter().map(|user| (user.clone(), "blue".to_owned())).collect();
    for (weight, low, high) in [(10.0, 43, 157), (50.0, 405, 595), (80.0, 724, 876)] {
        edge.api().weights("app", &[("blue", 100.0 - weight), ("green", weight)]).await;
        let mut now = BTreeMap::new();
        for user in &users {
            let reply = client.send(with_headers("GET", "/", &[("cookie", user)], "")).await;
            assert_eq!(reply.cookie("tg_app"), None, "who has the cookie keeps it");
            now.insert(user.clone(), reply.version().to_owned());
        }
        let back = users.iter().filter(|u| last[*u] == "green" && now[*u] == "blue").count();
        assert_eq!(back, 0, "raising a weight moves nobody away from that version");
        let on_green = now.values().filter(|version| *version == "green").count();
        // Binomial, n = 1000: six standard deviations either way.
        assert!((low..=high).contains(&on_green), "{on_green} of 1000 at {weight} %");
        last = now;
    }
    // And nobody moves without a change.
    for user in &users[..100] {
        let reply = client.send(with_headers("GET", "/", &[("cookie", user)], "")).await;
        assert_eq!(reply.version(), last[user]);
    }
}

#[tokio::test]
async fn sticky_by_header_and_the_cookies_attributes() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let versions = service("app", &[("blue", 50, blue.address), ("green", 50, green.address)]);
    let by_header = listener("http")
        + "\n[services.app]\nsticky = { header = \"x-user\" }\n"
        + &versions
        + &route("app");
    let edge = Edge::start(&by_header).await;
    let mut client = Client::http1(edge.address("http").await);
    for user in 0..20 {
        let user = format!("user-{user}");
        let asked = || with_headers("GET", "/", &[("x-user", &user)], "");
        let first = client.send(asked()).await.version().to_owned();
        for _ in 0..5 {
            assert_eq!(client.send(asked()).await.version(), first);
        }
    }
    let by_cookie = by_header.replace("header = \"x-user\"", "cookie = \"tg_app\"");
    edge.reload(&by_cookie).await;
    let reply = client.get("/").await;
    let cookie = reply.header("set-cookie").expect("a cookie").to_lowercase();
    assert!(cookie.contains("httponly") && cookie.contains("samesite=lax"), "{cookie}");
    assert!(!cookie.contains("secure"), "plain http could not send it back: {cookie}");
}

#[tokio::test]
async fn sticky_by_address_and_the_cookie_over_https() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let versions = service("app", &[("blue", 50, blue.address), ("green", 50, green.address)]);
    let by_address = listener("http")
        + "trusted_proxies = [\"127.0.0.1/32\"]\n"
        + "\n[services.app]\nsticky = { client_ip = true }\n"
        + &versions
        + &route("app");
    let edge = Edge::start(&by_address).await;
    let mut client = Client::http1(edge.address("http").await);
    let mut seen = BTreeMap::<String, u32>::new();
    for host in 0..40 {
        let address = format!("203.0.113.{host}");
        let asked = || with_headers("GET", "/", &[("x-forwarded-for", &address)], "");
        let first = client.send(asked()).await.version().to_owned();
        assert_eq!(client.send(asked()).await.version(), first);
        *seen.entry(first).or_default() += 1;
    }
    assert_eq!(seen.len(), 2, "addresses spread: {seen:?}");

    let (ca, dir) = (Ca::new(), Dir::new());
    let leaf = ca.issue(&["app.test"]).table(&dir, "edge");
    let by_cookie = listener("https")
        + &format!("tls = {{ certificates = [{leaf}] }}\n")
        + "\n[services.app]\nsticky = { cookie = \"tg_app\" }\n"
        + &versions
        + &route("app");
    let edge = Edge::start_in(dir, &by_cookie).await;
    let https = edge.address("https").await;
    let reply = Client::http2(https).tls(ca.client(&["h2"])).get("/").await;
    let cookie = reply.header("set-cookie").expect("a cookie").to_lowercase();
    assert!(cookie.contains("; secure"), "{cookie}");
}

#[tokio::test]
async fn status_tells_what_runs() {
    let (blue, _green, config) = blue_and_green().await;
    let edge = Edge::start(&config).await;
    for _ in 0..5 {
        get(edge.address("http").await, "/").await;
    }
    let status = edge.api().json("/v1/status").await;
    let listener = &status["listeners"][0];
    assert_eq!((&listener["name"], &listener["tls"]), (&json!("http"), &json!(false)), "{status}");
    assert_eq!(listener["protocols"], json!(["http/1.1", "h2"]), "{status}");
    // A request is counted when it is over, which its client knows first.
    let services = eventually("the fifth request's count", || async {
        let services = edge.api().json("/v1/services").await;
        (services["services"][0]["versions"][0]["requests"] == 5).then_some(services)
    })
    .await;
    let versions = services["services"][0]["versions"].as_array().unwrap();
    let of = |name: &str| versions.iter().find(|v| v["name"] == name).unwrap().clone();
    assert_eq!(of("blue")["weight"], 100, "{services}");
    assert_eq!(of("green")["requests"], 0, "{services}");
    let endpoint = edge.api().endpoint("blue", blue.address).await;
    assert_eq!((&endpoint["health"], &endpoint["admin"]), (&json!("unchecked"), &json!("active")));
}

#[tokio::test]
async fn explain_tells_what_a_request_would_get_and_sends_none() {
    let (blue, _green, config) = blue_and_green().await;
    let edge = Edge::start(&config).await;
    let told = edge.api().json("/v1/explain?url=http://app.test/cart").await;
    assert_eq!((&told["outcome"], &told["route"]), (&json!("service"), &json!("app")), "{told}");
    assert_eq!((&told["service"], &told["version"]), (&json!("app"), &json!("blue")), "{told}");
    assert_eq!(told["endpoints"], json!([blue.address.to_string()]), "{told}");
    assert_eq!(blue.requests(), 0);

    edge.reload(&(config + "host = \"app.test\"\n")).await;
    let told = edge.api().json("/v1/explain?url=http://other.test/").await;
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("refused"), &json!(reasons::NO_ROUTE)));
}

#[tokio::test]
async fn the_tcp_api_wants_a_token_and_a_plain_origin() {
    let origin = Origin::start("v1").await;
    let port = crate::support::port::Port::reserve();
    let dir = Dir::new();
    let state = dir.path("state");
    let config = simple(origin.address)
        + &format!(
            "\n[control]\naddress = \"{}\"\nstate = \"{}\"\n",
            port.address(),
            state.display()
        );
    let _edge = Edge::spawn_in(dir, &config);
    let call = async |head: &str| {
        let mut client = eventually("the API's port", || async {
            let stream = tokio::net::TcpStream::connect(port.address()).await.ok();
            stream.is_some().then_some(())?;
            Some(RawClient::connect(port.address()).await)
        })
        .await;
        client.send(format!("{head}Connection: close\r\n\r\n")).await;
        client.response().await.status
    };
    let host = port.address();
    assert_eq!(call(&format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n")).await, 200);
    assert_eq!(call(&format!("GET /v1/status HTTP/1.1\r\nHost: {host}\r\n")).await, 401);
    let forged = "Authorization: Bearer tg_forged\r\n";
    assert_eq!(call(&format!("GET /v1/status HTTP/1.1\r\nHost: {host}\r\n{forged}")).await, 401);
    // DNS rebinding: a page's own name that resolves to loopback.
    let rebound = call("GET /v1/status HTTP/1.1\r\nHost: evil.test\r\n").await;
    assert!((400..500).contains(&rebound), "{rebound}");
}

#[tokio::test]
async fn probes_have_an_address_of_their_own_and_show_nothing_else() {
    let origin = Origin::start("v1").await;
    let dir = Dir::new();
    let probes = crate::support::port::Port::reserve();
    let (socket, state) = (dir.path("control.sock"), dir.path("state"));
    let config = simple(origin.address)
        + &format!(
            "\n[control]\naddress = \"unix:{}\"\nstate = \"{}\"\nprobes = \"{}\"\n",
            socket.display(),
            state.display(),
            probes.address()
        );
    let _edge = Edge::start_in(dir, &config).await;
    for (path, status) in
        [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/v1/status", 404)]
    {
        assert_eq!(get(probes.address(), path).await.status, status, "{path}");
    }
}
