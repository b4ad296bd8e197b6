//! Arbitrary bytes to an HTTP/1 connection. The first byte says how they are cut into
//! packets. Holds: no panic; at most one refusal and nothing read after it; no answer
//! without a request, none after one that closes; targets as strict as promised.

#![no_main]

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use tidegate_proxy::{
    drain::drain,
    h1::{Body, Handler, Limits, Malformed, serve},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Clone, Default)]
struct Counting {
    calls: Arc<AtomicUsize>,
    refusals: Arc<AtomicUsize>,
}

impl Handler for Counting {
    type ResponseBody = Full<Bytes>;
    type Future = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

    fn call(&self, request: Request<Body>) -> Self::Future {
        assert_eq!(self.refusals.load(Ordering::Relaxed), 0, "a request after a refusal");
        self.calls.fetch_add(1, Ordering::Relaxed);
        let target = request.uri().to_string();
        assert!(target == "*" || target.starts_with('/'));
        assert!(target.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#'));
        assert!(request.headers().keys().all(|name| !name.as_str().contains('_')));
        let framed = ["content-length", "transfer-encoding"].map(|name| request.headers().contains_key(name));
        assert_ne!(framed, [true, true]);
        Box::pin(async move {
            let status = match request.into_body().collect().await {
                Ok(_) => http::StatusCode::OK,
                Err(fault) => fault.status(),
            };
            let mut response = Response::new(Full::default());
            *response.status_mut() = status;
            response
        })
    }

    fn refuse(&self, malformed: Malformed) -> Response<Bytes> {
        assert_eq!(self.refusals.fetch_add(1, Ordering::Relaxed), 0, "a second refusal");
        let mut response = Response::default();
        *response.status_mut() = malformed.status();
        response
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, input)) = data.split_first() else { return };
    let cut = usize::from(*cut).max(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let handler = Counting::default();
        let limits = Limits { header_bytes: 4096, headers: 16, uri_bytes: 1024, ..Limits::default() };
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        let server = tokio::spawn(serve(far, Arc::new(Arc::new(limits).into()), drain().1, handler.clone()));
        for piece in input.chunks(cut) {
            if near.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // Either side may be gone already.
        let _ = near.shutdown().await;
        let mut said = Vec::new();
        let _ = near.read_to_end(&mut said).await;
        let _ = server.await.expect("no panic");

        let said = String::from_utf8(said).expect("responses are ASCII here");
        let said = said.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
        let answers: Vec<_> = said.split("HTTP/1.1 ").skip(1).collect();
        let asked = handler.calls.load(Ordering::Relaxed) + handler.refusals.load(Ordering::Relaxed);
        assert!(answers.len() <= asked, "an answer without a request");
        let closing = answers.iter().position(|answer| answer.contains("\r\nconnection: close\r\n"));
        assert!(closing.is_none_or(|at| at + 1 == answers.len()), "an answer after the last");
    });
});
