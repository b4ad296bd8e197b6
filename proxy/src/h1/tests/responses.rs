//! Responses, byte for byte.

use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;

use super::*;

type Item = Result<Frame<Bytes>, Infallible>;

/// A body of these pieces, of unknown length.
fn pieces(pieces: &[&'static str]) -> BoxBody<Bytes, Infallible> {
    let frames: Vec<Item> =
        pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))).collect();
    BodyExt::boxed(StreamBody::new(stream::iter(frames)))
}

fn response(fields: &[(&str, &str)], body: BoxBody<Bytes, Infallible>) -> Answer {
    let builder = Response::builder().header("date", "now");
    fields.iter().fold(builder, |b, (name, value)| b.header(*name, *value)).body(body).unwrap()
}

/// Everything the server says to `request` when the handler answers with `answer`.
async fn said<F>(request: &str, answer: F) -> String
where
    F: Fn() -> Answer + Send + Sync + 'static,
{
    let mut client = Client::connect(Scripted::new(move |_| {
        let answer = answer();
        async move { answer }
    }));
    client.send(request).await;
    client.rest().await
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn framing_is_chosen_by_what_is_known() {
    let close = "connection: close\r\n";
    for (request, answer, expected) in [
        (
            GET,
            (|| text("hello")) as fn() -> Answer,
            format!("200 OK\r\ndate: now\r\ncontent-length: 5\r\n{close}\r\nhello"),
        ),
        (
            GET,
            || status(404, ""),
            format!("404 Not Found\r\ndate: now\r\ncontent-length: 0\r\n{close}\r\n"),
        ),
        (GET, || status(204, ""), format!("204 No Content\r\ndate: now\r\n{close}\r\n")),
        (
            GET,
            || status(599, "x"),
            format!("599 \r\ndate: now\r\ncontent-length: 1\r\n{close}\r\nx"),
        ),
        (
            GET,
            || response(&[], pieces(&["a", "", "bcd"])),
            format!(
                "200 OK\r\ndate: now\r\ntransfer-encoding: chunked\r\n{close}\r\n1\r\na\r\n3\r\nbcd\r\n0\r\n\r\n"
            ),
        ),
        (
            GET,
            || response(&[("content-length", "4")], pieces(&["a", "bcd"])),
            format!("200 OK\r\ndate: now\r\ncontent-length: 4\r\n{close}\r\nabcd"),
        ),
        (
            GET,
            || {
                response(
                    &[
                        ("transfer-encoding", "gzip"),
                        ("connection", "x"),
                        ("content-length", "1, 1"),
                    ],
                    pieces(&["a"]),
                )
            },
            format!(
                "200 OK\r\ndate: now\r\ntransfer-encoding: chunked\r\n{close}\r\n1\r\na\r\n0\r\n\r\n"
            ),
        ),
        (HEAD, || text("hello"), format!("200 OK\r\ndate: now\r\n{close}\r\n")),
        (
            HEAD,
            || {
                response(
                    &[("content-length", "77"), ("transfer-encoding", "chunked")],
                    pieces(&["a"]),
                )
            },
            format!("200 OK\r\ndate: now\r\ncontent-length: 77\r\n{close}\r\n"),
        ),
        (
            GET,
            || {
                let mut answer =
                    response(&[("content-length", "77"), ("etag", "\"x\"")], pieces(&[]));
                *answer.status_mut() = http::StatusCode::NOT_MODIFIED;
                answer
            },
            format!(
                "304 Not Modified\r\ndate: now\r\netag: \"x\"\r\ncontent-length: 77\r\n{close}\r\n"
            ),
        ),
        (
            "GET / HTTP/1.0\r\n\r\n",
            || response(&[], pieces(&["a", "b"])),
            format!("200 OK\r\ndate: now\r\n{close}\r\nab"),
        ),
        (
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            || response(&[], pieces(&["a", "b"])),
            format!("200 OK\r\ndate: now\r\n{close}\r\nab"),
        ),
    ] {
        assert_eq!(said(request, answer).await, format!("HTTP/1.1 {expected}"));
    }
}

#[tokio::test(start_paused = true)]
async fn connection_is_kept_as_both_sides_wish() {
    let mut client = Client::connect(Scripted::new(|_| async { text("ok") }));
    client.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").await;
    client
        .expect(
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok",
        )
        .await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n").await;
    assert_eq!(client.rest().await, OK_CLOSE);

    let mut client = Client::connect(Scripted::new(|_| async { text("ok") }));
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.rest().await, OK_CLOSE);

    let closing = || response(&[("connection", "close")], pieces(&[]));
    let said = said("GET / HTTP/1.1\r\nHost: a\r\n\r\n", closing).await;
    assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_date_is_added() {
    let said = said(GET, || Response::new(pieces(&[]))).await;
    let date = said.split("date: ").nth(1).unwrap().split("\r\n").next().unwrap();
    assert!(httpdate::parse_http_date(date).is_ok(), "{said}");
    assert!(!said.contains("server:"));
}

#[tokio::test(start_paused = true)]
async fn trailers_go_to_those_who_take_them() {
    fn answer() -> Answer {
        let trailers: HeaderMap = [("grpc-status", "0"), ("content-length", "3")]
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .into_iter()
            .collect();
        let frames: Vec<Item> =
            vec![Ok(Frame::data(Bytes::from_static(b"a"))), Ok(Frame::trailers(trailers))];
        response(&[], BodyExt::boxed(StreamBody::new(stream::iter(frames))))
    }
    let with =
        said("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n", answer)
            .await;
    assert!(with.ends_with("\r\n\r\n1\r\na\r\n0\r\ngrpc-status: 0\r\n\r\n"), "{with}");
    let without = said(GET, answer).await;
    assert!(without.ends_with("\r\n\r\n1\r\na\r\n0\r\n\r\n"), "{without}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_its_length_cuts_the_connection() {
    let short = said(GET, || response(&[("content-length", "9")], pieces(&["abc"]))).await;
    assert!(!short.contains("abc") || short.ends_with("\r\n\r\nabc"), "{short}");
    let long = said(GET, || response(&[("content-length", "2")], pieces(&["a", "bcd"]))).await;
    assert!(!long.contains("bcd"), "{long}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_never_ends_cleanly() {
    #[derive(Clone)]
    struct Failing;
    impl Handler for Failing {
        type ResponseBody = BoxBody<Bytes, BodyError>;
        type Future = std::future::Ready<Response<Self::ResponseBody>>;
        fn call(&self, _: Request<Body>) -> Self::Future {
            let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"part")))]);
            let fault = stream::once(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Err(BodyError::Truncated)
            });
            let body = StreamBody::new(futures_util::StreamExt::chain(first, fault));
            std::future::ready(Response::new(BodyExt::boxed(body)))
        }
        fn refuse(&self, _: Malformed) -> Response<Bytes> {
            unreachable!()
        }
    }
    let (mut near, far) = tokio::io::duplex(9999);
    let server = tokio::spawn(serve(far, Arc::default(), drain().1, Failing));
    near.write_all(GET.as_bytes()).await.unwrap();
    let mut said = String::new();
    near.read_to_string(&mut said).await.unwrap();
    assert!(said.ends_with("4\r\npart\r\n"), "{said}");
    assert!(matches!(server.await.unwrap(), Err(Error::ResponseBody(_))));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_flushed_whenever_it_pauses() {
    let (sender, receiver) = mpsc::unbounded_channel::<&'static str>();
    let receiver = Mutex::new(Some(receiver));
    let mut client = Client::connect(Scripted::new(move |_| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        let frames = stream::unfold(receiver, |mut receiver| async {
            let piece = receiver.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece.as_bytes()))), receiver))
        });
        let answer = response(&[], BodyExt::boxed(StreamBody::new(SyncStream(Box::pin(frames)))));
        async move { answer }
    }));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.expect("HTTP/1.1 200 OK\r\ndate: now\r\ntransfer-encoding: chunked\r\n\r\n").await;
    sender.send("data: 1\n\n").unwrap();
    client.expect("9\r\ndata: 1\n\n\r\n").await;
    sender.send("x").unwrap();
    sender.send("y").unwrap();
    client.expect("1\r\nx\r\n1\r\ny\r\n").await;
    drop(sender);
    client.expect("0\r\n\r\n").await;
}

