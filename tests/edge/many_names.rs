//! Certificates by the thousand.

use crate::support::{Client, Dir, Edge, eventually, listener, tls::client_trusting};
use rustls::pki_types::{CertificateDer, pem::PemObject};

const NAMES: usize = 10_000;
/// What a name may cost with its route, its key and its certificate as it is shown.
const MOST_KIB: u64 = 48;

fn config(dir: &Dir, names: usize) -> String {
    let hosts: Vec<String> = (0..names).map(|n| format!("\"h{n}.shop.internal\"")).collect();
    let (socket, state) = (dir.path("control.sock"), dir.path("state"));
    format!("[control]\naddress = \"unix:{}\"\nstate = {state:?}\n", socket.display())
        + &listener("https")
        + "tls = {}\n[routes.all]\nrespond = { status = 200 }\n"
        + &format!("hosts = [{}]\n", hosts.join(", "))
}

#[tokio::test]
async fn ten_thousand_names_are_served_within_bounds_and_again_after_a_restart() {
    let dir = Dir::new();
    let edge = Edge::start_in(dir.clone(), &config(&dir, 1)).await;
    let root = edge.api().get("/v1/certificates/root").await.text();
    let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    let few = edge.resident();
    edge.reload(&config(&dir, NAMES)).await;
    let serial = async |edge: &Edge, host: &str| {
        let mut client = Client::http1(edge.address("https").await);
        client = client.tls(client_trusting([root.clone()], &["http/1.1"])).host(host);
        assert_eq!(client.get("/").await.status, 200, "{host}");
        client.certificate.unwrap()
    };
    let hosts = ["h0.shop.internal", "h4711.shop.internal", "h9999.shop.internal"];
    let mut first = Vec::new();
    for host in hosts {
        first.push(serial(&edge, host).await);
    }
    let each = edge.resident().saturating_sub(few) / NAMES as u64;
    println!("{each} KiB a name");
    assert!(each <= MOST_KIB, "{each} KiB a name");
    eventually("everything in the store", || async {
        let stored = std::fs::metadata(dir.path("state/state.db")).unwrap().len();
        let log = std::fs::metadata(dir.path("state/state.db-wal")).map_or(0, |log| log.len());
        (stored + log > NAMES as u64 * 1024).then_some(())
    })
    .await;

    // A reload that changes one of them leaves the others alone.
    edge.reload(&config(&dir, NAMES).replace("h1.shop", "other.shop")).await;
    serial(&edge, "other.shop.internal").await;
    assert_eq!(serial(&edge, hosts[1]).await, first[1]);

    let mut edge = edge;
    edge.kill().await;
    let edge = edge.restart().await;
    for (host, first) in hosts.into_iter().zip(first) {
        assert_eq!(serial(&edge, host).await, first, "{host}");
    }
}
