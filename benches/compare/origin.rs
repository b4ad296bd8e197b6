//! The smallest upstream there can be: counts the ends of request heads and answers each with
//! the same 1 KiB, so that the proxies are what is measured.

use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const BODY: usize = 1024;

/// Starts it on a thread of its own, until the process ends.
pub fn start() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::task::spawn_local(serve(stream));
                }
            }
        });
    });
    address
}

async fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY}\r\n\r\n")
            .into_bytes();
    answer.resize(answer.len() + BODY, b'x');
    let mut buffer = [0; 8 * 1024];
    let mut matched = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        for &byte in &buffer[..count] {
            matched =
                if byte == b"\r\n\r\n"[matched] { matched + 1 } else { usize::from(byte == b'\r') };
            if matched == 4 {
                matched = 0;
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    }
}
