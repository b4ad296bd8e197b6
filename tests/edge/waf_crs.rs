//! The Core Rule Set's own regression tests against the real binary: through the proxy, and
//! through `tidegate waf eval --batch`. They are beside the project; without them, or without
//! Python's yaml, nothing is tried, and said so.

use crate::support::{Dir, Edge, edge::binary, listener, port::Port, route, service};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::process::Command;

/// Thousands of requests, one after the other, by a debug build.
const BOUND: Duration = Duration::from_secs(200);

fn crs() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared"));
    let shared = std::env::var_os("TIDEGATE_SHARED").map_or_else(beside, PathBuf::from);
    let crs = shared.join("crs4");
    let yaml = std::process::Command::new("python3").args(["-c", "import yaml"]).output();
    if crs.is_dir() && yaml.is_ok_and(|output| output.status.success()) {
        return Some(crs);
    }
    println!("skipped: no {} or no python3-yaml", crs.display());
    None
}

fn runner(crs: &Path, mode: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(crs.join("crs_runner.py")).arg(mode).arg("--tests").arg(crs.join("tests"));
    command
}

/// What the runner said, and how many stages passed and failed by it.
async fn run(mut command: Command) -> (String, u32, u32) {
    let output = tokio::time::timeout(BOUND, command.kill_on_drop(true).output());
    let output = output.await.expect("the suite ends").expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.starts_with("TOTAL"));
    let line = line.unwrap_or_else(|| panic!("no total: {said}{errors}"));
    let mut figures = line.split_ascii_whitespace().skip(1).map(|figure| figure.parse().unwrap());
    let (passed, failed) = (figures.next().unwrap(), figures.next().unwrap());
    (said, passed, failed)
}

#[tokio::test]
async fn the_regression_tests_pass_through_the_proxy() {
    let Some(crs) = crs() else { return };
    let (dir, backend) = (Dir::new(), Port::reserve());
    let log = dir.write("waf.log", "");
    let path = |name: &str| crs.join(name).display().to_string();
    let rules = [path("crs-setup.conf.example"), path("regression.conf"), path("rules/*.conf")];
    let config = format!("[server]\nworkers = 1\n[log]\nwaf = {log:?}\naccess = \"off\"\n")
        + &listener("http")
        + &format!(
            "\n[waf.crs]\nmode = \"detect\"\nparanoia = 4\nrules = {rules:?}\n\
             response_bodies = true\non_limit = {{ arguments = \"pass\", malformed = \"pass\" }}\n"
        )
        + &service("app", &[("app", 100, backend.address())])
        + &route("app")
        + "waf = \"crs\"\n";
    let edge = Edge::start_in(dir, &config).await;
    let http = edge.address("http").await;
    edge.logs().await_log(&["WAF rules compiled", "OWASP_CRS/4"]).await;
    let mut command = runner(&crs, "http");
    command
        .args(["--port", &http.port().to_string()])
        .args(["--backend-port", &backend.address().port().to_string()])
        .arg("--log")
        .arg(&log)
        .arg("--overrides")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/edge/crs_overrides.yaml"));
    let (said, passed, failed) = run(command).await;
    // 920620-1 expects two Content-Type fields joined to one, as Apache does.
    assert!(passed > 3_600 && failed <= 1, "{said}");
}

#[tokio::test]
async fn the_regression_tests_pass_in_batches() {
    let Some(crs) = crs() else { return };
    let mut command = runner(&crs, "stdio");
    command.args(["--", &binary(), "waf", "eval", "--batch", "--paranoia", "4"]);
    for rules in ["crs-setup.conf.example", "regression.conf", "rules/*.conf"] {
        command.arg("--rules").arg(crs.join(rules));
    }
    let (said, passed, failed) = run(command).await;
    // The four that waf/tests/crs.rs explains.
    assert!(passed > 3_600 && failed <= 4, "{said}");
}
