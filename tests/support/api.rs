//! The control API over its Unix socket, where the peer's credentials make us admin.

use super::{client::Reply, wait::eventually};
use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{net::SocketAddr, path::PathBuf};
use tokio::net::UnixStream;

/// Speaks to one control socket; a connection per call.
#[derive(Clone)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// The API behind `socket`.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// One call; `None` when nobody answers.
    pub async fn try_send(&self, request: Request<Full<Bytes>>) -> Option<Reply> {
        let stream = UnixStream::connect(&self.socket).await.ok()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.ok()?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        driver.abort();
        Some(Reply { status: head.status, headers: head.headers, body })
    }

    /// Whether the process `pid` answers on the socket.
    pub async fn served_by(&self, pid: u32) -> bool {
        let status = self.try_send(request("GET", "/v1/status", None)).await;
        status.is_some_and(|reply| reply.status == 200 && reply.json()["pid"] == pid)
    }

    /// One call that must be answered.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let what = format!("{} {}", request.method(), request.uri());
        self.try_send(request).await.unwrap_or_else(|| panic!("the API gave no answer to {what}"))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path, None)).await
    }

    /// Whose API this is: two processes may have the same path, one after the other.
    pub async fn pid(&self) -> Option<u32> {
        let reply = self.try_send(request("GET", "/v1/status", None)).await?;
        let status: Value = serde_json::from_slice(&reply.body).ok()?;
        u32::try_from(status["pid"].as_u64()?).ok()
    }

    /// GET that must answer 200 with JSON.
    pub async fn json(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.text());
        reply.json()
    }

    /// PUT with a JSON body and `If-Match: *`.
    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        let mut request = request("PUT", path, Some(body));
        request.headers_mut().insert("if-match", "*".parse().unwrap());
        self.send(request).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(request("POST", path, Some(body))).await
    }

    /// Sets the weights of a service; returns once they are in force.
    pub async fn weights(&self, service: &str, weights: &[(&str, f64)]) {
        let weights: serde_json::Map<String, Value> =
            weights.iter().map(|&(version, weight)| (version.to_owned(), weight.into())).collect();
        let body = serde_json::json!({ "weights": weights });
        let reply = self.put(&format!("/v1/services/{service}/weights"), &body).await;
        assert!(reply.status.is_success(), "weights {body}: {} {}", reply.status, reply.text());
    }

    /// Asks for a reload; the reply comes after the swap.
    pub async fn reload(&self) -> Reply {
        self.post("/v1/config:reload", &serde_json::json!({})).await
    }

    /// Where the listener accepts now, if it is there.
    pub async fn listener(&self, name: &str) -> Option<SocketAddr> {
        let status = self.json("/v1/status").await;
        let listeners = status["listeners"].as_array().expect("status lists the listeners");
        let found = listeners.iter().find(|listener| listener["name"] == name)?;
        let address = found["address"].as_str().expect("a listener has an address");
        Some(address.parse().expect("a listener's address is one"))
    }

    /// What is said of an endpoint: `health`, `admin`, `in_flight`, ...
    pub async fn endpoint(&self, upstream: &str, endpoint: SocketAddr) -> Value {
        let shown = self.json(&format!("/v1/upstreams/{upstream}")).await;
        shown["endpoints"]
            .as_array()
            .and_then(|all| all.iter().find(|e| e["address"] == endpoint.to_string()))
            .unwrap_or_else(|| panic!("no endpoint {endpoint} in {shown}"))
            .clone()
    }

    /// Waits until the endpoint's health is `health`.
    pub async fn await_health(&self, upstream: &str, endpoint: SocketAddr, health: &str) {
        eventually(&format!("{endpoint} of `{upstream}` {health}"), || async {
            (self.endpoint(upstream, endpoint).await["health"] == health).then_some(())
        })
        .await;
    }

    /// Sets an endpoint's administrative state: `active`, `drain` or `disable`.
    pub async fn endpoint_state(&self, upstream: &str, endpoint: SocketAddr, state: &str) {
        let path = format!("/v1/upstreams/{upstream}/endpoints/{endpoint}");
        let reply = self.put(&path, &serde_json::json!({ "state": state })).await;
        assert!(reply.status.is_success(), "{path}: {} {}", reply.status, reply.text());
    }

    /// One metric's samples: every line of `/metrics` of that name, with its labels as written.
    pub async fn metric(&self, name: &str) -> Vec<(String, f64)> {
        let text = self.get("/metrics").await.text();
        text.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .map(|line| {
                let (labels, value) = line.rsplit_once(' ').expect("a sample has a value");
                (labels[name.len()..].to_owned(), value.parse().expect("a sample is a number"))
            })
            .collect()
    }

    /// Waits until the samples come to `count`: a request is counted when it is over, which its
    /// client knows first.
    pub async fn counted(&self, name: &str, labels: &[&str], count: f64) {
        let what = format!("{count} of {name} {labels:?}");
        eventually(&what, || async {
            (self.metric_sum(name, labels).await == count).then_some(())
        })
        .await;
    }

    /// The sum of a metric's samples whose labels contain all of `labels`, such as
    /// `route="app"`.
    pub async fn metric_sum(&self, name: &str, labels: &[&str]) -> f64 {
        let samples = self.metric(name).await;
        samples
            .iter()
            .filter(|(written, _)| labels.iter().all(|label| written.contains(label)))
            .map(|(_, value)| value)
            .sum()
    }
}

/// A request to the API.
pub fn request(method: &str, path: &str, body: Option<&Value>) -> Request<Full<Bytes>> {
    let builder = Request::builder().method(method).uri(path).header(HOST, "localhost");
    match body {
        Some(json) => builder
            .header("content-type", "application/json")
            .body(Full::from(json.to_string()))
            .unwrap(),
        None => builder.body(Full::default()).unwrap(),
    }
}
