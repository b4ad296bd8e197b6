//! A provider that is a program: run without a shell, in an environment of its own, for a
//! bounded time.

use super::provider::{Action, Provider, ProviderError, Record};
use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{io, process::Stdio};
use tidegate_config::{DnsExec, Secret};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

/// What is logged of what a program writes on stderr, in bytes.
const MAX_OUTPUT: usize = 4096;

/// Runs a program.
#[derive(Debug)]
pub(super) struct Exec {
    settings: DnsExec,
}

impl Exec {
    pub(super) fn new(settings: &DnsExec) -> Self {
        Self { settings: settings.clone() }
    }

    fn command(&self, action: Action, record: &Record) -> Command {
        let DnsExec { command, arguments, environment, .. } = &self.settings;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut program = Command::new(command);
        program
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .envs(environment.iter().map(|(name, value)| (name.as_str(), value.reveal())))
            .env("TIDEGATE_ACTION", action.word())
            .env("TIDEGATE_FQDN", &record.fqdn)
            .env("TIDEGATE_VALUE", &record.value)
            .env("TIDEGATE_TTL", record.ttl.to_string())
            .env("TIDEGATE_NAME", &record.name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // So that what it starts ends with it.
            .process_group(0)
            .kill_on_drop(true);
        program
    }

    /// Runs it to its end, and says how that was and what it wrote.
    async fn run(&self, mut program: Command) -> io::Result<(std::process::ExitStatus, Vec<u8>)> {
        let mut child = program.spawn()?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
        let output = child.stderr.take();
        let kept = MAX_OUTPUT + self.secrets().map(str::len).max().unwrap_or(0);
        let wait = async {
            let status = child.wait().await;
            // What it left behind would keep its stderr open.
            drop(group);
            status
        };
        let (status, output) = tokio::join!(wait, beginning(output, kept));
        Ok((status?, output))
    }

    fn secrets(&self) -> impl Iterator<Item = &str> {
        let values = self.settings.environment.values().map(Secret::reveal);
        values.filter(|secret| !secret.is_empty())
    }

    /// What it wrote, without the secrets that we gave it and without control characters.
    fn shown(&self, output: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(output).into_owned();
        for secret in self.secrets() {
            text = text.replace(secret, "***");
        }
        // Only now: the cut may not leave the beginning of a secret.
        text.trim().chars().take(MAX_OUTPUT).map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

#[async_trait]
impl Provider for Exec {
    async fn change(&self, action: Action, record: &Record) -> Result<(), ProviderError> {
        let shown = || self.settings.command.display().to_string();
        let run = self.run(self.command(action, record));
        let late = |_| ProviderError::Timeout {
            after: self.settings.timeout,
            remedy: "it was killed; raise `timeout` if it takes longer",
        };
        let ended = tokio::time::timeout(self.settings.timeout, run).await.map_err(late)?;
        let (status, output) =
            ended.map_err(|cause| ProviderError::Start { command: shown(), cause })?;
        if !output.is_empty() {
            let (action, name) = (action.word(), &record.name);
            tracing::debug!(name, action, output = self.shown(&output), "a DNS program wrote");
        }
        match status.success() {
            true => Ok(()),
            // `exit status: 3` or `signal: 9 (SIGKILL)`
            false => Err(ProviderError::Ended { command: shown(), status: status.to_string() }),
        }
    }
}

/// A process group; killed when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error means that nobody of it is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The first `most` bytes that are written; the rest is read and forgotten, so that no writer waits.
async fn beginning(from: Option<impl AsyncRead + Unpin>, most: usize) -> Vec<u8> {
    let (mut kept, mut part) = (Vec::new(), [0; 1024]);
    let Some(mut from) = from else { return kept };
    while let Ok(length @ 1..) = from.read(&mut part).await {
        let room = most - kept.len();
        kept.extend_from_slice(&part[..length.min(room)]);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::BTreeMap,
        time::{Duration, Instant},
    };
    use tidegate_config::Secret;

    fn exec(script: &str, timeout: Duration) -> Exec {
        let secret = ("TOKEN".parse().unwrap(), Secret::new("topsecret"));
        Exec::new(&DnsExec {
            command: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: BTreeMap::from([secret]),
            timeout,
        })
    }

    async fn present(script: &str, timeout: Duration) -> Result<(), ProviderError> {
        let record = Record {
            fqdn: "_acme-challenge.a.test".into(),
            value: "value".into(),
            ttl: 60,
            name: "*.a.test".into(),
        };
        exec(script, timeout).present(&record).await
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_program_is_told_what_to_do_and_nothing_else() {
        let script = r#"test "$TIDEGATE_ACTION $TIDEGATE_FQDN $TIDEGATE_VALUE $TIDEGATE_TTL \
            $TIDEGATE_NAME $TOKEN" = "present _acme-challenge.a.test value 60 \
            *.a.test topsecret" && test -z "$CARGO_MANIFEST_DIR$HOME""#;
        present(script, LONG).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_program_writes_is_not_in_the_error() {
        let error = present("echo $TOKEN >&2; echo $TOKEN; exit 3", LONG).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && !text.contains("topsecret"), "{text}");
        let shown = exec("", LONG).shown(b"a topsecret\x1b[31m\n");
        assert_eq!(shown, "a *** [31m");
        let cut = [&[b'x'; MAX_OUTPUT - 3], &b"topsecret"[..]].concat();
        assert!(exec("", LONG).shown(&cut).ends_with("x***"));
    }

    #[tokio::test]
    async fn much_output_neither_stops_a_program_nor_is_it_kept() {
        let script = "head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero";
        present(script, LONG).await.unwrap();
        let kept = beginning(Some(&vec![b'x'; 10_000][..]), MAX_OUTPUT).await;
        assert_eq!(kept.len(), MAX_OUTPUT);
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let started = Instant::now();
        let error = present(&script, Duration::from_millis(700)).await.unwrap_err();
        assert!(matches!(error, ProviderError::Timeout { .. }), "{error}");
        assert!(started.elapsed() < LONG);
        let pid: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        // Gone, or at least no more than a corpse that its new parent has to bury.
        for _ in 0..100 {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            if state.map_or(true, |state| state.contains(") Z ")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("what it started lives on");
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_does_not_hold_it_up() {
        let started = Instant::now();
        present("sleep 1000 & exit 0", LONG).await.unwrap();
        assert!(started.elapsed() < LONG);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there() {
        let missing = DnsExec { command: "/nowhere/dns-hook".into(), ..exec("", LONG).settings };
        let record =
            Record { fqdn: "a.test".into(), value: "v".into(), ttl: 1, name: "a.test".into() };
        let error = Exec::new(&missing).present(&record).await.unwrap_err().to_string();
        assert!(error.starts_with("`/nowhere/dns-hook` cannot be run: No such file"), "{error}");
    }
}
