//! `tidegate demo`: two versions of a small service behind a real Tidegate, on this machine,
//! without a configuration or a privilege.

use crate::{
    boot::{self, Launch, Started},
    cli, logging,
};
use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use tidegate_control::{Source, Text};

/// Connections a demo upstream serves at once; more wait in the queue.
const CONNECTIONS: usize = 1024;

/// `tidegate demo`.
pub(crate) fn run(args: &cli::Demo, remote: &cli::Remote) -> ExitCode {
    let control = match cli::Demo::control(remote) {
        Ok(control) => control,
        Err(failure) => {
            eprintln!("error: {failure}");
            return ExitCode::from(failure.code());
        }
    };
    match try_run(args, control) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tidegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_run(args: &cli::Demo, control: SocketAddr) -> anyhow::Result<ExitCode> {
    let blue = upstream("blue")?;
    let green = upstream("green")?;
    let state = State::new()?;
    let source =
        Text { name: "the demo's document", text: document(args, control, &state.0, blue, green) };
    let document = match source.load() {
        Ok(document) => document,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            anyhow::bail!("the demo's own document is refused (a bug)");
        }
    };
    logging::start(&document.config.log);
    let directory = state.0.clone();
    let started = Box::new(move |started: &Started| introduce(started, &directory));
    Ok(boot::launch(Launch { source: Arc::new(source), document, upgrade: false, started }))
}

fn document(
    args: &cli::Demo,
    control: SocketAddr,
    state: &Path,
    blue: SocketAddr,
    green: SocketAddr,
) -> String {
    let cli::Demo { http, https } = args;
    let state = toml_string(&state.to_string_lossy());
    format!(
        r#"
[log]
level = "warn"
access = "off"

[listeners.http]
address = "{http}"

[listeners.https]
address = "{https}"
tls = {{ issuer = "internal", names = ["localhost"], default = "localhost" }}

[upstreams.demo-blue]
endpoints = ["{blue}"]
health = {{ path = "/healthz", interval = "2s" }}

[upstreams.demo-green]
endpoints = ["{green}"]
health = {{ path = "/healthz", interval = "2s" }}

[services.demo.versions]
blue = {{ upstream = "demo-blue", weight = 100 }}
green = {{ upstream = "demo-green", weight = 0 }}

[routes.demo]
service = "demo"

[control]
address = "{control}"
state = {state}
"#
    )
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Prints where everything is, and three commands to try.
fn introduce(started: &Started, state: &Path) {
    let listeners = started.proxy.listeners();
    let port = |tls: bool| listeners.iter().find(|l| l.tls == tls).map(|l| l.address);
    let (Some(http), Some(https)) = (port(false), port(true)) else { return };
    let root = state.join("root.pem");
    let control = started.control.map(|address| address.to_string()).unwrap_or_default();
    if let Err(error) = std::fs::write(&root, started.certs.root_pem()) {
        tracing::warn!(%error, "the root certificate cannot be written");
    }
    let program = std::env::args().next().unwrap_or_else(|| "tidegate".into());
    let option = match control.as_str() {
        "127.0.0.1:9180" => String::new(),
        other => format!(" --control http://{other}"),
    };
    println!(
        "\
tidegate demo: versions `blue` and `green` of the service `demo`

  http     http://{http}
  https    https://localhost:{https_port}   (trust {root})
  control  http://{control}

Try, in another terminal:

  curl -i http://{http}/
  {program}{option} weights demo blue=50 green=50
  for i in $(seq 20); do curl -s http://{http}/; done | sort | uniq -c

Ctrl-C ends it.",
        https_port = https.port(),
        root = root.display(),
    );
}

/// A directory for this run's state, removed at its end.
struct State(PathBuf);

impl State {
    fn new() -> anyhow::Result<Self> {
        let name = format!("tidegate-demo-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("`{}` cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // What is left in a temporary directory does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A version of the service, on a thread of its own until the process ends.
fn upstream(version: &'static str) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name(format!("demo-{version}"))
        .spawn(move || runtime.block_on(accept(listener, version)))?;
    Ok(address)
}

async fn accept(listener: TcpListener, version: &'static str) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let _place = place;
            let answer = service_fn(move |request| answer(version, request));
            // A client that leaves is no concern of a demo.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(
    version: &'static str,
    _request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::from(format!("hello from {version}\n")));
    let headers = response.headers_mut();
    headers.insert("x-version", http::HeaderValue::from_static(version));
    headers.insert("content-type", http::HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}
