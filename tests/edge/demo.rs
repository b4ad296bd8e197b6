//! `tidegate demo`: the first five minutes. What it prints must work as printed.

use crate::support::{
    Client, Dir,
    edge::{Process, binary, output_of},
    get,
    tls::client_trusting,
    within,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};
use tokio::process::Command;

/// The first address with that scheme in what was printed.
async fn printed(process: &Process, scheme: &str) -> SocketAddr {
    let line = process
        .logs()
        .await_line(&format!("an address with {scheme}"), |line| {
            line.contains(&format!("{scheme}://"))
        })
        .await;
    let (_, rest) = line.split_once(&format!("{scheme}://")).unwrap();
    let (_, rest) = rest.split_once(':').unwrap();
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let port: u16 = port.parse().unwrap_or_else(|_| panic!("a port in {line:?}"));
    (Ipv4Addr::LOCALHOST, port).into()
}

fn start(dir: &Dir) -> Process {
    let any = "127.0.0.1:0";
    let mut command = Command::new(binary());
    command
        .args(["demo", "--http", any, "--https", any, "--control", any])
        .env("HOME", dir.path("."))
        .env("TMPDIR", dir.path("."));
    Process::spawn(command)
}

#[tokio::test]
async fn it_serves_both_versions_over_http_and_https() {
    let dir = Dir::new();
    let mut demo = start(&dir);
    let http = printed(&demo, "http").await;
    let https = printed(&demo, "https").await;
    let version = get(http, "/").await.version().to_owned();
    assert!(["blue", "green"].contains(&&*version), "{version}");

    // The root it printed the place of is what a client needs.
    let line = demo.logs().await_line("the root's file", |line| line.contains(".pem")).await;
    let file = line.split_whitespace().find(|word| word.contains(".pem")).unwrap();
    let file = file.trim_matches(|c: char| "'\"`,()".contains(c));
    let root = CertificateDer::from_pem_file(Path::new(file)).unwrap();
    for speaks in ["http/1.1", "h2"] {
        let client = if speaks == "h2" { Client::http2(https) } else { Client::http1(https) };
        let mut client = client.tls(client_trusting([root.clone()], &[speaks])).host("localhost");
        assert_eq!(client.get("/").await.status, 200, "{speaks}");
    }
    demo.signal(rustix::process::Signal::INT);
    assert!(demo.wait_exit().await.success(), "Ctrl-C is a good end");
}

#[tokio::test]
async fn the_commands_it_prints_work_as_printed() {
    let dir = Dir::new();
    let demo = start(&dir);
    let http = printed(&demo, "http").await;
    // The binary is named as it was started, which may be by its whole path.
    let is_command = |line: &str| {
        let line = line.trim_start();
        ["curl ", "for ", "watch "].iter().any(|word| line.starts_with(word))
            || line.contains(" weights demo ")
    };
    demo.logs().await_line("the command about weights", |line| line.contains("weights demo")).await;
    // The last of three may still be on its way.
    let commands = crate::support::eventually("three commands", || async {
        let all = demo.logs().stdout().join("\n") + "\n" + &demo.logs().stderr();
        let found: Vec<String> = all
            .lines()
            .filter(|line| is_command(line))
            .map(|line| line.trim().to_owned())
            .collect();
        (found.len() >= 3).then_some(found)
    })
    .await;
    let binaries = Path::new(&binary()).parent().unwrap().display().to_string();
    let path = format!("{binaries}:{}", std::env::var("PATH").unwrap());
    for command in &commands {
        // What repeats for ever is run for a moment.
        let bounded = format!("timeout 5 bash -c {}", quoted(command));
        let mut shell = Command::new("bash");
        shell.args(["-c", &bounded]).env("PATH", &path).env("HOME", dir.path("."));
        let output = within(command, output_of(shell)).await;
        assert!([0, 124].contains(&output.code), "`{command}`: {output:?}");
        assert!(!output.stdout.trim().is_empty(), "`{command}` says nothing: {output:?}");
    }
    let mut versions = std::collections::BTreeMap::<String, u32>::new();
    let mut client = Client::http1(http);
    for _ in 0..200 {
        *versions.entry(client.get("/").await.version().to_owned()).or_default() += 1;
    }
    let green = versions.get("green").copied().unwrap_or(0);
    assert!((58..=142).contains(&green), "half each after the printed command: {versions:?}");
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
