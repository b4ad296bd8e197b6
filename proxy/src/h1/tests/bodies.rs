//! Request bodies: how they are read, and how they end early.

use tokio::sync::oneshot;

use super::*;

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

#[tokio::test(start_paused = true)]
async fn a_body_arrives_however_it_is_cut() {
    let chunked = format!(
        "{POST}Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
    );
    let length = format!("{POST}Content-Length: 5\r\n\r\nabcde");
    let input = [chunked, length].concat().repeat(2);
    for cut in 1..input.len() {
        let (handler, seen) = Scripted::recorder();
        let mut client = Client::connect(handler);
        for piece in input.as_bytes().chunks(cut) {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        client.expect(&OK.repeat(4)).await;
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 4);
        assert!(seen.iter().all(|seen| seen.body == Ok(b"abcde".to_vec())));
        assert_eq!(seen.iter().filter(|seen| seen.trailers.is_some()).count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_body_streams_through_a_small_pipe() {
    let (handler, seen) = Scripted::recorder();
    let mut client = Client::with(handler, Limits::default(), 777);
    let body = "0123456789abcdef".repeat(40_000);
    client.send(format!("{POST}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    client.expect(OK).await;
    assert_eq!(seen.lock().unwrap()[0].body, Ok(body.into_bytes()));
}

#[tokio::test(start_paused = true)]
async fn a_truncated_body_is_an_error_and_ends_the_connection() {
    for body in ["Content-Length: 5\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let (handler, seen) = Scripted::recorder();
        let mut client = Client::connect(handler);
        client.send(format!("{POST}{body}")).await;
        client.io.shutdown().await.unwrap();
        assert!(client.rest().await.starts_with("HTTP/1.1 400 "));
        assert_eq!(seen.lock().unwrap()[0].body, Err(BodyError::Truncated));
        assert!(matches!(
            client.server.await.unwrap(),
            Err(Error::RequestBody(BodyError::Truncated))
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_pauses_too_long_times_out() {
    let (handler, seen) = Scripted::recorder();
    let mut client = Client::connect(handler);
    client.send(format!("{POST}Content-Length: 9\r\n\r\nab")).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(29)).await;
        client.send("c").await;
    }
    let start = tokio::time::Instant::now();
    assert!(client.rest().await.starts_with("HTTP/1.1 400 "));
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(seen.lock().unwrap()[0].body, Err(BodyError::Timeout));
}

#[tokio::test(start_paused = true)]
async fn a_body_can_be_read_in_another_task() {
    let mut client = Client::connect(Scripted::new(|request: Request<Body>| async {
        let seen = tokio::spawn(see(request)).await.unwrap();
        assert_eq!(seen.body, Ok(b"abcde".to_vec()));
        text("ok")
    }));
    for _ in 0..3 {
        client.send(format!("{POST}Content-Length: 5\r\n\r\nab")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.send("cde").await;
        client.expect(OK).await;
    }
}

#[tokio::test(start_paused = true)]
async fn continue_is_sent_when_the_body_is_asked_for() {
    let (handler, seen) = Scripted::recorder();
    let mut client = Client::connect(handler);
    client.send(format!("{POST}Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n")).await;
    client.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("abc").await;
    client.expect(OK).await;
    assert_eq!(seen.lock().unwrap()[0].body, Ok(b"abc".to_vec()));
    // Neither for a body that is there already, nor for none, nor for HTTP/1.0.
    client.send(format!("{POST}Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")).await;
    client.expect(OK).await;
    client.send(format!("{POST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\nabc")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.send("de").await;
    client.expect(OK).await;
    client.send(format!("{POST}Expect: 100-continue\r\n\r\n")).await;
    client.expect(OK).await;
    client.send("POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.send("abc").await;
    assert_eq!(client.rest().await, OK_CLOSE);
}

#[tokio::test(start_paused = true)]
async fn continue_is_not_sent_for_a_body_nobody_wants() {
    let mut client = Client::connect(Scripted::new(|_| async { status(413, "") }));
    client.send(format!("{POST}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")).await;
    assert_eq!(
        client.rest().await,
        "HTTP/1.1 413 Payload Too Large\r\ndate: now\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_little_unread_body_keeps_the_connection() {
    let mut client = Client::connect(Scripted::new(|_| async { text("ok") }));
    client.send(format!("{POST}Content-Length: 5\r\n\r\nabc")).await;
    client.expect(OK).await;
    client.send(format!("de{POST}Transfer-Encoding: chunked\r\n\r\n5\r\nabc")).await;
    client.expect(OK).await;
    client.send(format!("de\r\n0\r\n\r\n{POST}\r\n")).await;
    client.expect(OK).await;
}

#[tokio::test(start_paused = true)]
async fn a_lot_of_unread_body_closes_it() {
    let mut client = Client::connect(Scripted::new(|_| async { text("ok") }));
    client.send(format!("{POST}Content-Length: 100000\r\n\r\nabc")).await;
    assert_eq!(client.rest().await, OK_CLOSE);
    // Of unknown length: not announced, but closed.
    let mut client = Client::connect(Scripted::new(|_| async { text("ok") }));
    client
        .send(format!(
            "{POST}Transfer-Encoding: chunked\r\n\r\n{}",
            format!("fff\r\n{}\r\n", "x".repeat(4095)).repeat(20)
        ))
        .await;
    assert_eq!(client.rest().await, OK);
    // Little, but it does not come.
    let mut client = Client::connect(Scripted::new(|_| async { text("ok") }));
    client.send(format!("{POST}Content-Length: 5\r\n\r\nabc")).await;
    assert_eq!(client.rest().await, OK);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_outlives_its_exchange_reads_nothing_more() {
    let (sender, receiver) = oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let mut client = Client::connect(Scripted::new(move |request: Request<Body>| {
        if let Some(sender) = sender.lock().unwrap().take() {
            let reading = tokio::spawn(see(request));
            sender.send(reading).unwrap();
        }
        async { text("ok") }
    }));
    client.send(format!("{POST}Content-Length: 5\r\n\r\nab")).await;
    client.expect(OK).await;
    let start = tokio::time::Instant::now();
    client.send(format!("cde{POST}Content-Length: 5\r\n\r\nabcde")).await;
    client.expect(OK).await;
    let seen = receiver.await.unwrap().await.unwrap();
    assert_eq!(seen.body, Err(BodyError::Abandoned));
    assert_eq!(start.elapsed(), Duration::ZERO, "the reader is told at once");
}

#[tokio::test(start_paused = true)]
async fn a_body_kept_elsewhere_does_not_keep_the_socket_open() {
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();
    let mut client = Client::connect(Scripted::new(move |request: Request<Body>| {
        *keep.lock().unwrap() = Some(request.into_body());
        async { text("ok") }
    }));
    client.send(format!("{POST}Content-Length: 5\r\nConnection: close\r\n\r\nab")).await;
    assert_eq!(client.rest().await, OK_CLOSE);
    assert!(kept.lock().unwrap().is_some());
}
