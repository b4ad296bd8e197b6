//! HTTP/2 frame by frame: for attacks, and for seeing GOAWAY, which clients hide.

use super::wait::within;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Frame types.
pub const DATA: u8 = 0x0;
pub const HEADERS: u8 = 0x1;
pub const PRIORITY: u8 = 0x2;
pub const RST_STREAM: u8 = 0x3;
pub const SETTINGS: u8 = 0x4;
pub const PING: u8 = 0x6;
pub const GOAWAY: u8 = 0x7;
pub const WINDOW_UPDATE: u8 = 0x8;
pub const CONTINUATION: u8 = 0x9;

/// Flags.
pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

/// A frame as it was on the wire.
#[derive(Debug, Clone)]
pub struct Frame {
    /// See the constants.
    pub kind: u8,
    /// See the constants.
    pub flags: u8,
    /// 0 is the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Of a GOAWAY: the last stream id and the error code.
    pub fn goaway(&self) -> (u32, u32) {
        assert_eq!(self.kind, GOAWAY);
        let word = |at: usize| u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap());
        (word(0) & 0x7fff_ffff, word(4))
    }
}

/// A client with prior knowledge.
pub struct FrameClient {
    stream: TcpStream,
}

impl FrameClient {
    /// Connects, sends the preface and empty settings.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream };
        client.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        client.send(SETTINGS, 0, 0, &[]).await;
        client
    }

    /// Sends a frame; `false` if the peer takes no more.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.stream.write_all(&encode(kind, flags, stream, payload)).await.is_ok()
    }

    /// Sends many frames at once; `false` if the peer takes no more.
    pub async fn send_all(&mut self, frames: &[u8]) -> bool {
        self.stream.write_all(frames).await.is_ok()
    }

    /// Sends a request without a body.
    pub async fn get(&mut self, stream: u32, path: &str) -> bool {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &request_block("GET", path, &[])).await
    }

    /// The next frame; `None` at the end of the connection. Answers PING and SETTINGS.
    pub async fn next(&mut self) -> Option<Frame> {
        within("a frame or the end", self.read()).await
    }

    async fn read(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.ok()?;
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => {
                    self.send(SETTINGS, ACK, 0, &[]).await;
                }
                PING if frame.flags & ACK == 0 => {
                    self.send(PING, ACK, 0, &frame.payload.clone()).await;
                }
                SETTINGS | PING | WINDOW_UPDATE => {}
                _ => return Some(frame),
            }
        }
    }

    /// The next frame of that kind, others skipped; `None` if the connection ends before.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Reads to the end; the last GOAWAY seen.
    pub async fn goaway_at_end(&mut self) -> Option<(u32, u32)> {
        let mut seen = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                seen = Some(frame.goaway());
            }
        }
        seen
    }

    /// The `:status` of a HEADERS frame whose first field is a status of the static table or a
    /// literal with that name.
    pub fn status(frame: &Frame) -> u16 {
        assert_eq!(frame.kind, HEADERS);
        match frame.payload[0] {
            indexed @ 0x88..=0x8e => {
                [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]
            }
            0x08 | 0x48 | 0x18 => literal_status(&frame.payload[1..]),
            other => panic!("a response that begins with {other:#x}"),
        }
    }
}

/// A literal's value: plain digits, or the huffman code of three digits.
fn literal_status(value: &[u8]) -> u16 {
    let (huffman, length) = (value[0] & 0x80 != 0, usize::from(value[0] & 0x7f));
    let bytes = &value[1..=length];
    if !huffman {
        return std::str::from_utf8(bytes).unwrap().parse().unwrap();
    }
    // RFC 7541 appendix B: 0, 1 and 2 have five bits; 3 to 9 have six.
    let bits: u64 = bytes.iter().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
    let mut left = length * 8;
    let mut number = 0;
    for _ in 0..3 {
        let five = (bits >> (left - 5)) & 0x1f;
        let digit = if five <= 2 {
            left -= 5;
            five
        } else {
            left -= 6;
            ((bits >> left) & 0x3f) - 0x19 + 3
        };
        number = number * 10 + u16::try_from(digit).unwrap();
    }
    number
}

/// A frame as bytes.
pub fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block, every field a literal that enters no table.
pub fn request_block(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let pseudo =
        [(":method", method), (":scheme", "http"), (":authority", "app.test"), (":path", path)];
    for (name, value) in pseudo.iter().chain(fields) {
        literal(&mut block, name, value);
    }
    block
}

/// Appends one literal field.
pub fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0x00);
    for text in [name, value] {
        integer(block, text.len());
        block.extend(text.as_bytes());
    }
}

/// An HPACK integer with a 7-bit prefix.
fn integer(block: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        block.push(value as u8);
        return;
    }
    block.push(127);
    value -= 127;
    while value >= 128 {
        block.push((value % 128) as u8 | 0x80);
        value /= 128;
    }
    block.push(value as u8);
}
