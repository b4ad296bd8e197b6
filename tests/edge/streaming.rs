//! Nothing is buffered: a byte goes on before the next one is there, both ways.

use crate::support::{
    Act, Ca, Client, Dir, Edge, Origin, RawClient,
    client::{Failure, read, request, streaming},
    eventually,
    grpc::{H2Origin, fed_body, message},
    listener,
    origin::Then,
    route,
    text::simple,
    upstream, websocket,
};
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};

async fn next_data(body: &mut Incoming) -> Bytes {
    let frame = crate::support::within("a piece of the body", body.frame()).await;
    frame.expect("more body").expect("no error").into_data().expect("data")
}

#[tokio::test]
async fn an_upload_reaches_the_upstream_chunk_by_chunk() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let (feed, body) = fed_body();
        let asked = tokio::spawn(async move { client.send(streaming("POST", "/up", body)).await });
        for chunk in ["chunk-one", "chunk-two", "chunk-three"] {
            feed.send(Frame::data(Bytes::from(chunk))).await.unwrap();
            origin.await_wire(chunk).await;
        }
        drop(feed);
        assert_eq!(asked.await.unwrap().json()["body"], "chunk-onechunk-twochunk-three");
    }
}

#[tokio::test]
async fn server_sent_events_arrive_one_by_one() {
    let origin = Origin::start("v1").await;
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let (feed, act) = Act::stream("text/event-stream");
        origin.once("/events", act);
        let response = client.open(request("GET", "/events", "")).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        for number in 0..5 {
            let event = format!("id: {number}\ndata: hello\n\n");
            feed.send(Bytes::from(event.clone())).await.unwrap();
            assert_eq!(next_data(&mut body).await, event);
        }
        drop(feed);
        // Over h2 the end may come as an empty frame.
        let rest = crate::support::within("the stream's end", body.collect()).await.unwrap();
        assert!(rest.to_bytes().is_empty());
    }
}

#[tokio::test]
async fn a_websocket_talks_both_ways_and_outlives_reloads() {
    let origin = Origin::start("v1").await;
    let config = simple(origin.address);
    let edge = Edge::start(&config).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    websocket::open(&mut client, "/chat").await;
    assert_eq!(websocket::say(&mut client, "hello").await, "hello");

    edge.reload(&(config + "request_headers = { set = { x-new = \"yes\" } }\n")).await;
    assert_eq!(websocket::say(&mut client, "still here").await, "still here");

    drop(client);
    origin.await_connections(0).await;
}

#[tokio::test]
async fn a_refused_websocket_is_an_ordinary_answer() {
    let origin = Origin::start("v1").await;
    origin.on("/chat", Act::Status(403));
    let edge = Edge::start(&simple(origin.address)).await;
    let mut client = RawClient::connect(edge.address("http").await).await;
    client.send(websocket::handshake("/chat")).await;
    assert_eq!(client.response().await.status, 403);
}

#[tokio::test]
async fn grpc_streams_both_ways_and_ends_with_trailers() {
    let ca = Ca::new();
    let dir = Dir::new();
    let leaf = ca.issue(&["app.test"]);
    let origin = H2Origin::start("v1").await;
    let mut config = listener("http") + &listener("https");
    config += &format!("tls = {{ certificates = [{}] }}\n", leaf.table(&dir, "edge"));
    config += &(upstream("app", &[origin.address]) + "protocol = \"http2\"\n");
    config += "[services.app.versions.v1]\nupstream = \"app\"\nweight = 1\n";
    config += &route("app");
    let edge = Edge::start_in(dir, &config).await;

    let plain = Client::http2(edge.address("http").await);
    let secure = Client::http2(edge.address("https").await).tls(ca.client(&["h2"]));
    for mut client in [plain, secure] {
        let (feed, body) = fed_body();
        let mut call = streaming("POST", "/pkg.Stream/Talk", body);
        call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        call.headers_mut().insert("te", "trailers".parse().unwrap());
        let response = client.open(call).await.expect("headers before the first message");
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        for text in ["one", "two", "three"] {
            feed.send(Frame::data(message(text))).await.unwrap();
            assert_eq!(next_data(&mut body).await, message(text));
        }
        drop(feed);
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["grpc-message"], "done");
    }
    for headers in origin.seen("/pkg.Stream/Talk") {
        assert_eq!(headers["te"], "trailers", "gRPC servers insist on it");
    }
}

#[tokio::test]
async fn request_trailers_reach_an_h2_upstream() {
    let origin = H2Origin::start("v1").await;
    let config = listener("http")
        + &upstream("app", &[origin.address])
        + "protocol = \"http2\"\n[services.app.versions.v1]\nupstream = \"app\"\nweight = 1\n"
        + &route("app");
    let edge = Edge::start(&config).await;
    let mut client = Client::http2(edge.address("http").await);
    let (feed, body) = fed_body();
    let asked = tokio::spawn(async move { client.send(streaming("POST", "/up", body)).await });
    feed.send(Frame::data(Bytes::from("data"))).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "abc".parse().unwrap());
    feed.send(Frame::trailers(trailers)).await.unwrap();
    drop(feed);
    let told = asked.await.unwrap().json();
    assert_eq!((&told["body_length"], &told["trailers"][0]), (&4.into(), &"x-checksum".into()));
}

#[tokio::test]
async fn a_response_that_breaks_off_is_never_passed_as_whole() {
    let origin = Origin::start("v1").await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    origin.on("/length", Act::partial(Then::Close));
    origin.on("/length-reset", Act::partial(Then::Reset));
    origin.on("/chunked", Act::raw(chunked, Then::Close));
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for path in ["/length", "/length-reset", "/chunked"] {
        for mut client in [Client::http1(http), Client::http2(http)] {
            // The head may have gone out before the break; then the body must not end well.
            match client.open(request("GET", path, "")).await {
                Ok(response) if response.status() == 200 => {
                    let whole = read(response).await;
                    assert!(matches!(whole, Err(Failure::Cut(_))), "{path}: {whole:?}");
                }
                Ok(response) => assert_eq!(response.status(), 502, "{path}"),
                Err(failure) => panic!("{path}: {failure:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_takes_its_request_along() {
    let origin = Origin::start("v1").await;
    origin.on("/stall", Act::stall());
    let edge = Edge::start(&simple(origin.address)).await;
    let http = edge.address("http").await;
    for mut client in [Client::http1(http), Client::http2(http)] {
        let before = origin.requests();
        let asked = tokio::spawn(async move { client.open(request("GET", "/stall", "")).await });
        origin.await_requests(before + 1).await;
        asked.abort();
        let _ = asked.await;
        origin.await_connections(0).await;
    }
    eventually("nothing in flight", || async {
        (edge.api().endpoint("app", origin.address).await["in_flight"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_slows_the_upstream_instead_of_filling_memory() {
    const SIZE: usize = 256 * 1024 * 1024;
    let origin = Origin::start("v1").await.forgetful();
    origin.on("/huge", Act::Bytes(SIZE));
    let edge = Edge::start(&simple(origin.address)).await;
    let before = edge.resident();
    let mut client = RawClient::connect(edge.address("http").await).await;
    client.send("GET /huge HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    client.read_exactly(64 * 1024).await;
    // What fits into the sockets' buffers goes out; then everything must stand still.
    let mut last = edge.resident();
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        last = edge.resident();
    }
    assert!(last < before + 16 * 1024, "grew from {before} KiB to {last} KiB for one slow reader");
}
