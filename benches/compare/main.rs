//! Tidegate beside nginx and haproxy on this machine.
//!
//! `cargo bench --bench compare` starts all three with equal configurations on loopback: one
//! worker pinned to one core; the load generator and the upstream share another. Rounds are
//! interleaved and the order rotates, because single runs scatter by a tenth and more here;
//! ratios are taken within a round and their median over the rounds is what counts.
//!
//! `-- --only nginx,haproxy` leaves one out, `--rounds 2 --seconds 2` is a quick look, and
//! `-- handshakes` runs one part alone. Nothing in the output names the machine.
#![expect(unreachable_pub, reason = "a bench has no outside")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

mod cost;
mod handshake;
mod idle;
mod load;
mod origin;
mod peer;
mod stats;

use clap::{Parser, ValueEnum};
use load::{Protocol, Sample};
use peer::{Kind, Material, Peer};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::{collections::BTreeMap, time::Duration};

/// Compares Tidegate with nginx and haproxy.
#[derive(Parser)]
struct Options {
    /// Parts to run.
    #[arg(default_values = ["requests", "handshakes", "idle"])]
    parts: Vec<Part>,
    /// Peers to run, the first one being what others are compared with.
    #[arg(long, value_delimiter = ',', default_value = "nginx,haproxy,tidegate")]
    only: Vec<Kind>,
    /// Interleaved rounds.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    /// Seconds each peer is loaded for, per round and protocol.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Client connections.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Protocols to measure.
    #[arg(long, value_delimiter = ',', default_value = "h1,tls-h1,tls-h2")]
    protocols: Vec<Protocol>,
    /// Idle TLS connections opened to measure what one costs; 0 leaves it out.
    #[arg(long, default_value_t = 2_000)]
    idle: usize,
    /// Milliseconds of handshakes with each peer, per round and kind of handshake.
    #[arg(long, env = "TIDEGATE_HANDSHAKE_MILLIS", default_value_t = 1_000)]
    handshake_millis: u64,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Requests,
    Handshakes,
    Idle,
}

/// The core of the proxies, and that of everything else.
const PROXY_CORE: usize = 0;
const OTHER_CORE: usize = 1;

type Results = BTreeMap<(Protocol, Kind), Vec<Sample>>;

fn main() {
    let options = Options::parse();
    assert!(
        std::thread::available_parallelism().is_ok_and(|cores| cores.get() > OTHER_CORE),
        "two cores are needed: one for the proxy, one for the load and the upstream"
    );
    // Before any thread starts: all of them, and the load generators, inherit it.
    let mut cores = CpuSet::new();
    cores.set(OTHER_CORE);
    sched_setaffinity(None, &cores).unwrap();

    let material = Material::new(origin::start());
    let wanted = |part| options.parts.contains(&part);
    if wanted(Part::Requests) {
        print(&options, &measure(&options, &material));
    }
    if wanted(Part::Handshakes) {
        let limit = Duration::from_millis(options.handshake_millis);
        handshake::print(&options.only, &material, options.rounds, limit);
    }
    if wanted(Part::Idle) && options.idle > 0 {
        idle::print(&options.only, &material, options.idle);
    }
}

fn measure(options: &Options, material: &Material) -> Results {
    let peers: Vec<Peer> = options.only.iter().map(|&kind| Peer::start(kind, material)).collect();
    for peer in &peers {
        eprintln!("{}: {}", peer.kind, peer.version);
        for &protocol in &options.protocols {
            // Warms pools, caches and tickets; also shows that it answers at all.
            load::run(protocol, peer, options.connections, 1);
        }
    }
    let mut results = Results::new();
    for round in 0..options.rounds {
        for &protocol in &options.protocols {
            for turn in 0..peers.len() {
                let peer = &peers[(round + turn) % peers.len()];
                let sample = load::run(protocol, peer, options.connections, options.seconds);
                eprintln!("round {}: {protocol} {}: {sample}", round + 1, peer.kind);
                results.entry((protocol, peer.kind)).or_default().push(sample);
            }
        }
    }
    results
}

fn print(options: &Options, results: &Results) {
    println!(
        "{} rounds of {} s, {} connections, 1 KiB answers; one worker on one core, load and \
         upstream on the other.\nMedian over the rounds; ratios are taken round by round and \
         given with their range.\n",
        options.rounds, options.seconds, options.connections
    );
    let base = options.only[0];
    println!(
        "| protocol | proxy | requests/s | ratio to {base} (min-max) | CPU us/request | CPU ratio | core busy | p99 ms | failed |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
    for &protocol in &options.protocols {
        let baseline = &results[&(protocol, base)];
        for &kind in &options.only {
            let samples = &results[&(protocol, kind)];
            let of = |figure: fn(&Sample) -> f64| stats::median(samples.iter().map(figure));
            let ratios = |figure: fn(&Sample) -> f64| -> Vec<f64> {
                samples.iter().zip(baseline).map(|(a, b)| figure(a) / figure(b)).collect()
            };
            let rate = ratios(|sample| sample.per_second);
            let (low, high) = stats::range(&rate);
            println!(
                "| {protocol} | {kind} | {:.0} | {:.2} ({low:.2}-{high:.2}) | {:.1} | {:.2} | {:.0} % | {:.2} | {} |",
                of(|sample| sample.per_second),
                stats::median(rate.into_iter()),
                of(|sample| sample.cpu_micros),
                stats::median(ratios(|sample| sample.cpu_micros).into_iter()),
                of(|sample| sample.busy_percent),
                of(|sample| sample.p99_ms),
                samples.iter().map(|sample| sample.failed).sum::<u64>(),
            );
        }
    }
}
