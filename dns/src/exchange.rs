//! One message to one server and its answer.

use crate::message::{Message, Question, Unread};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// Asks one server: over UDP from a port of its own for each question, over TCP where the answer
/// does not fit. No deadline: the caller has one. A name that is none, and an answer that breaks
/// off, are errors (`InvalidInput`, `InvalidData`).
pub async fn ask(server: SocketAddr, question: &Question<'_>) -> io::Result<Message> {
    let id = rand::random();
    let query = question
        .encode(id)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a name"))?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Only the server's datagrams arrive.
    socket.connect(server).await?;
    socket.send(&query).await?;
    let mut answer = [0; 4096];
    loop {
        let length = socket.recv(&mut answer).await?;
        match Message::read(&answer[..length], id, question) {
            Err(Unread::Foreign) => {}
            Err(Unread::Broken) => return Err(broken()),
            Ok(message) if message.truncated => break,
            Ok(message) => return Ok(message),
        }
    }
    let answer = over_tcp(server, &query).await?;
    match Message::read(&answer, id, question) {
        Ok(message) if !message.truncated => Ok(message),
        _ => Err(broken()),
    }
}

/// Sends a message over TCP (RFC 7766) and reads one answer, at most 64 KiB.
pub(crate) async fn over_tcp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"))?;
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer breaks off")
}
