//! Bytes on a wire: for what no proper client would send, and for seeing exactly what came back.

use super::wait::within;
use std::{io, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A socket that knows a little HTTP/1.
pub struct RawClient {
    stream: TcpStream,
    pending: Vec<u8>,
}

/// One response as it was on the wire.
#[derive(Debug)]
pub struct RawResponse {
    /// The status.
    pub status: u16,
    /// Status line and headers, up to the empty line.
    pub head: String,
    /// The body, chunk framing taken off.
    pub body: Vec<u8>,
}

impl RawResponse {
    /// A header's value; the first one if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The reason word of a refusal.
    pub fn reason(&self) -> Option<&str> {
        self.header("x-tidegate-reason")
    }
}

impl RawClient {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, pending: Vec::new() }
    }

    /// Sends bytes; a peer that has closed already is no fault here.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends bytes and says whether the peer still takes them.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Says that nothing more comes.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads until the peer closes or resets.
    pub async fn read_to_close(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.pending);
        within("the peer to close", async { while self.fill(&mut all).await {} }).await;
        all
    }

    /// Reads until `pattern` has come; returns all up to its end.
    pub async fn read_until(&mut self, pattern: &[u8]) -> Vec<u8> {
        let what = format!("the bytes {:?}", String::from_utf8_lossy(pattern));
        within(&what, async {
            loop {
                if let Some(at) = find(&self.pending, pattern) {
                    return self.take(at + pattern.len());
                }
                assert!(self.more().await, "closed before {what}: {:?}", self.text());
            }
        })
        .await
    }

    /// Reads exactly `length` bytes.
    pub async fn read_exactly(&mut self, length: usize) -> Vec<u8> {
        within("more bytes", async {
            while self.pending.len() < length {
                assert!(self.more().await, "closed after {} bytes", self.pending.len());
            }
            self.take(length)
        })
        .await
    }

    /// Reads one response, interim ones (1xx but 101) left out.
    pub async fn response(&mut self) -> RawResponse {
        self.try_response().await.unwrap_or_else(|| panic!("closed before a response"))
    }

    /// Reads one response to a request with that method; `None` if the peer closes before its
    /// first byte.
    pub async fn try_response(&mut self) -> Option<RawResponse> {
        loop {
            if self.pending.is_empty() && !within("a response", self.more()).await {
                return None;
            }
            let head = String::from_utf8_lossy(&self.read_until(b"\r\n\r\n").await).into_owned();
            let status = head
                .strip_prefix("HTTP/1.")
                .and_then(|rest| rest.get(2..5)?.parse().ok())
                .unwrap_or_else(|| panic!("not a response: {head:?}"));
            let mut response = RawResponse { status, head, body: Vec::new() };
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            response.body = self.body(&response).await;
            return Some(response);
        }
    }

    /// Reads only the head of a response.
    pub async fn head(&mut self) -> String {
        String::from_utf8_lossy(&self.read_until(b"\r\n\r\n").await).into_owned()
    }

    async fn body(&mut self, response: &RawResponse) -> Vec<u8> {
        if matches!(response.status, 101 | 204 | 304) {
            return Vec::new();
        }
        if response.header("transfer-encoding").is_some() {
            let mut body = Vec::new();
            loop {
                let line = self.read_until(b"\r\n").await;
                let size = std::str::from_utf8(&line).unwrap().trim();
                let size = usize::from_str_radix(size, 16).expect("a chunk's size");
                if size == 0 {
                    while self.read_until(b"\r\n").await != b"\r\n" {}
                    return body;
                }
                body.extend(self.read_exactly(size).await);
                self.read_exactly(2).await;
            }
        }
        match response.header("content-length") {
            Some(length) => self.read_exactly(length.parse().unwrap()).await,
            None => self.read_to_close().await,
        }
    }

    /// Whether the peer has closed, without waiting longer than it must: pending bytes first.
    pub async fn closed(&mut self) -> bool {
        self.pending.is_empty() && !within("the peer to close", self.more()).await
    }

    /// Whether the connection is silent and open right now.
    pub fn open(&mut self) -> bool {
        let mut byte = [0; 512];
        match self.stream.try_read(&mut byte) {
            Ok(0) => false,
            Ok(count) => {
                self.pending.extend_from_slice(&byte[..count]);
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    async fn more(&mut self) -> bool {
        let mut pending = std::mem::take(&mut self.pending);
        let more = self.fill(&mut pending).await;
        self.pending = pending;
        more
    }

    async fn fill(&mut self, into: &mut Vec<u8>) -> bool {
        matches!(self.stream.read_buf(into).await, Ok(count) if count > 0)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.pending.split_off(length);
        std::mem::replace(&mut self.pending, rest)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// Asks for `/` and for the end of the connection, and gives what came until then.
pub async fn last_words(mut stream: TcpStream) -> Vec<u8> {
    let request = b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    let _ = stream.write_all(request).await; // a reset shows in what was read
    let mut said = Vec::new();
    let _ = within("an answer or the end", stream.read_to_end(&mut said)).await;
    said
}

/// Sends `bytes` on a connection of its own and returns everything that came until the peer
/// closed.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut client = RawClient::connect(address).await;
    client.send(bytes).await;
    client.read_to_close().await
}

/// Where `pattern` starts in `bytes`.
pub fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
