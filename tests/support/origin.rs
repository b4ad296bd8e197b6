//! An HTTP/1 upstream that does what a story tells it to, byte by byte, and remembers every
//! byte that reached it. Written by hand: a proper server could neither misbehave nor see what
//! a proper parser hides.

use super::{
    port::Port,
    wait::{eventually, within},
    websocket,
};
use bytes::Bytes;
use rustls::ServerConfig;
use serde_json::json;
use socket2::SockRef;
use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{SocketAddr, TcpStream as StdStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// What to do with a request, once its head has been read.
#[derive(Clone)]
pub enum Act {
    /// Reads the body and tells in JSON what came: the default.
    Echo,
    /// Reads the body and answers with a status and a short body.
    Status(u16),
    /// As `Echo`, after a pause.
    Slow(Duration),
    /// As `Echo`, once the gate opens.
    Gate(Gate),
    /// Sends these bytes at once, then goes on as told.
    Raw(Vec<u8>, Then),
    /// A chunked 200 of that content type whose chunks the story sends.
    Stream(&'static str, Chunks),
    /// A 200 with a body of so many bytes.
    Bytes(usize),
}

/// What follows raw bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next request.
    KeepOpen,
    /// An orderly end.
    Close,
    /// A reset.
    Reset,
    /// Nothing, ever, until the peer goes.
    Stall,
}

/// Chunks on their way from the story to the origin; the stream ends when the sender goes.
#[derive(Clone)]
pub struct Chunks(Arc<tokio::sync::Mutex<mpsc::Receiver<Bytes>>>);

/// Holds requests until it is opened.
#[derive(Clone, Default)]
pub struct Gate {
    open: Arc<AtomicBool>,
    opened: Arc<Notify>,
}

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.opened.notify_waiters();
    }

    async fn pass(&self) {
        loop {
            let opened = self.opened.notified();
            tokio::pin!(opened);
            opened.as_mut().enable();
            if self.open.load(Ordering::SeqCst) {
                return;
            }
            opened.await;
        }
    }
}

impl Act {
    /// Closes without a word.
    pub fn close() -> Self {
        Self::Raw(Vec::new(), Then::Close)
    }

    /// Resets without a word.
    pub fn reset() -> Self {
        Self::Raw(Vec::new(), Then::Reset)
    }

    /// Never answers.
    pub fn stall() -> Self {
        Self::Raw(Vec::new(), Then::Stall)
    }

    /// Promises 100 bytes, sends 10, then does `then`.
    pub fn partial(then: Then) -> Self {
        Self::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789", then)
    }

    /// Sends bytes as they are.
    pub fn raw(bytes: impl AsRef<[u8]>, then: Then) -> Self {
        Self::Raw(bytes.as_ref().to_vec(), then)
    }

    /// A stream and its other end.
    pub fn stream(content_type: &'static str) -> (mpsc::Sender<Bytes>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        let chunks = Chunks(Arc::new(tokio::sync::Mutex::new(receiver)));
        (sender, Self::Stream(content_type, chunks))
    }
}

/// What to do with a connection before anything is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnAccept {
    /// Serve it.
    Serve,
    /// Close it.
    Close,
    /// Reset it.
    Reset,
}

/// A request that reached the origin.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which connection, counted from 0.
    pub connection: usize,
    /// The request line.
    pub line: String,
    /// The header lines, in order.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// A header's value; several joined by `, `.
    pub fn header(&self, name: &str) -> Option<String> {
        let all: Vec<&str> = self
            .headers
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
            .collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// The request target.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).expect("a request line has a target")
    }
}

#[derive(Default)]
struct Script {
    always: HashMap<String, Act>,
    once: HashMap<String, VecDeque<Act>>,
}

struct Shared {
    version: String,
    tls: Option<TlsAcceptor>,
    script: Mutex<Script>,
    on_accept: Mutex<OnAccept>,
    seen: Mutex<Vec<Seen>>,
    wire: Mutex<Vec<Vec<u8>>>,
    recording: AtomicBool,
    requests: AtomicU64,
    open: AtomicU64,
    moved: Notify,
}

