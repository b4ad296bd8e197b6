//! The verbs of the command line.

use crate::support::{
    Dir, Edge, Origin,
    edge::{Output, run_cli},
    get, listener, route, service,
    text::simple,
};

fn said(output: &Output, words: &[&str]) {
    assert_eq!(output.code, 0, "{output:?}");
    for word in words {
        assert!(output.stdout.contains(word), "`{word}` is missing in {output:?}");
    }
}

#[tokio::test]
async fn check_says_yes_or_why_not() {
    let dir = Dir::new();
    let good = dir.write("good.toml", &simple("127.0.0.1:1".parse().unwrap()));
    let output = run_cli(&["check", "-c", good.to_str().unwrap()], &[]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let bad = dir.write("bad.toml", "[listeners.http]\naddres = \"127.0.0.1:0\"\n");
    let output = run_cli(&["check", "-c", bad.to_str().unwrap()], &[]).await;
    assert_eq!(output.code, 1, "{output:?}");
    let all = output.stdout + &output.stderr;
    assert!(all.contains("bad.toml:2:1") && all.contains("address"), "the near name: {all}");
}

#[tokio::test]
async fn diff_says_what_would_change_for_traffic() {
    let dir = Dir::new();
    let text = simple("127.0.0.1:1".parse().unwrap());
    let old = dir.write("old.toml", &text);
    let new =
        dir.write("new.toml", &(text.replace("127.0.0.1:1", "127.0.0.1:2") + "path = \"/x\"\n"));
    let output = run_cli(&["diff", old.to_str().unwrap(), new.to_str().unwrap()], &[]).await;
    said(&output, &["127.0.0.1:2", "app", "/x"]);
    let output = run_cli(&["diff", old.to_str().unwrap(), old.to_str().unwrap()], &[]).await;
    assert_eq!(output.code, 0);
    assert!(!output.stdout.contains("127.0.0.1:1"), "{output:?}");
}

#[tokio::test]
async fn schema_is_json_schema() {
    let output = run_cli(&["schema"], &[]).await;
    assert_eq!(output.code, 0);
    let schema: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert!(schema["$schema"].is_string());
    for table in ["listeners", "upstreams", "services", "routes", "rate_limits", "acme", "control"]
    {
        let root = &schema["$defs"]["Config"]["properties"];
        assert!(root[table].is_object(), "{table}");
    }
}

#[tokio::test]
async fn the_verbs_about_a_running_edge() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let config = listener("http")
        + &service("app", &[("blue", 100, blue.address), ("green", 0, green.address)])
        + &route("app");
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    said(&edge.cli(&["status"]).await, &["http", &http.to_string()]);
    said(&edge.cli(&["upstreams"]).await, &["blue", &blue.address.to_string()]);
    said(&edge.cli(&["weights", "app"]).await, &["blue", "green", "100"]);
    said(&edge.cli(&["weights", "app", "blue=0", "green=100"]).await, &["green"]);
    assert_eq!(get(http, "/").await.version(), "green");
    said(&edge.cli(&["certs"]).await, &[]);
    said(&edge.cli(&["explain", "http://app.test/x"]).await, &["app", "green"]);
    for (change, code, word) in [
        (&["blue=0", "green=5", "red=5"][..], 2, "red"),
        (&["blue=50"], 2, "green"),
        (&["blue=0", "green=0"], 1, "0"),
    ] {
        let output = edge.cli(&[&["weights", "app"], change].concat()).await;
        assert_eq!(output.code, code, "{output:?}");
        assert!(output.stderr.contains(word), "{output:?}");
    }
}

#[tokio::test]
async fn without_an_edge_the_verbs_say_so() {
    let nowhere = ("TIDEGATE_CONTROL", "unix:/nonexistent/control.sock");
    let output = run_cli(&["status"], &[nowhere]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("/nonexistent/control.sock"), "{output:?}");
}

#[tokio::test]
async fn version_and_help_answer() {
    assert!(run_cli(&["--version"], &[]).await.stdout.contains(env!("CARGO_PKG_VERSION")));
    let help = run_cli(&["--help"], &[]).await.stdout;
    for verb in [
        "run",
        "demo",
        "check",
        "diff",
        "schema",
        "status",
        "weights",
        "upstreams",
        "certs",
        "explain",
    ] {
        assert!(help.contains(verb), "{verb}");
    }
}
