//! How connections wait, drain, switch and end.

use tokio::sync::oneshot;

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn ok() -> Scripted {
    Scripted::new(|_| async { text("ok") })
}

/// A handler that answers when told, and tells when it is dropped.
fn held() -> (Scripted, oneshot::Sender<()>, oneshot::Receiver<()>) {
    let (release, released) = oneshot::channel::<()>();
    let (guard, dropped) = oneshot::channel::<()>();
    let parts = Mutex::new(Some((released, guard)));
    let handler = Scripted::new(move |_| {
        let parts = parts.lock().unwrap().take();
        async move {
            if let Some((released, guard)) = parts {
                let _guard = guard;
                let _ = released.await;
            }
            text("ok")
        }
    });
    (handler, release, dropped)
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection_silently() {
    let start = tokio::time::Instant::now();
    let mut client = Client::connect(ok());
    assert_eq!(client.rest().await, "");
    assert_eq!(start.elapsed().as_secs(), 10);
    assert!(client.server.await.unwrap().is_ok());

    let mut client = Client::connect(ok());
    client.send(GET).await;
    client.expect(OK).await;
    let start = tokio::time::Instant::now();
    assert_eq!(client.rest().await, "");
    assert_eq!(start.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_has_one_deadline_in_all() {
    for first in [true, false] {
        let mut client = Client::connect(ok());
        if !first {
            client.send(GET).await;
            client.expect(OK).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let start = tokio::time::Instant::now();
        for byte in GET.bytes().take(9) {
            client.send([byte]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let said = client.rest().await;
        assert!(said.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{said}");
        assert!(said.ends_with("connection: close\r\n\r\nheader_timeout"), "{said}");
        assert_eq!(start.elapsed().as_secs(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_its_request() {
    let (handler, _release, dropped) = held();
    let mut client = Client::connect(handler);
    client.send(GET).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(client.io);
    assert!(dropped.await.is_err(), "the handler is dropped");
    assert!(matches!(client.server.await.unwrap(), Err(Error::Disconnected)));
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_client_has_left() {
    let (handler, _release, dropped) = held();
    let mut client = Client::connect(handler);
    client.send(GET).await;
    client.io.shutdown().await.unwrap();
    assert!(dropped.await.is_err());
    assert_eq!(client.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn pipelined_bytes_wait_in_bounds_while_a_request_runs() {
    let (handler, release, _dropped) = held();
    let mut client = Client::with(handler, Limits::default(), 1000);
    client.send(GET).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let flood = GET.repeat(2000);
    let sent =
        tokio::time::timeout(Duration::from_secs(1), client.io.write_all(flood.as_bytes())).await;
    assert!(sent.is_err(), "the server stops reading");
    release.send(()).unwrap();
    client.expect(&OK.repeat(100)).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_is_dropped() {
    let body: &'static str = String::leak("x".repeat(500_000));
    let mut client =
        Client::with(Scripted::new(move |_| async move { text(body) }), Limits::default(), 1000);
    let start = tokio::time::Instant::now();
    client.send(GET).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let mut some = [0; 100];
        client.io.read_exact(&mut some).await.unwrap();
    }
    assert!(matches!(client.server.await.unwrap(), Err(Error::WriteTimeout)));
    assert_eq!(start.elapsed().as_secs(), 100 + 30);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_survives_the_drain_and_is_told_by_its_next_answer() {
    let mut client = Client::connect(ok());
    client.send(GET).await;
    client.expect(OK).await;
    client.drainer.drain();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!client.server.is_finished());
    client.send(GET).await;
    client.expect(OK_CLOSE).await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn requests_already_here_are_served_before_a_drain_closes() {
    let (handler, release, _dropped) = held();
    let mut client = Client::connect(handler);
    client.send(GET.repeat(3)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.drainer.drain();
    release.send(()).unwrap();
    assert_eq!(client.rest().await, [OK, OK, OK_CLOSE].concat());
}

#[tokio::test(start_paused = true)]
async fn the_drain_deadline_ends_what_is_left() {
    let mut idle = Client::connect(ok());
    idle.send(GET).await;
    idle.expect(OK).await;
    let (handler, _release, dropped) = held();
    let mut busy = Client::connect(handler);
    busy.send(GET).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for client in [&mut idle, &mut busy] {
        client.drainer.drain();
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(!client.server.is_finished());
        client.drainer.close();
        assert_eq!(client.rest().await, "");
    }
    assert!(dropped.await.is_err());
    assert!(idle.server.await.unwrap().is_ok());
    assert!(matches!(busy.server.await.unwrap(), Err(Error::DrainDeadline)));
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_hands_over_the_connection_and_what_came_ahead() {
    let (sender, receiver) = oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let mut client = Client::connect(Scripted::new(move |request: Request<Body>| {
        assert_eq!(request.headers()["upgrade"], "websocket");
        let (upgrade, upgraded) = Upgrade::new();
        sender.lock().unwrap().take().unwrap().send(upgraded).unwrap();
        let mut answer = status(101, "");
        answer.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        answer.extensions_mut().insert(upgrade);
        async { answer }
    }));
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nahead")
        .await;
    client
        .expect("HTTP/1.1 101 Switching Protocols\r\ndate: now\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
        .await;
    client.send(" of time").await;
    let mut raw = receiver.await.unwrap().await.unwrap();
    let mut bytes = [0; 13];
    raw.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ahead of time");
    raw.write_all(b"hi").await.unwrap();
    client.expect("hi").await;
    assert!(client.server.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn unusable_informational_answers_end_the_connection() {
    for code in [100, 101, 103] {
        let mut client = Client::connect(Scripted::new(move |_| async move { status(code, "") }));
        client.send(GET).await;
        assert_eq!(client.rest().await, "");
        assert!(matches!(client.server.await.unwrap(), Err(Error::Informational)));
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_no_request() {
    let (handler, seen) = Scripted::recorder();
    let mut client = Client::connect(handler.clone());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    client.io.shutdown().await.unwrap();
    assert_eq!(client.rest().await, "");
    assert!(seen.lock().unwrap().is_empty() && handler.refused.lock().unwrap().is_empty());
}

#[test]
fn an_idle_connection_is_small() {
    fn size<F: Future>(_: impl FnOnce(tokio::net::TcpStream) -> F) -> usize {
        size_of::<F>()
    }
    let size = size(|io| serve(io, Arc::default(), drain().1, ok()));
    assert!(size <= 640, "serve's future has {size} bytes");
    let wire = size_of::<super::super::wire::Wire<tokio::net::TcpStream>>();
    assert!(wire <= 320, "the shared half has {wire} bytes");
}
