//! The real binary, started in a folder of its own and ended with the test.

use super::{
    api::{Api, request},
    wait::{PATIENCE, within},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fmt::Write as _,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::Notify,
    time::{Instant, sleep, timeout},
};

/// The binary under test: the one built with the tests, or the one `TIDEGATE_BINARY` names (an
/// installed one, say).
pub fn binary() -> String {
    let built = env!("CARGO_BIN_EXE_tidegate");
    std::env::var("TIDEGATE_BINARY").unwrap_or_else(|_| built.to_owned())
}

/// A folder that goes with the test.
#[derive(Clone)]
pub struct Dir(Arc<TempDir>);

impl Dir {
    /// A new one.
    pub fn new() -> Self {
        Self(Arc::new(tempfile::Builder::new().prefix("tidegate-").tempdir().unwrap()))
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file in place whole, as editors and secret managers do: written beside, renamed.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        self.put(name, text, 0o644)
    }

    /// As [`Self::write`], readable by its owner only.
    pub fn write_secret(&self, name: &str, text: &str) -> PathBuf {
        self.put(name, text, 0o600)
    }

    /// As [`Self::write`], of any bytes.
    pub fn write_bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        self.put(name, bytes, 0o644)
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let path = self.path(name);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let beside = self.path(&format!(".{name}.{count}"));
        std::fs::write(&beside, text).unwrap();
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        path
    }
}

/// A running edge.
pub struct Edge {
    /// Its folder: `edge.toml`, `control.sock`, `state/`.
    pub dir: Dir,
    process: Process,
}

/// An edge that ended instead of becoming ready.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// What it said on stderr.
    pub said: String,
}

impl Edge {
    /// Starts one and waits until it is ready.
    pub async fn start(config: &str) -> Self {
        Self::start_in(Dir::new(), config).await
    }

    /// As [`Self::start`], in a folder that holds files the configuration names.
    pub async fn start_in(dir: Dir, config: &str) -> Self {
        match Self::try_start_in(dir, config).await {
            Ok(edge) => edge,
            Err(ended) => panic!("the edge ended at start: {}\n{}", ended.status, ended.said),
        }
    }

    /// As [`Self::start`], with further variables in its environment.
    pub async fn start_under(config: &str, environment: &[(&str, &str)]) -> Self {
        let dir = Dir::new();
        let files =
            [dir.write("rig.toml", &rig_config(&dir, config)), dir.write("edge.toml", config)];
        let mut command = Command::new(binary());
        command.arg("run").arg("-c").arg(&files[0]).arg("-c").arg(&files[1]);
        command.envs(environment.iter().copied());
        let edge = Self { dir, process: Process::spawn(command) };
        edge.await_ready().await.unwrap_or_else(|ended| panic!("{}\n{}", ended.status, ended.said))
    }

    /// Starts one that may refuse to.
    pub async fn try_start_in(dir: Dir, config: &str) -> Result<Self, Ended> {
        let edge = Self::spawn_in(dir, config);
        edge.await_ready().await
    }

    /// Starts one without waiting for anything.
    pub fn spawn_in(dir: Dir, config: &str) -> Self {
        let edge_toml = dir.write("edge.toml", config);
        let rig_toml = dir.write("rig.toml", &rig_config(&dir, config));
        let process = Process::run(&[&rig_toml, &edge_toml], &[]);
        Self { dir, process }
    }

