//! What the codec itself costs: requests over a socket made of memory.
//! `cargo test --release -p tidegate-proxy speed -- --ignored --nocapture`

use std::{
    io,
    task::{Context, Poll},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

/// Yields the request, again and again, as often as asked.
struct Endless {
    request: &'static [u8],
    left: usize,
    due: bool,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.due {
            self.due = false;
            buf.put_slice(self.request);
        } else if self.left > 0 {
            // As on a real socket, each request is waited for.
            self.due = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.left = self.left.saturating_sub(1);
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const ROUNDS: usize = 500_000;

#[derive(Clone)]
struct Fixed;

impl Handler for Fixed {
    type ResponseBody = Full<Bytes>;
    type Future = std::future::Ready<Response<Full<Bytes>>>;

    fn call(&self, _: Request<Body>) -> Self::Future {
        std::future::ready(response())
    }

    fn refuse(&self, malformed: Malformed) -> Response<Bytes> {
        panic!("{malformed}")
    }
}

fn response() -> Response<Full<Bytes>> {
    static BODY: [u8; 1024] = [b'x'; 1024];
    let mut response = Response::new(Full::new(Bytes::from_static(&BODY)));
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("text/plain"));
    headers.insert("server", http::HeaderValue::from_static("x"));
    response
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    const BARE: &[u8] =
        b"GET /a/b?c=d HTTP/1.1\r\nHost: example.com\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n";
    const BROWSER: &[u8] = b"GET /a/b?c=d HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\n\
        sec-ch-ua: \"Chromium\";v=\"140\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n\
        Upgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\nSec-Fetch-Site: none\r\n\
        Sec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
        Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\nCookie: a=b; c=d; session=0123456789\r\n\r\n";
    const POST: &[u8] =
        b"POST /a HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\n0123456789";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for (name, request) in [("bare", BARE), ("browser", BROWSER), ("post", POST)] {
        let io = || Endless { request, left: ROUNDS, due: true };
        let ours = timed(|| {
            let serving = serve(io(), Arc::default(), drain().1, Fixed);
            runtime.block_on(runtime.spawn(serving)).unwrap().unwrap();
        });
        let service = hyper::service::service_fn(|_| async { Ok::<_, Infallible>(response()) });
        let hyper = timed(|| {
            let serving = hyper::server::conn::http1::Builder::new()
                .timer(hyper_util::rt::TokioTimer::new())
                .serve_connection(hyper_util::rt::TokioIo::new(io()), service);
            // It reads ahead, so that the end comes amid a request.
            let _ = runtime.block_on(runtime.spawn(serving)).unwrap();
        });
        println!("{name}: {ours} ns a request, hyper {hyper}");
    }
}

fn timed(run: impl FnOnce()) -> u128 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() / ROUNDS as u128
}
