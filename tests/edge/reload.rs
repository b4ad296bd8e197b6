//! A new configuration comes into force whole, or not at all.

use super::reasons;
use crate::support::{
    Ca, Client, Dir, Edge, Origin, RawClient, eventually, frames::FrameClient, get, listener,
    port::Port, route, service, text::simple, upstream, websocket,
};
use tokio::time::Instant;

/// The smallest edge, answering with `word` instead of asking an upstream.
fn says(word: &str) -> String {
    listener("http") + &format!("\n[routes.all]\nrespond = {{ status = 200, body = \"{word}\" }}\n")
}

async fn until_it_says(edge: &Edge, word: &str) {
    let http = edge.address("http").await;
    eventually(&format!("the answer `{word}`"), || async {
        (get(http, "/").await.text() == word).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_file_is_watched() {
    let edge = Edge::start(&says("one")).await;
    let http = edge.address("http").await;
    edge.write_config(&says("two"));
    until_it_says(&edge, "two").await;
    assert_eq!(edge.address("http").await, http, "an unchanged listener stays where it is");

    // Written in place, as `cp` and some editors do.
    std::fs::write(edge.dir.path("edge.toml"), says("three")).unwrap();
    until_it_says(&edge, "three").await;
}

#[tokio::test]
async fn sighup_reads_the_file_again() {
    let edge = Edge::start(&says("one")).await;
    edge.write_config(&says("two"));
    edge.sighup();
    until_it_says(&edge, "two").await;
}

#[tokio::test]
async fn the_api_answers_after_the_swap() {
    let edge = Edge::start(&says("one")).await;
    let http = edge.address("http").await;
    let (mut h1, mut h2) = (Client::http1(http), Client::http2(http));
    for number in 0..10 {
        let word = format!("number {number}");
        edge.reload(&says(&word)).await;
        for client in [&mut h1, &mut h2] {
            assert_eq!(client.get("/").await.text(), word, "the very next request");
            assert_eq!(client.opened, 1, "on the old connection");
        }
    }
}

#[tokio::test]
async fn a_faulty_file_changes_nothing_and_every_fault_is_told() {
    let edge = Edge::start(&says("good")).await;
    let http = edge.address("http").await;
    let bad = says("bad") + "colour = \"red\"\n[routes.second]\nservice = \"nowhere\"\n";
    edge.write_config(&bad);
    let reply = edge.api().reload().await;
    assert!(reply.status.is_client_error(), "{} {}", reply.status, reply.text());
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    let text = reply.text();
    assert!(text.contains("colour") && text.contains("nowhere"), "all faults: {text}");
    let faults = reply.json()["errors"].as_array().expect("a list of faults").clone();
    let place = |fault: &serde_json::Value| {
        fault["file"].as_str().is_some_and(|file| file.ends_with("/edge.toml"))
            && fault["line"].is_u64()
            && fault["column"].is_u64()
    };
    assert!(faults.len() == 2 && faults.iter().all(place), "with their place: {text}");
    assert_eq!(get(http, "/").await.text(), "good");

    edge.sighup();
    edge.logs().await_log(&["edge.toml:", "nowhere"]).await;
    assert_eq!(get(http, "/").await.text(), "good");
    let failures = edge.api().get("/metrics").await.text();
    assert!(
        failures.lines().any(|line| line.starts_with("tidegate_") && line.contains("reload")),
        "{failures}"
    );

    std::fs::write(edge.dir.path("edge.toml"), b"[listeners.http\n\xff\xfe").unwrap();
    assert!(edge.api().reload().await.status.is_client_error());
    // Empty, as a file is for a moment that is written in place.
    std::fs::write(edge.dir.path("edge.toml"), b"").unwrap();
    let reply = edge.api().reload().await;
    assert!(
        reply.status.is_client_error() && reply.text().contains("no listener"),
        "{}",
        reply.text()
    );
    std::fs::remove_file(edge.dir.path("edge.toml")).unwrap();
    assert!(!edge.api().reload().await.status.is_success());
    assert_eq!(get(http, "/").await.text(), "good");
    edge.reload(&says("better")).await;
    assert_eq!(get(http, "/").await.text(), "better");
}

#[tokio::test]
async fn a_listener_that_goes_cuts_nobody_who_is_just_arriving() {
    let edge = Edge::start(&says("all")).await;
    for round in 0..4 {
        edge.reload(&(listener("second") + &says("all"))).await;
        let second = edge.address("second").await;
        // Every request on a connection of its own: somebody is always in the queue.
        let mut arriving = tokio::task::JoinSet::new();
        for _ in 0..8 {
            arriving.spawn(async move {
                let mut answered = 0;
                loop {
                    let Ok(stream) = tokio::net::TcpStream::connect(second).await else {
                        return answered;
                    };
                    let said = crate::support::raw::last_words(stream).await;
                    assert!(said.starts_with(b"HTTP/1.1 200"), "cut after {answered} answers");
                    answered += 1;
                }
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        edge.reload(&says(&format!("round {round}"))).await;
        let mut answered = 0;
        while let Some(client) = arriving.join_next().await {
            answered += client.unwrap();
        }
        assert!(answered > 0);
    }
}

#[tokio::test]
async fn listeners_come_and_go() {
    let edge = Edge::start(&says("all")).await;
    let first = edge.address("http").await;
    edge.reload(&(listener("second") + &says("all"))).await;
    let second = edge.address("second").await;
    assert_eq!(get(second, "/").await.text(), "all");

    let mut kept = RawClient::connect(second).await;
    kept.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert_eq!(kept.response().await.header("connection"), None);
    edge.reload(&says("fewer")).await;
    assert_eq!(edge.api().listener("second").await, None);
    // The workers let go of the socket once they have served what its queue held.
    eventually("nobody to listen there", || async {
        tokio::net::TcpStream::connect(second).await.is_err().then_some(())
    })
    .await;
    assert_eq!(edge.address("http").await, first);

    // Who was connected gets an answer to the request on its way, then the end.
    assert!(kept.open(), "an idle connection is not cut");
    kept.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let last = kept.response().await;
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert!(kept.closed().await);
}

#[tokio::test]
async fn a_listener_whose_port_is_taken_is_refused_and_nothing_changes() {
    let taken = Origin::start("other").await;
    let edge = Edge::start(&says("good")).await;
    let second = format!("\n[listeners.second]\naddress = \"{}\"\n", taken.address);
    edge.write_config(&(second + &says("bad")));
    let reply = edge.api().reload().await;
    assert!(!reply.status.is_success());
    let text = reply.text();
    assert!(text.contains("second") && text.contains(&taken.address.port().to_string()), "{text}");
    assert_eq!(get(edge.address("http").await, "/").await.text(), "good");
}

#[tokio::test]
async fn a_change_of_endpoints_lets_requests_in_flight_finish() {
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    let gate = crate::support::origin::Gate::default();
    old.on("/held", crate::support::Act::Gate(gate.clone()));
    let edge = Edge::start(&simple(old.address)).await;
    let http = edge.address("http").await;
    let held = tokio::spawn(async move { get(http, "/held").await });
    old.await_requests(1).await;
    get(http, "/pooled").await;
    edge.reload(&simple(new.address)).await;
    assert_eq!(get(http, "/").await.version(), "new");
    old.await_connections(1).await; // the idle one in the pool has been closed
    gate.open();
    assert_eq!(held.await.unwrap().version(), "old");
    old.await_connections(0).await;
}

#[tokio::test]
async fn includes_and_environment_are_read_again() {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("conf.d")).unwrap();
    let route =
        |word: &str| format!("[routes.all]\nrespond = {{ status = 200, body = \"{word}\" }}\n");
    std::fs::write(dir.path("conf.d/a.toml"), route("included")).unwrap();
    let config = "include = [\"conf.d/*.toml\"]\n".to_owned() + &listener("http");
    let edge = Edge::start_in(dir, &config).await;
    let http = edge.address("http").await;
    assert_eq!(get(http, "/").await.text(), "included");
    std::fs::write(edge.dir.path("conf.d/a.toml"), route("changed")).unwrap();
    until_it_says(&edge, "changed").await;
    std::fs::write(
        edge.dir.path("conf.d/b.toml"),
        "[routes.more]\npath = \"/more\"\nrespond = { status = 200, body = \"more\" }\n",
    )
    .unwrap();
    eventually("the added file", || async {
        (get(http, "/more").await.text() == "more").then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_services_swap_together() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let config = |first: std::net::SocketAddr| {
        listener("http")
            + &service("one", &[("u1", 1, first)])
            + &service("two", &[("u2", 1, first)])
            + &(route("one") + "path = \"/one\"\n")
            + &(route("two") + "path = \"/two\"\n")
    };
    let edge = Edge::start(&config(a.address)).await;
    let http = edge.address("http").await;
    for (address, name) in [(b.address, "b"), (a.address, "a"), (b.address, "b")] {
        edge.reload(&config(address)).await;
        for path in ["/one", "/two"] {
            assert_eq!(get(http, path).await.version(), name);
        }
    }
}

#[tokio::test]
async fn streams_of_a_removed_listener_live_until_the_drain_deadline_and_no_longer() {
    let origin = Origin::start("v1").await;
    let gate = crate::support::origin::Gate::default();
    origin.on("/held", crate::support::Act::Gate(gate.clone()));
    let config = "[server]\nworkers = 2\ndrain = \"2s\"\n".to_owned() + &simple(origin.address);
    let edge = Edge::start(&(listener("second") + &config)).await;
    let second = edge.address("second").await;
    let mut chat = RawClient::connect(second).await;
    websocket::open(&mut chat, "/chat").await;
    let mut h2 = FrameClient::connect(second).await;
    assert!(h2.get(1, "/held").await);
    let mut h1 = RawClient::connect(second).await;
    h1.send("GET /held HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    origin.await_requests(3).await;

    edge.reload(&config).await;
    let started = Instant::now();
    assert_eq!(websocket::say(&mut chat, "still here").await, "still here");
    chat.read_to_close().await;
    h1.read_to_close().await;
    while h2.next().await.is_some() {}
    let lived = started.elapsed();
    assert!((1_500..5_000).contains(&lived.as_millis()), "ended after {lived:?} of 2 s");
}

#[tokio::test]
async fn changed_limits_hold_for_the_next_request_of_old_connections() {
    let origin = Origin::start("v1").await;
    let config = |limits: &str| {
        listener("http")
            + &format!("[listeners.http.limits]\n{limits}\n")
            + &service("app", &[("app", 100, origin.address)])
            + &route("app")
    };
    let edge = Edge::start(&config("")).await;
    let http = edge.address("http").await;
    let long = format!("/{}", "x".repeat(2_000));
    let mut clients = [Client::http1(http), Client::http2(http)];
    for client in &mut clients {
        assert_eq!(client.get(&long).await.status, 200);
    }
    // A head that is longer than the new limit before it is complete.
    let mut half = RawClient::connect(http).await;
    half.send(format!("GET / HTTP/1.1\r\nHost: app.test\r\nX-Long: {}", "x".repeat(6_000))).await;
    edge.reload(&config("uri_bytes = \"1KiB\"\nheader_bytes = \"4KiB\"")).await;
    for client in &mut clients {
        client.get(&long).await.assert_refused(414, reasons::URI_TOO_LONG);
    }
    half.send("x").await;
    let refused = half.response().await;
    assert_eq!((refused.status, refused.reason()), (431, Some(reasons::HEADER_TOO_LARGE)));
}

#[tokio::test]
async fn a_listener_moves_between_an_address_and_all_of_them() {
    let origin = Origin::start("v1").await.forgetful();
    let port = Port::reserve();
    let number = port.address().port();
    let at = |address: &str| {
        format!("\n[listeners.web]\naddress = \"{address}:{number}\"\n")
            + &service("app", &[("app", 100, origin.address)])
            + &route("app")
    };
    let mut edge = Edge::start(&at("127.0.0.1")).await;
    for address in ["0.0.0.0", "127.0.0.1", "[::]"] {
        edge.reload(&at(address)).await;
        assert_eq!(get(port.address(), "/").await.status, 200, "{address}");
    }
    // The same across an upgrade.
    edge.write_config(&at("127.0.0.1"));
    let mut old = edge.upgrade().await;
    assert!(old.wait_exit().await.success());
    assert_eq!(get(port.address(), "/").await.status, 200);
}

#[tokio::test]
async fn another_ca_of_an_upstream_is_trusted_from_the_reload_on() {
    let (right, wrong) = (Ca::new(), Ca::new());
    let origin = Origin::start_tls("v1", right.issue(&["a.test"]).server(&["http/1.1"])).await;
    let dir = Dir::new();
    let ca = right.root_file(&dir);
    let config = listener("http")
        + &upstream("app", &[origin.address])
        + &format!("tls = {{ server_name = \"a.test\", ca = {ca:?} }}\n")
        + "\n[services.app.versions.app]\nupstream = \"app\"\nweight = 100\n"
        + &route("app");
    let edge = Edge::start_in(dir, &config).await;
    let http = edge.address("http").await;
    assert_eq!(get(http, "/").await.status, 200);
    // The file alone changes; connections made under the old trust serve no more.
    wrong.root_file(&edge.dir);
    assert!(edge.api().reload().await.status.is_success());
    get(http, "/").await.assert_refused(502, reasons::CONNECT_FAILED);
    right.root_file(&edge.dir);
    eventually("the file is watched, too", || async {
        (get(http, "/").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_the_rest_is_in_force() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let config = "[server]\nworkers = 3\n[log]\nlevel = \"debug\"\n".to_owned()
        + &simple(origin.address)
        + "path = \"/only\"\n";
    edge.write_config(&config);
    let told = edge.api().reload().await.json()["diff_text"].as_str().unwrap_or("").to_owned();
    for key in ["workers", "level"] {
        let line = told.lines().find(|line| line.contains(key));
        assert!(line.is_some_and(|line| line.contains("after a restart")), "{key}: {told}");
    }
    assert_eq!(get(edge.address("http").await, "/").await.status, 404);
}