    async fn await_ready(mut self) -> Result<Self, Ended> {
        let api = self.api();
        // A debug build compiles the Core Rule Set for seconds, on a busy machine for many.
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            if let Some(status) = self.process.child.try_wait().unwrap() {
                self.process.drained().await;
                return Err(Ended { status, said: self.process.logs.stderr() });
            }
            let answer = timeout(PATIENCE, api.try_send(request("GET", "/readyz", None))).await;
            let ready = answer.ok().flatten().is_some_and(|reply| reply.status == 200);
            if ready && api.pid().await == self.process.child.id() {
                return Ok(self);
            }
            assert!(
                Instant::now() < deadline,
                "the edge did not become ready in {:?}",
                3 * PATIENCE
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The control API over its Unix socket.
    pub fn api(&self) -> Api {
        Api::new(self.dir.path("control.sock"))
    }

    /// Where a listener accepts; it must exist.
    pub async fn address(&self, listener: &str) -> SocketAddr {
        self.api().listener(listener).await.unwrap_or_else(|| panic!("no listener `{listener}`"))
    }

    /// Replaces the configuration file; the edge watches it.
    pub fn write_config(&self, config: &str) {
        self.dir.write("edge.toml", config);
    }

    /// Replaces the configuration file and asks for a reload, which must be accepted.
    pub async fn reload(&self, config: &str) {
        self.write_config(config);
        let reply = self.api().reload().await;
        assert!(reply.status.is_success(), "reload: {} {}", reply.status, reply.text());
    }

    /// What it logs.
    pub fn logs(&self) -> &Logs {
        &self.process.logs
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Its resident memory, in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().split(' ').next().unwrap().parse().unwrap()
    }

    /// Asks for a reload the way a service manager does.
    pub fn sighup(&self) {
        self.process.signal(Signal::HUP);
    }

    /// Asks it to drain and end.
    pub fn sigterm(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Ends it at once, as a crash does.
    pub async fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.wait_exit().await;
    }

    /// Waits for its end.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        self.process.wait_exit().await
    }

    /// Starts it again in the same folder after its end.
    pub async fn restart(self) -> Self {
        let Self { dir, process } = self;
        drop(process);
        let config = std::fs::read_to_string(dir.path("edge.toml")).unwrap();
        Self::start_in(dir, &config).await
    }

    /// Starts a second process that takes over the sockets, and waits until it alone answers the
    /// control API. This edge is then the new one; the old process is returned, draining.
    pub async fn upgrade(&mut self) -> Process {
        let new = self.begin_upgrade();
        let old = self.succeed(new);
        let (api, pid) = (self.api(), self.pid());
        within("the new process to take over", async {
            // For a moment both have the control socket: one answer could be luck.
            let mut in_a_row = 0;
            while in_a_row < 10 {
                if let Some(status) = self.process.child.try_wait().unwrap() {
                    panic!("the new process ended: {status}\n{}", self.process.logs.stderr());
                }
                in_a_row = if api.served_by(pid).await { in_a_row + 1 } else { 0 };
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        old
    }

    /// Starts the process of an upgrade and waits for nothing.
    pub fn begin_upgrade(&self) -> Process {
        Process::run(&[&self.dir.path("rig.toml"), &self.dir.path("edge.toml")], &["--upgrade"])
    }

    /// This edge is the new process from now on; the old one is returned.
    pub fn succeed(&mut self, new: Process) -> Process {
        std::mem::replace(&mut self.process, new)
    }

    /// Runs a CLI verb against it and returns what came of it.
    pub async fn cli(&self, arguments: &[&str]) -> Output {
        let socket = format!("unix:{}", self.dir.path("control.sock").display());
        run_cli(arguments, &[("TIDEGATE_CONTROL", &socket)]).await
    }
}

/// What a command said.
#[derive(Debug)]
pub struct Output {
    /// Its exit code; a signal counts as -1.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs the binary with `arguments` to its end.
pub async fn run_cli(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).envs(environment.iter().copied());
    output_of(command).await
}

/// Runs a command to its end.
pub async fn output_of(mut command: Command) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = within("a command to end", command.output()).await.unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What every edge of the rig has, unless the story says otherwise.
fn rig_config(dir: &Dir, story: &str) -> String {
    let mut text = String::new();
    if !story.contains("[control]") {
        let (socket, state) = (dir.path("control.sock"), dir.path("state"));
        let (socket, state) = (socket.display(), state.display());
        writeln!(text, "[control]\naddress = \"unix:{socket}\"\nstate = \"{state}\"").unwrap();
    }
    if !story.contains("[server]") {
        text += "[server]\nworkers = 2\ndrain = \"5s\"\n";
    }
    if !story.contains("[log]") {
        text += "[log]\nformat = \"json\"\n";
    }
    text
}

/// One process of the binary, killed when dropped.
pub struct Process {
    child: Child,
    pid: u32,
    logs: Logs,
    readers: Vec<tokio::task::JoinHandle<()>>,
}

impl Process {
    fn run(files: &[&Path], flags: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.arg("run");
        for file in files {
            command.arg("-c").arg(file);
        }
        command.args(flags);
        Self::spawn(command)
    }

    /// Starts any command, its output captured.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let logs = Logs::default();
        let readers = vec![
            tokio::spawn(logs.clone().follow(child.stdout.take().unwrap(), Stream::Out)),
            tokio::spawn(logs.clone().follow(child.stderr.take().unwrap(), Stream::Err)),
        ];
        let pid = child.id().expect("a process just started has an id");
        Self { child, pid, logs, readers }
    }

    /// What it wrote.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Waits for its end, and for all it wrote.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        let status = within("a process to end", self.child.wait()).await.unwrap();
        self.drained().await;
        status
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal; one that is gone already gets none.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = id {
            kill_process(pid, signal).unwrap();
        }
    }

    async fn drained(&mut self) {
        for reader in self.readers.drain(..) {
            within("the end of a process' output", reader).await.unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- process {} wrote:\n{}---", self.pid, self.logs.everything());
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Stream {
    Out,
    Err,
}

/// The lines a process wrote; at most [`Logs::KEPT`] are kept, further ones only counted.
#[derive(Clone, Default)]
pub struct Logs {
    lines: Arc<Mutex<Vec<(Stream, String)>>>,
    grown: Arc<Notify>,
}

impl Logs {
    const KEPT: usize = 200_000;

    async fn follow(self, from: impl AsyncRead + Unpin, stream: Stream) {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut kept = self.lines.lock().unwrap();
            if kept.len() < Self::KEPT {
                kept.push((stream, line));
            }
            drop(kept);
            self.grown.notify_waiters();
        }
    }

    fn select(&self, wanted: Stream) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        let wanted = lines.iter().filter(|(stream, _)| *stream == wanted);
        wanted.map(|(_, line)| line.clone()).collect()
    }

    /// Human lines.
    pub fn stderr(&self) -> String {
        self.select(Stream::Err).join("\n")
    }

    /// Access lines.
    pub fn stdout(&self) -> Vec<String> {
        self.select(Stream::Out)
    }

    /// The last lines of each: more of those for people than of access lines.
    fn everything(&self) -> String {
        let mut text = String::new();
        for (stream, most) in [(Stream::Err, 100), (Stream::Out, 20)] {
            let lines = self.select(stream);
            let skipped = lines.len().saturating_sub(most);
            if skipped > 0 {
                writeln!(text, "(... {skipped} lines)").unwrap();
            }
            for line in &lines[skipped..] {
                writeln!(text, "{line}").unwrap();
            }
        }
        text
    }

    /// Waits for a line of either stream.
    pub async fn await_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.await_in(None, what, wanted).await
    }

    /// Waits for a line on stderr that contains all of `words`, in any case.
    pub async fn await_log(&self, words: &[&str]) -> String {
        let what = format!("a log line with {words:?}");
        self.await_in(Some(Stream::Err), &what, |line| {
            let line = line.to_lowercase();
            words.iter().all(|word| line.contains(&word.to_lowercase()))
        })
        .await
    }

    /// Waits for an access line, which is JSON, that satisfies `wanted`.
    pub async fn await_access(
        &self,
        what: &str,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let line = self
            .await_in(Some(Stream::Out), what, |line| {
                serde_json::from_str(line).is_ok_and(|value| wanted(&value))
            })
            .await;
        serde_json::from_str(&line).expect("it was parsed before")
    }

    async fn await_in(
        &self,
        stream: Option<Stream>,
        what: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> String {
        let search = async {
            let mut looked_at = 0;
            loop {
                let grown = self.grown.notified();
                tokio::pin!(grown);
                grown.as_mut().enable();
                {
                    let lines = self.lines.lock().unwrap();
                    let mut fresh = lines[looked_at..].iter();
                    let hit = fresh.find(|(from, line)| {
                        stream.is_none_or(|stream| stream == *from) && wanted(line)
                    });
                    if let Some((_, line)) = hit {
                        return line.clone();
                    }
                    looked_at = lines.len();
                }
                grown.await;
            }
        };
        match timeout(PATIENCE, search).await {
            Ok(line) => line,
            Err(_) => panic!("waited in vain for {what}; written:\n{}", self.everything()),
        }
    }
}
