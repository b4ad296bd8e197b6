//! Conversations with the codec: bytes in, bytes out.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::JoinHandle,
};

use super::{Body, BodyError, Error, Handler, Limits, Malformed, Upgrade, serve};
use crate::drain::{Drain, Drainer, drain};

mod basics;
mod bodies;
mod differential;
mod generate;
mod hardening;
mod lifecycle;
mod responses;
mod smoke;
mod speed;
mod tcp;

/// What the handler saw of one request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) uri: String,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Vec<u8>, BodyError>,
    pub(super) trailers: Option<HeaderMap>,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A handler made of a function; records refusals.
#[derive(Clone)]
pub(super) struct Scripted {
    script: Arc<dyn Fn(Request<Body>) -> Answering + Send + Sync>,
    pub(super) refused: Arc<Mutex<Vec<Malformed>>>,
}

impl Scripted {
    pub(super) fn new<F, R>(script: F) -> Self
    where
        F: Fn(Request<Body>) -> R + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        Self { script: Arc::new(move |request| Box::pin(script(request))), refused: Arc::default() }
    }

    /// Reads each request whole, records it and answers `ok`.
    pub(super) fn recorder() -> (Self, Arc<Mutex<Vec<Seen>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let handler = Self::new(move |request: Request<Body>| {
            let log = log.clone();
            async move {
                let seen = see(request).await;
                let ok = seen.body.is_ok();
                log.lock().unwrap().push(seen);
                if ok { text("ok") } else { status(400, "") }
            }
        });
        (handler, seen)
    }
}

impl Handler for Scripted {
    type ResponseBody = BoxBody<Bytes, Infallible>;
    type Future = Answering;

    fn call(&self, request: Request<Body>) -> Answering {
        (self.script)(request)
    }

    fn refuse(&self, malformed: Malformed) -> Response<Bytes> {
        self.refused.lock().unwrap().push(malformed);
        Response::builder()
            .status(malformed.status())
            .header("date", "now")
            .body(Bytes::from_static(malformed.word().as_bytes()))
            .unwrap()
    }
}

pub(super) async fn see(request: Request<Body>) -> Seen {
    let (parts, body) = request.into_parts();
    let exact = body.size_hint().exact();
    let (body, trailers) = match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned();
            let body = collected.to_bytes();
            assert!(exact.is_none_or(|exact| exact == body.len() as u64));
            (Ok(body.to_vec()), trailers)
        }
        Err(error) => (Err(error), None),
    };
    Seen {
        method: parts.method,
        uri: parts.uri.to_string(),
        version: parts.version,
        headers: parts.headers,
        body,
        trailers,
    }
}

/// A response with a fixed Date, so that tests can compare bytes.
pub(super) fn text(body: &'static str) -> Answer {
    status(200, body)
}

pub(super) fn status(status: u16, body: &'static str) -> Answer {
    Response::builder()
        .status(status)
        .header("date", "now")
        .body(BodyExt::boxed(Full::new(Bytes::from_static(body.as_bytes()))))
        .unwrap()
}

/// A client on an in-memory connection.
pub(super) struct Client {
    pub(super) io: DuplexStream,
    pub(super) server: JoinHandle<Result<(), Error>>,
    pub(super) drainer: Drainer,
}

impl Client {
    pub(super) fn connect(handler: Scripted) -> Self {
        Self::with(handler, Limits::default(), 1 << 14)
    }

    pub(super) fn with(handler: Scripted, limits: Limits, pipe: usize) -> Self {
        let (near, far) = tokio::io::duplex(pipe);
        let (drainer, drain): (Drainer, Drain) = drain();
        let server = tokio::spawn(serve(far, Arc::new(Arc::new(limits).into()), drain, handler));
        Self { io: near, server, drainer }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Expects exactly these bytes next.
    #[track_caller]
    pub(super) fn expect<'a>(&'a mut self, expected: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let mut bytes = vec![0; expected.len()];
            let mut read = 0;
            while read < bytes.len() {
                match tokio::time::timeout(
                    Duration::from_secs(100),
                    self.io.read(&mut bytes[read..]),
                )
                .await
                {
                    Ok(Ok(n)) if n > 0 => read += n,
                    end => {
                        let got = String::from_utf8_lossy(&bytes[..read]).into_owned();
                        panic!("{caller}: {end:?} after {got:?}, expected {expected:?}")
                    }
                }
            }
            let got = String::from_utf8_lossy(&bytes);
            assert_eq!(got, expected, "{caller}");
        }
    }

    /// Everything until the server closes.
    pub(super) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        self.io.read_to_end(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\n\r\nok";
pub(super) const OK_CLOSE: &str =
    "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
