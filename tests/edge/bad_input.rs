//! Bad input of every kind: a clear word naming the cause, nothing lost, no panic.

use crate::support::{
    Ca, Dir, Edge, Origin,
    edge::{Ended, run_cli},
    get, listener, route, service,
    text::simple,
};
use std::os::unix::fs::PermissionsExt;

/// Starts an edge that must refuse to, clearly.
async fn refuses(dir: Dir, config: &str, words: &[&str]) {
    let ended: Ended = match Edge::try_start_in(dir, config).await {
        Ok(_) => panic!("it started with:\n{config}"),
        Err(ended) => ended,
    };
    assert!(!ended.status.success(), "{ended:?}");
    for word in words {
        assert!(ended.said.contains(word), "`{word}` is missing in:\n{}", ended.said);
    }
    assert!(!ended.said.contains("panicked"), "{}", ended.said);
}

#[tokio::test]
async fn every_fault_of_a_file_is_told_at_once_with_its_place() {
    let config = r#"
[listeners.http]
address = "127.0.0.1:none"
colour = "red"

[upstreams.app]
endpoints = []
balance = "fastest"
timeouts = { connect = "soon" }

[services.app.versions.v1]
upstream = "ap"
weight = -5

[routes.app]
service = "app"
path = "no-slash"
rate_limits = ["missing"]
"#;
    let words = [
        "edge.toml:3:",
        "edge.toml:4:",
        "colour",
        "edge.toml:7:",
        "edge.toml:8:",
        "fastest",
        "edge.toml:9:",
        "soon",
        "edge.toml:12:",
        "`ap`",
        "edge.toml:13:",
        "edge.toml:17:",
        "edge.toml:18:",
        "missing",
    ];
    refuses(Dir::new(), config, &words).await;
}

#[tokio::test]
async fn what_is_no_toml_or_no_text_is_told() {
    refuses(Dir::new(), "[listeners.http\naddress = 1", &["edge.toml:1:"]).await;
    let dir = Dir::new();
    std::fs::write(dir.path("binary.toml"), b"\xff\xfe\x00").unwrap();
    let path = dir.path("binary.toml");
    let output = run_cli(&["check", "-c", path.to_str().unwrap()], &[]).await;
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("binary.toml"), "{output:?}");
    let output = run_cli(&["check", "-c", "/nonexistent/edge.toml"], &[]).await;
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("/nonexistent/edge.toml"), "{output:?}");
}

#[tokio::test]
async fn a_port_already_taken_is_named() {
    let taken = Origin::start("other").await;
    let config = simple(taken.address).replace("127.0.0.1:0", &taken.address.to_string());
    let port = taken.address.port().to_string();
    refuses(Dir::new(), &config, &["listener `http`", &port, "taken"]).await;
}

#[tokio::test]
async fn an_unreadable_key_is_named() {
    let (ca, dir) = (Ca::new(), Dir::new());
    let origin = Origin::start("v1").await;
    let leaf = ca.issue(&["app.test"]);
    let tls = format!("tls = {{ certificates = [{}] }}\n", leaf.table(&dir, "edge"));
    let config =
        listener("https") + &tls + &service("app", &[("app", 1, origin.address)]) + &route("app");
    dir.write_secret(
        "edge.key",
        "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n",
    );
    refuses(dir.clone(), &config, &["edge.key"]).await;
    // A key of another certificate.
    let other = ca.issue(&["app.test"]);
    let elsewhere = Dir::new();
    let (_, key) = other.write(&elsewhere, "other");
    dir.write_secret("edge.key", &std::fs::read_to_string(key).unwrap());
    refuses(dir.clone(), &config, &["edge.key"]).await;
    // A key that everybody may read.
    leaf.write(&dir, "edge");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(dir.path("edge.key"), open).unwrap();
    refuses(dir.clone(), &config, &["edge.key", "644"]).await;
    std::fs::remove_file(dir.path("edge.key")).unwrap();
    refuses(dir, &config, &["edge.key"]).await;
}

#[tokio::test]
async fn a_truncated_state_database_is_kept_aside_and_service_goes_on() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = listener("http")
        + &service("app", &[("blue", 100, blue.address), ("green", 0, green.address)])
        + &route("app");
    let mut edge = Edge::start(&config).await;
    edge.api().weights("app", &[("blue", 0.0), ("green", 100.0)]).await;
    edge.sigterm();
    edge.wait_exit().await;
    let state = edge.dir.path("state");
    let database = std::fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .max_by_key(|path| path.metadata().unwrap().len())
        .expect("a database in the state directory");
    let length = std::fs::metadata(&database).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&database).unwrap();
    file.set_len(length / 2).unwrap();
    drop(file);

    let edge = edge.restart().await;
    assert_eq!(get(edge.address("http").await, "/").await.status, 200, "it serves");
    let name = database.file_name().unwrap().to_str().unwrap().to_owned();
    edge.logs().await_log(&[&name]).await;
    let kept = std::fs::read_dir(&state).unwrap().count();
    assert!(kept > 1, "the damaged file is kept aside for whoever wants to look");
    edge.api().weights("app", &[("blue", 50.0), ("green", 50.0)]).await;
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_named() {
    let origin = Origin::start("v1").await;
    let dir = Dir::new();
    std::fs::write(dir.path("file"), "").unwrap();
    let state = dir.path("file").join("state");
    let config = simple(origin.address)
        + &format!(
            "\n[control]\naddress = \"unix:{}\"\nstate = \"{}\"\n",
            dir.path("control.sock").display(),
            state.display()
        );
    refuses(dir, &config, &[state.to_str().unwrap()]).await;
}

#[tokio::test]
async fn two_processes_do_not_share_a_state_directory() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    refuses(edge.dir.clone(), &simple(origin.address), &["state"]).await;
    assert_eq!(get(http, "/").await.status, 200, "the first one is not disturbed");
    assert_eq!(edge.api().get("/livez").await.status, 200);
}

#[tokio::test]
async fn an_unreachable_acme_server_does_not_keep_it_from_serving() {
    let origin = Origin::start("v1").await;
    let nobody = crate::support::port::Port::reserve();
    let config = format!(
        "[acme]\nissuers = [{{ name = \"nobody\", directory = \"https://{}/dir\" }}]\n",
        nobody.address()
    ) + &listener("http")
        + &listener("https")
        + "tls = {}\n"
        + &service("app", &[("app", 1, origin.address)])
        + &(route("app") + "hosts = [\"app.example.com\", \"127.0.0.1\"]\n");
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    let reply = crate::support::client::get_with(http, "/", &[("host", "app.example.com")]).await;
    assert_eq!(reply.status, 200, "what needs no certificate is served");
    edge.logs().await_log(&["app.example.com", "nobody"]).await;
    assert_eq!(edge.api().get("/livez").await.status, 200);
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2_and_says_how() {
    for arguments in [&["run"][..], &["frobnicate"], &["weights", "app", "blue"], &["run", "-c"]] {
        let output = run_cli(arguments, &[]).await;
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
        assert!(output.stderr.contains("Usage:") || output.stderr.contains("--help"), "{output:?}");
    }
}