/// The upstream. Stops when dropped.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    port: Port,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts one that answers with `x-version: VERSION`.
    pub async fn start(version: &str) -> Self {
        Self::with_tls(version, None).await
    }

    /// Starts one that speaks TLS.
    pub async fn start_tls(version: &str, config: Arc<ServerConfig>) -> Self {
        Self::with_tls(version, Some(TlsAcceptor::from(config))).await
    }

    async fn with_tls(version: &str, tls: Option<TlsAcceptor>) -> Self {
        let mut origin = Self::stopped(version, tls);
        origin.restart().await;
        origin
    }

    /// One that has an address and does not listen on it yet.
    pub fn stopped(version: &str, tls: Option<TlsAcceptor>) -> Self {
        let port = Port::reserve();
        let shared = Shared {
            version: version.to_owned(),
            tls,
            script: Mutex::default(),
            on_accept: Mutex::new(OnAccept::Serve),
            seen: Mutex::default(),
            wire: Mutex::default(),
            recording: AtomicBool::new(true),
            requests: AtomicU64::new(0),
            open: AtomicU64::new(0),
            moved: Notify::new(),
        };
        Self { address: port.address(), port, shared: Arc::new(shared), serving: None }
    }

    /// Stops listening and cuts every connection.
    pub async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// Listens (again) on the same port.
    pub async fn restart(&mut self) {
        self.stop().await;
        let listener = self.port.listen();
        self.serving = Some(tokio::spawn(Arc::clone(&self.shared).accept(listener)));
    }

    /// What a path (without its query) gets from now on.
    pub fn on(&self, path: &str, act: Act) -> &Self {
        self.shared.script.lock().unwrap().always.insert(path.to_owned(), act);
        self
    }

    /// What the next request for a path gets, before what it always gets.
    pub fn once(&self, path: &str, act: Act) -> &Self {
        let mut script = self.shared.script.lock().unwrap();
        script.once.entry(path.to_owned()).or_default().push_back(act);
        self
    }

    /// What new connections get.
    pub fn on_accept(&self, on_accept: OnAccept) -> &Self {
        *self.shared.on_accept.lock().unwrap() = on_accept;
        self
    }

    /// Keeps no record from now on: for loads.
    pub fn forgetful(self) -> Self {
        self.shared.recording.store(false, Ordering::Relaxed);
        self
    }

    /// Requests so far, their heads read.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn connections(&self) -> u64 {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Requests to paths that begin with `prefix`.
    pub fn seen_at(&self, prefix: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.target().starts_with(prefix)).collect()
    }

    /// The one request to `path`, without health checks and others.
    pub fn only(&self, path: &str) -> Seen {
        let mut all = self.seen_at(path);
        assert_eq!(all.len(), 1, "requests to {path}: {all:?}");
        all.remove(0)
    }

    /// All bytes of every connection so far (after TLS).
    pub fn wire(&self) -> Vec<Vec<u8>> {
        self.shared.wire.lock().unwrap().clone()
    }

    /// All bytes of all connections, one after the other.
    pub fn wire_text(&self) -> String {
        self.wire().iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    /// Waits until `pattern` is among the bytes of a connection.
    pub async fn await_wire(&self, pattern: &str) {
        let what = format!("the origin to receive {pattern:?}");
        self.await_moved(&what, || self.wire_text().contains(pattern)).await;
    }

    /// Waits until so many requests have come.
    pub async fn await_requests(&self, count: u64) {
        self.await_moved(&format!("{count} requests"), || self.requests() >= count).await;
    }

    /// Waits until exactly so many connections are open.
    pub async fn await_connections(&self, count: u64) {
        let what = format!("{count} open connections at the origin");
        eventually(&what, || async { (self.connections() == count).then_some(()) }).await;
    }

    async fn await_moved(&self, what: &str, reached: impl Fn() -> bool) {
        within(what, async {
            loop {
                let moved = self.shared.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable();
                if reached() {
                    return;
                }
                moved.await;
            }
        })
        .await;
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        // Aborted with this task: a stopped origin has no connections.
        let mut connections = JoinSet::new();
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(_) => continue,
                },
                Some(_) = connections.join_next() => continue,
            };
            let on_accept = *self.on_accept.lock().unwrap();
            match on_accept {
                OnAccept::Serve => {
                    connections.spawn(Arc::clone(&self).connection(stream));
                }
                OnAccept::Close => drop(stream),
                OnAccept::Reset => {
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let _open = Open::new(Arc::clone(&self));
        let _ = stream.set_nodelay(true);
        // A second handle on the socket, to reset it through TLS.
        let Ok((stream, handle)) = duplicate(stream) else { return };
        let stream: Box<dyn Duplex> = match &self.tls {
            None => Box::new(stream),
            Some(acceptor) => match acceptor.accept(stream).await {
                Ok(stream) => Box::new(stream),
                Err(_) => return,
            },
        };
        let index = {
            let mut wire = self.wire.lock().unwrap();
            wire.push(Vec::new());
            wire.len() - 1
        };
        let mut connection =
            Connection { shared: self, stream, handle, index, pending: Vec::new() };
        // An error is a peer that has gone: the story sees it at its own end.
        let _ = connection.serve().await;
    }

    fn act(&self, target: &str) -> Act {
        let path = target.split('?').next().expect("split gives one");
        let mut script = self.script.lock().unwrap();
        if let Some(act) = script.once.get_mut(path).and_then(VecDeque::pop_front) {
            return act;
        }
        script.always.get(path).cloned().unwrap_or(Act::Echo)
    }
}

