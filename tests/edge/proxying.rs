//! A request goes to its upstream and comes back whole, whatever both sides speak.

use crate::support::{
    Act, Ca, Client, Dir, Edge, Origin, RawClient,
    client::{AnyBody, request, streaming, with_headers},
    get,
    grpc::{H2Origin, fed_body},
    listener,
    origin::Then,
    route, service,
    text::simple,
    upstream,
};
use bytes::Bytes;
use http::Request;
use hyper::body::Frame;

#[tokio::test]
async fn every_pair_of_protocols_works() {
    let ca = Ca::new();
    let dir = Dir::new();
    let leaf = ca.issue(&["app.test", "upstream.test"]);
    let plain = Origin::start("h1").await;
    let secure = Origin::start_tls("h1-tls", leaf.server(&["http/1.1"])).await;
    let h2 = H2Origin::start("h2").await;
    let h2_secure = H2Origin::start_tls("h2-tls", leaf.server(&["h2"])).await;

    let root = ca.root_file(&dir);
    let verified =
        format!("tls = {{ server_name = \"upstream.test\", ca = \"{}\" }}\n", root.display());
    let mut config = listener("http") + &listener("https");
    config += &format!("tls = {{ certificates = [{}] }}\n", leaf.table(&dir, "edge"));
    for (name, address, more) in [
        ("h1", plain.address, String::new()),
        ("h1-tls", secure.address, verified.clone()),
        ("h2", h2.address, "protocol = \"http2\"\n".to_owned()),
        ("h2-tls", h2_secure.address, verified + "protocol = \"http2\"\n"),
    ] {
        config += &(upstream(name, &[address]) + &more);
        config += &format!("[services.{name}.versions.only]\nupstream = \"{name}\"\nweight = 1\n");
        config += &(route(name) + &format!("path = \"/{name}\"\n"));
    }
    let edge = Edge::start_in(dir, &config).await;
    let (http, https) = (edge.address("http").await, edge.address("https").await);

    let clients = [
        ("h1", Client::http1(http)),
        ("h2c", Client::http2(http)),
        ("h1 over TLS", Client::http1(https).tls(ca.client(&["http/1.1"]))),
        ("h2 over TLS", Client::http2(https).tls(ca.client(&["h2"]))),
    ];
    for (name, mut client) in clients {
        for upstream in ["h1", "h1-tls", "h2", "h2-tls"] {
            let what = format!("{name} to {upstream}");
            let target = format!("/{upstream}/echo?a=1&b=%20");
            let reply =
                client.send(with_headers("PUT", &target, &[("x-mine", "yes")], "hello")).await;
            assert_eq!((reply.status.as_u16(), reply.version()), (200, upstream), "{what}");
            let told = reply.json();
            assert_eq!(told["method"], "PUT", "{what}");
            assert_eq!(told["target"], target, "{what}");
            assert_eq!(told["body_length"], 5, "{what}");
            let headers = told["headers"].to_string();
            assert!(headers.contains(r#"["x-mine","yes"]"#), "{what}: {headers}");
        }
        assert_eq!(client.opened, 1, "{name} keeps its connection");
    }
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    const SIZE: usize = 8 * 1024 * 1024;
    let origin = Origin::start("v1").await.forgetful();
    origin.on("/down", Act::Bytes(SIZE));
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let reply = client.send(request("POST", "/up", vec![b'u'; SIZE])).await;
        assert_eq!(reply.json()["body_length"], SIZE);
        let reply = client.get("/down").await;
        assert_eq!(reply.body.len(), SIZE);
        assert!(reply.body.iter().all(|&byte| byte == b'x'));
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_arrives_whole() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let (feed, body) = fed_body();
        let feeding = tokio::spawn(async move {
            for part in ["one ", "two ", "three"] {
                feed.send(Frame::data(Bytes::from(part))).await.unwrap();
            }
        });
        let reply = client.send(streaming("POST", "/unknown", body)).await;
        feeding.await.unwrap();
        assert_eq!(reply.json()["body"], "one two three");
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_keep_the_connection() {
    let origin = Origin::start("v1").await;
    origin.on("/204", Act::raw("HTTP/1.1 204 No Content\r\n\r\n", Then::KeepOpen));
    origin.on("/304", Act::raw("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", Then::KeepOpen));
    let edge = Edge::start(&simple(origin.address)).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    for (line, status) in [("GET /204", "204"), ("GET /304", "304"), ("HEAD /head", "200")] {
        client.send(format!("{line} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {head}");
        // The next head follows directly: nothing was sent as a body.
        assert!(client.open(), "{line}");
    }
    client.send("GET /last HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn connections_to_the_upstream_are_kept() {
    let origin = Origin::start("v1").await;
    let config = simple(origin.address) + "[server]\nworkers = 1\n";
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    for _ in 0..20 {
        assert_eq!(get(http, "/again").await.status, 200);
    }
    let connections: Vec<usize> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0; 20], "one worker needs one connection");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    let both = "GET /first HTTP/1.1\r\nHost: app.test\r\n\r\nGET /second HTTP/1.1\r\nHost: app.test\r\n\r\n";
    client.send(both).await;
    for target in ["/first", "/second"] {
        let told: serde_json::Value =
            serde_json::from_slice(&client.response().await.body).unwrap();
        assert_eq!(told["target"], target);
    }
}

#[tokio::test]
async fn http_1_0_gets_its_answer_and_the_end() {
    let origin = Origin::start("v1").await;
    let (feed, act) = Act::stream("text/plain");
    origin.once("/stream", act);
    let edge = Edge::start(&simple(origin.address)).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    client.send("GET /stream HTTP/1.0\r\nHost: app.test\r\n\r\n").await;
    feed.send(Bytes::from("all of it")).await.unwrap();
    drop(feed);
    let all = String::from_utf8(client.read_to_close().await).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    assert_eq!(body, "all of it", "HTTP/1.0 knows no chunks");
}

#[tokio::test]
async fn a_client_that_asks_for_the_end_gets_it() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert!(client.closed().await);
}

#[tokio::test]
async fn expect_100_continue_waits_for_the_upstream() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    client
        .send("POST /up HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    let interim = client.head().await;
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    client.send("hello").await;
    let told: serde_json::Value = serde_json::from_slice(&client.response().await.body).unwrap();
    assert_eq!(told["body"], "hello");
}

#[tokio::test]
async fn an_expectation_that_is_refused_gets_its_final_status_and_no_100() {
    let origin = Origin::start("v1").await;
    let config = simple(origin.address) + "body_limit = \"4B\"\n";
    let edge = Edge::start(&config).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    client
        .send("POST /up HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_upload_ends_reaches_the_client() {
    let origin = Origin::start("v1").await;
    let early = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    origin.on("/up", Act::raw(early, Then::Stall));
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let (feed, body) = fed_body();
        feed.send(Frame::data(Bytes::from("begin"))).await.unwrap();
        let upload: Request<AnyBody> = streaming("POST", "/up", body);
        let response = client.open(upload).await.expect("an answer while the upload is open");
        assert_eq!(response.status(), 403);
        drop(feed);
    }
}

#[tokio::test]
async fn many_versions_of_a_service_share_it_by_weight() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = listener("http")
        + &service("app", &[("blue", 75, blue.address), ("green", 25, green.address)])
        + &route("app");
    let edge = Edge::start(&config).await;
    let mut client = Client::http1(edge.address("http").await);
    let mut on_green = 0;
    for _ in 0..2_000 {
        on_green += u32::from(client.get("/").await.version() == "green");
    }
    // Binomial, n = 2000, p = 0.25: six standard deviations are 116.
    assert!((384..=616).contains(&on_green), "{on_green} of 2000 on green at weight 25 of 100");
}
