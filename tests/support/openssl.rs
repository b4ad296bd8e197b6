//! OpenSSL's client: what a TLS library that is not ours makes of the edge.

use super::{edge::Output, wait::within};
use std::{net::SocketAddr, process::Stdio};
use tokio::{io::AsyncWriteExt, process::Command};

/// Handshakes with `address` as `s_client` does, sends `request` and reads until the server
/// closes; an empty one closes after the handshake.
pub async fn s_client(
    address: SocketAddr,
    name: &str,
    arguments: &[&str],
    request: &str,
) -> Output {
    let mut command = Command::new("openssl");
    command.arg("s_client").args(["-connect", &address.to_string(), "-servername", name]);
    // OpenSSL's own defaults: what a distribution's configuration forbids is not the test.
    command.args(arguments).env("OPENSSL_CONF", "/dev/null");
    if !request.is_empty() {
        command.arg("-ign_eof");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("openssl is installed");
    let mut stdin = child.stdin.take().expect("it was asked for");
    // One that could not connect reads nothing.
    let _ = stdin.write_all(request.as_bytes()).await;
    drop(stdin);
    let output = within("openssl s_client", child.wait_with_output()).await.unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
