//! What only real sockets show.

use tokio::net::{TcpListener, TcpStream};

use super::*;

async fn connect(handler: Scripted) -> (TcpStream, JoinHandle<Result<(), Error>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    let (io, _) = listener.accept().await.unwrap();
    (client, tokio::spawn(serve(io, Arc::default(), drain().1, handler)))
}

/// A client that goes on sending still sees why it was refused, not a reset.
#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    for start in [
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n",
    ] {
        let (mut client, _) = connect(Scripted::new(|_| async { status(403, "") })).await;
        client.write_all(start.as_bytes()).await.unwrap();
        client.write_all(&vec![b'x'; 300_000]).await.unwrap();
        client.shutdown().await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 40"), "{said}");
        assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
    }
}

#[tokio::test]
async fn a_reset_cancels_the_request() {
    let (started, running) = tokio::sync::mpsc::unbounded_channel::<()>();
    let mut running = running;
    let (mut client, server) = connect(Scripted::new(move |_| {
        started.send(()).unwrap();
        std::future::pending()
    }))
    .await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    running.recv().await.unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert!(matches!(server.await.unwrap(), Err(Error::Disconnected)));
}

#[tokio::test]
async fn echoes_large_bodies_both_ways_at_once() {
    let (client, _server) = connect(Scripted::new(|request: Request<Body>| async {
        let body = request.into_body().map_err(|fault| panic!("{fault}")).boxed();
        Response::new(body)
    }))
    .await;
    let (mut read, mut write) = client.into_split();
    let body = vec![b'x'; 5_000_000];
    let length = body.len();
    let writing = tokio::spawn(async move {
        write.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n").await.unwrap();
        for chunk in body.chunks(100_000) {
            write.write_all(format!("{:X}\r\n", chunk.len()).as_bytes()).await.unwrap();
            write.write_all(chunk).await.unwrap();
            write.write_all(b"\r\n").await.unwrap();
        }
        write.write_all(b"0\r\n\r\n").await.unwrap();
        write
    });
    let mut said = Vec::new();
    read.read_to_end(&mut said).await.unwrap();
    drop(writing.await.unwrap());
    assert_eq!(said.iter().filter(|byte| **byte == b'x').count(), length);
    assert!(said.ends_with(b"\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn keeps_alive_over_many_requests() {
    let (handler, seen) = Scripted::recorder();
    let (mut client, _server) = connect(handler).await;
    for n in 0..200 {
        let request = format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        client.write_all(b"abc").await.unwrap();
        let mut said = vec![0; OK.len()];
        client.read_exact(&mut said).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&said), OK);
    }
    assert_eq!(seen.lock().unwrap().len(), 200);
}
