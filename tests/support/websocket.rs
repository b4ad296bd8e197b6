//! As much of RFC 6455 as an echo needs, for both ends.

use super::raw::RawClient;
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The key the rig's client sends.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a server answers to a client's key.
pub fn accept_value(key: &str) -> String {
    let salted = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, salted.as_bytes()))
}

/// A text frame, masked as a client's must be.
pub fn masked_text(text: &str) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let length = u8::try_from(text.len()).ok().filter(|&l| l < 126).expect("a short text");
    let mut frame = vec![0x81, 0x80 | length];
    frame.extend(mask);
    frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A client's handshake for `path`.
pub fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// Opens a WebSocket through a raw client, which must succeed.
pub async fn open(client: &mut RawClient, path: &str) {
    client.send(handshake(path)).await;
    let response = client.response().await;
    assert_eq!(response.status, 101, "{}", response.head);
    assert_eq!(response.header("sec-websocket-accept"), Some(&*accept_value(KEY)));
    assert!(
        response.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    );
}

/// Sends a text and returns the text that came back.
pub async fn say(client: &mut RawClient, text: &str) -> String {
    client.send(masked_text(text)).await;
    let head = client.read_exactly(2).await;
    assert_eq!(head[0], 0x81, "a whole text frame, unmasked");
    let body = client.read_exactly(usize::from(head[1])).await;
    String::from_utf8(body).unwrap()
}

/// The server's side after its handshake: sends every frame back unmasked until the peer goes.
pub async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    loop {
        let mut head = [0; 6];
        stream.read_exact(&mut head).await?;
        let [kind, length, mask @ ..] = head;
        let mut body = vec![0; usize::from(length & 0x7f)];
        stream.read_exact(&mut body).await?;
        for (byte, mask) in body.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        let mut frame = vec![kind, length & 0x7f];
        frame.append(&mut body);
        stream.write_all(&frame).await?;
        if kind & 0x0f == 0x8 {
            return Ok(());
        }
    }
}