/// Counts a connection while it is open.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

fn duplicate(stream: TcpStream) -> io::Result<(TcpStream, StdStream)> {
    let stream = stream.into_std()?;
    let handle = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, handle))
}

struct Connection {
    shared: Arc<Shared>,
    stream: Box<dyn Duplex>,
    handle: StdStream,
    index: usize,
    pending: Vec<u8>,
}

impl Connection {
    async fn serve(&mut self) -> io::Result<()> {
        loop {
            let Some(head) = self.head().await? else { return Ok(()) };
            let seen = self.parse(&head);
            let recording = self.shared.recording.load(Ordering::Relaxed);
            if recording {
                self.shared.seen.lock().unwrap().push(seen.clone());
            }
            self.shared.requests.fetch_add(1, Ordering::SeqCst);
            self.shared.moved.notify_waiters();
            if !self.answer(&seen).await? {
                return Ok(());
            }
        }
    }

    /// Answers one request; `false` ends the connection.
    async fn answer(&mut self, seen: &Seen) -> io::Result<bool> {
        let version = self.shared.version.clone();
        let websocket = seen.header("upgrade").is_some_and(|u| u.eq_ignore_ascii_case("websocket"));
        match self.shared.act(seen.target()) {
            Act::Echo if websocket => return self.upgrade(seen).await,
            Act::Echo => self.echo(seen).await?,
            Act::Slow(pause) => {
                tokio::time::sleep(pause).await;
                self.echo(seen).await?;
            }
            Act::Gate(gate) => {
                gate.pass().await;
                self.echo(seen).await?;
            }
            Act::Status(status) => {
                self.body(seen).await?;
                let text = format!(
                    "HTTP/1.1 {status} Scripted\r\nX-Version: {version}\r\nContent-Length: 9\r\n\r\nscripted\n"
                );
                self.write(text.as_bytes()).await?;
            }
            Act::Bytes(length) => {
                self.body(seen).await?;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nX-Version: {version}\r\nContent-Length: {length}\r\n\r\n"
                );
                self.write(head.as_bytes()).await?;
                static BLOCK: [u8; 16 * 1024] = [b'x'; 16 * 1024];
                let mut left = length;
                while left > 0 {
                    let part = left.min(BLOCK.len());
                    self.write(&BLOCK[..part]).await?;
                    left -= part;
                }
            }
            Act::Stream(content_type, chunks) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nX-Version: {version}\r\nContent-Type: {content_type}\r\n\
                     Transfer-Encoding: chunked\r\n\r\n"
                );
                self.write(head.as_bytes()).await?;
                let mut chunks = chunks.0.lock().await;
                while let Some(chunk) = chunks.recv().await {
                    self.write(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
                    self.write(&chunk).await?;
                    self.write(b"\r\n").await?;
                }
                self.write(b"0\r\n\r\n").await?;
            }
            Act::Raw(bytes, then) => {
                self.write(&bytes).await?;
                match then {
                    Then::KeepOpen => {
                        self.body(seen).await?;
                    }
                    Then::Close => return Ok(false),
                    Then::Reset => {
                        SockRef::from(&self.handle).set_linger(Some(Duration::ZERO))?;
                        return Ok(false);
                    }
                    // Reading shows when the peer goes.
                    Then::Stall => while self.fill().await? {},
                }
            }
        }
        let close = seen.header("connection").is_some_and(|c| c.to_lowercase().contains("close"));
        Ok(!close)
    }

    async fn echo(&mut self, seen: &Seen) -> io::Result<()> {
        if seen.header("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue")) {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = self.body(seen).await?;
        let mut words = seen.line.split(' ');
        let told = json!({
            "version": self.shared.version,
            "method": words.next(),
            "target": words.next(),
            "http": words.next(),
            "headers": seen.headers,
            "body": String::from_utf8_lossy(&body[..body.len().min(64 * 1024)]),
            "body_length": body.len(),
        })
        .to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nX-Version: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.shared.version,
            told.len()
        );
        self.write(head.as_bytes()).await?;
        if !seen.line.starts_with("HEAD ") {
            self.write(told.as_bytes()).await?;
        }
        Ok(())
    }

    async fn upgrade(&mut self, seen: &Seen) -> io::Result<bool> {
        let key = seen.header("sec-websocket-key").unwrap_or_default();
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             X-Version: {}\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            self.shared.version,
            websocket::accept_value(&key)
        );
        self.write(head.as_bytes()).await?;
        websocket::echo(&mut self.stream).await?;
        Ok(false)
    }

    /// Reads a head, its empty line included; `None` when the peer closed between requests.
    async fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = super::raw::find(&self.pending, b"\r\n\r\n") {
                let rest = self.pending.split_off(at + 4);
                return Ok(Some(std::mem::replace(&mut self.pending, rest)));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    fn parse(&self, head: &[u8]) -> Seen {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .map(|line| match line.split_once(':') {
                Some((name, value)) => (name.to_ascii_lowercase(), value.trim().to_owned()),
                None => (line.to_owned(), String::new()),
            })
            .collect();
        Seen { connection: self.index, line, headers }
    }

    /// Reads the request's body, chunk framing taken off.
    async fn body(&mut self, seen: &Seen) -> io::Result<Vec<u8>> {
        if seen.header("transfer-encoding").is_some() {
            let mut body = Vec::new();
            loop {
                let line = self.line().await?;
                let size = line.split(';').next().expect("split gives one").trim();
                let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
                if size == 0 {
                    while !self.line().await?.is_empty() {}
                    return Ok(body);
                }
                body.extend(self.exactly(size).await?);
                self.exactly(2).await?;
            }
        }
        match seen.header("content-length") {
            Some(length) => self.exactly(length.parse().map_err(io::Error::other)?).await,
            None => Ok(Vec::new()),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = super::raw::find(&self.pending, b"\r\n") {
                let rest = self.pending.split_off(at + 2);
                let line = std::mem::replace(&mut self.pending, rest);
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.fill_or_fail().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.pending.len() < length {
            self.fill_or_fail().await?;
        }
        let rest = self.pending.split_off(length);
        Ok(std::mem::replace(&mut self.pending, rest))
    }

    async fn fill_or_fail(&mut self) -> io::Result<()> {
        if self.fill().await? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    async fn fill(&mut self) -> io::Result<bool> {
        let before = self.pending.len();
        if self.stream.read_buf(&mut self.pending).await? == 0 {
            return Ok(false);
        }
        if self.shared.recording.load(Ordering::Relaxed) {
            self.shared.wire.lock().unwrap()[self.index].extend(&self.pending[before..]);
            self.shared.moved.notify_waiters();
        }
        Ok(true)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}