/// `BoxBody` wants `Sync`.
struct SyncStream<S>(Pin<Box<S>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;
    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn large_bodies_arrive_whole() {
    static LARGE: [u8; 200_000] = [b'x'; 200_000];
    for chunked in [false, true] {
        let mut client = Client::with(
            Scripted::new(move |_| async move {
                let frames: Vec<Item> =
                    LARGE.chunks(70_000).map(|c| Ok(Frame::data(Bytes::from_static(c)))).collect();
                let fields: &[_] = if chunked { &[] } else { &[("content-length", "200000")] };
                response(fields, BodyExt::boxed(StreamBody::new(stream::iter(frames))))
            }),
            Limits::default(),
            1000,
        );
        client.send(GET).await;
        let said = client.rest().await;
        assert_eq!(said.matches('x').count(), LARGE.len());
        assert_eq!(said.ends_with("\r\n0\r\n\r\n"), chunked);
    }
}

/// An io that counts what it is asked to do.
struct Counting {
    input: Vec<u8>,
    writes: Arc<Mutex<Vec<usize>>>,
}

impl tokio::io::AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        buf.put_slice(&std::mem::take(&mut self.input));
        std::task::Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Counting {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.writes.lock().unwrap().push(buf.len());
        std::task::Poll::Ready(Ok(buf.len()))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> std::task::Poll<std::io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        self.writes.lock().unwrap().push(length);
        std::task::Poll::Ready(Ok(length))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
    fn poll_shutdown(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn head_and_ready_body_leave_in_one_write() {
    static LARGE: [u8; 20_000] = [b'x'; 20_000];
    for answer in [
        || text("small"),
        || response(&[], pieces(&["a", "b", "c"])),
        || response(&[], BodyExt::boxed(Full::new(Bytes::from_static(&LARGE)))),
    ] {
        let writes = Arc::default();
        let io = Counting { input: GET.into(), writes: Arc::clone(&writes) };
        let handler = Scripted::new(move |_| {
            let answer = answer();
            async move { answer }
        });
        serve(io, Arc::default(), drain().1, handler).await.unwrap();
        assert_eq!(writes.lock().unwrap().len(), 1);
    }
}
