//! What whoever is on call sees.

use super::reasons;
use crate::support::{
    Act, Client, Edge, Origin, RawClient, get, listener, origin::Gate, route, service, text::simple,
};

#[tokio::test]
async fn every_request_has_one_access_line() {
    let origin = Origin::start("v1").await;
    origin.on("/teapot", Act::Status(418));
    let config = simple(origin.address) + "host = \"app.test\"\n";
    let edge = Edge::start(&config).await;
    let http = edge.address("http").await;
    get(http, "/teapot?a=b").await;
    Client::http2(http).get("/fine").await;
    crate::support::client::get_with(http, "/nowhere", &[("host", "other.test")]).await;
    let line = async |path: &str| {
        let what = format!("the access line of {path}");
        let of_path = |line: &serde_json::Value| {
            line["path"].as_str().is_some_and(|found| found.starts_with(path))
        };
        edge.logs().await_access(&what, of_path).await
    };
    let teapot = line("/teapot").await;
    for (field, value) in [
        ("status", serde_json::json!(418)),
        ("method", "GET".into()),
        ("host", "app.test".into()),
        ("route", "app".into()),
        ("service", "app".into()),
        ("version", "app".into()),
        ("endpoint", origin.address.to_string().into()),
        ("client", "127.0.0.1".into()),
        ("listener", "http".into()),
    ] {
        assert_eq!(teapot[field], value, "{field} of {teapot}");
    }
    assert!(teapot["duration_ms"].is_number(), "{teapot}");
    assert_eq!(line("/fine").await["protocol"], "HTTP/2.0");
    let nowhere = line("/nowhere").await;
    assert_eq!((&nowhere["status"], &nowhere["reason"]), (&404.into(), &reasons::NO_ROUTE.into()));
    let lines = edge.logs().stdout();
    assert_eq!(lines.iter().filter(|line| line.contains("/teapot")).count(), 1, "{lines:?}");
}

#[tokio::test]
async fn a_refusal_has_the_same_word_in_header_log_and_metric() {
    let mut origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    origin.stop().await;
    let reply = get(edge.address("http").await, "/dead").await;
    let word = reply.reason().expect("a reason").to_owned();
    let line = edge.logs().await_access("its line", |line| line["path"] == "/dead").await;
    assert_eq!(line["reason"], word);
    let metrics = edge.api().get("/metrics").await.text();
    assert!(metrics.contains(&format!("reason=\"{word}\"")), "{metrics}");
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_time_them_by_version() {
    let origin = Origin::start("v1").await;
    origin.on("/fail", Act::Status(500));
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for _ in 0..7 {
        get(http, "/").await;
    }
    for _ in 0..3 {
        get(http, "/fail").await;
    }
    let api = edge.api();
    for (labels, count) in [
        (&["route=\"app\""][..], 10.0),
        (&["route=\"app\"", "2xx"], 7.0),
        (&["route=\"app\"", "5xx"], 3.0),
    ] {
        api.counted("tidegate_requests_total", labels, count).await;
    }
    let timed = ["service=\"app\"", "version=\"app\""];
    api.counted("tidegate_response_seconds_count", &timed, 10.0).await;
    for name in ["tidegate_requests_in_flight", "tidegate_endpoint_healthy", "tidegate_connections"]
    {
        assert!(!api.metric(name).await.is_empty(), "{name} is there");
    }
}

#[tokio::test]
async fn metrics_are_in_the_format_prometheus_reads() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    get(edge.address("http").await, "/").await;
    let reply = edge.api().get("/metrics").await;
    assert!(reply.header("content-type").unwrap().starts_with("text/plain"), "{:?}", reply.headers);
    let text = reply.text();
    let (mut helped, mut typed) = (Vec::new(), Vec::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped.push(rest.split(' ').next().unwrap().to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed.push(rest.split(' ').next().unwrap().to_owned());
        } else {
            let (name, value) = line.rsplit_once(' ').expect("name and value");
            assert!(name.starts_with("tidegate_") || name.starts_with("process_"), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    assert_eq!(helped, typed);
    let mut unique = helped.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), helped.len(), "each metric is described once");
}

#[tokio::test]
async fn clients_cannot_make_labels() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    get(http, "/").await;
    let lines = async || edge.api().get("/metrics").await.text().lines().count();
    let before = lines().await;
    for number in 0..50 {
        let mut client = RawClient::connect(http).await;
        let request = format!(
            "M{number} /p{number} HTTP/1.1\r\nHost: h{number}.test\r\nConnection: close\r\n\r\n"
        );
        client.send(request).await;
        client.read_to_close().await;
    }
    let after = lines().await;
    assert!(after < before + 20, "{before} lines became {after}");
}

