//! A permission endpoint: says what the test lets it say, and remembers what it was asked.
//!
//! One self-contained file, so that other test crates can include it by `#[path]`.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test crate uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use parking_lot::Mutex;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// This status; redirects lead to where the answer would be 200.
    Status(u16),
    /// Nothing, ever.
    Nothing,
}

/// A running one; ends with its value.
pub struct Permission {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    says: Mutex<Says>,
    asked: Mutex<Vec<String>>,
}

impl Permission {
    pub async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { says: Mutex::new(says), asked: Mutex::default() });
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, serving }
    }

    /// For `ask`.
    pub fn url(&self) -> String {
        format!("http://{}/allowed", self.address)
    }

    /// What it says from now on.
    pub fn say(&self, says: Says) {
        *self.shared.says.lock() = says;
    }

    /// The targets of its requests, in order.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().clone()
    }
}

impl Drop for Permission {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(answer(stream, Arc::clone(&shared)));
    }
}

async fn answer(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let moved = target.starts_with("/moved");
    shared.asked.lock().push(target);
    let status = match *shared.says.lock() {
        Says::Nothing => None,
        Says::Status(_) if moved => Some(200),
        Says::Status(status) => Some(status),
    };
    let Some(status) = status else { return std::future::pending().await };
    let answer = format!(
        "HTTP/1.1 {status} x\r\nlocation: /moved\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}