#[tokio::test]
async fn requests_in_flight_are_counted_while_they_are() {
    let origin = Origin::start("v1").await;
    let gate = Gate::default();
    origin.on("/held", Act::Gate(gate.clone()));
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    let held = tokio::spawn(async move { get(http, "/held").await });
    origin.await_requests(1).await;
    let in_flight = async || edge.api().metric_sum("tidegate_requests_in_flight", &[]).await;
    assert_eq!(in_flight().await, 1.0);
    gate.open();
    held.await.unwrap();
    crate::support::eventually("none in flight", || async {
        (in_flight().await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn logs_can_be_json_and_access_lines_can_go_elsewhere() {
    let origin = Origin::start("v1").await;
    let dir = crate::support::Dir::new();
    let file = dir.path("access.log");
    let config = format!("[log]\nformat = \"json\"\naccess = \"{}\"\n", file.display())
        + &listener("http")
        + &service("app", &[("app", 1, origin.address)])
        + &route("app");
    let edge = Edge::start_in(dir, &config).await;
    get(edge.address("http").await, "/filed").await;
    crate::support::eventually("the line in the file", || async {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().any(|line| line.contains("/filed")).then_some(())
    })
    .await;
    assert!(edge.logs().stdout().is_empty(), "{:?}", edge.logs().stdout());
    for line in edge.logs().stderr().lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "not JSON: {line}");
    }
}

#[tokio::test]
async fn logs_for_people_are_lines_of_text_and_as_severe_as_told() {
    let origin = Origin::start("v1").await;
    let config =
        "[log]\nformat = \"human\"\nlevel = \"warn\"\n".to_owned() + &simple(origin.address);
    let edge = Edge::start(&config).await;
    get(edge.address("http").await, "/for-people?q=1").await;
    let line = edge.logs().await_line("its line", |line| line.contains("/for-people")).await;
    let word = |word: &str| line.split_whitespace().any(|found| found.trim_matches('"') == word);
    assert!(!line.starts_with('{'), "{line}");
    for part in ["GET", "200", "127.0.0.1"] {
        assert!(word(part), "`{part}` is missing in {line}");
    }
    let said = edge.logs().stderr();
    assert!(!said.contains("INFO") && !said.contains("listening"), "{said}");
}

#[tokio::test]
async fn control_characters_in_a_request_cannot_forge_lines() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let reply = crate::support::client::get_with(
        edge.address("http").await,
        "/forge%0a%1b%5b31m",
        &[("user-agent", "x\"}{\"status\":200")],
    )
    .await;
    assert!(reply.status == 200 || reply.status == 400);
    let status = reply.status.as_u16();
    let line = edge
        .logs()
        .await_line("its line", |line| line.contains(&format!("\"status\":{status},")))
        .await;
    assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line}");
    assert!(!line.contains('\u{1b}'), "{line:?}");
}

#[tokio::test]
async fn every_metric_is_explained_to_operators() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    get(edge.address("http").await, "/").await;
    let metrics = edge.api().get("/metrics").await.text();
    let docs = include_str!("../../docs/operations.md");
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let mut seen = 0;
    for name in names {
        assert!(docs.contains(&format!("| `{name}` |")), "{name} is not in docs/operations.md");
        seen += 1;
    }
    assert!(seen > 20, "{metrics}");
}
