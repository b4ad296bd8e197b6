//! How long a request takes: `TIDEGATE_SHARED=../shared cargo bench -p tidegate-waf`.
//!
//! Blocking, paranoia 1, one thread, the requests of `crs4/requests`; request phases only,
//! then with a small response and logging. The figure is the median of batches, in
//! microseconds a request. `BENCH_PARANOIA=4` and the like measure another level,
//! `BENCH_FILES="a.http b.http"` more requests, `BENCH_RELOADS=1000` the memory of reloads.

use std::{hint::black_box, path::PathBuf, sync::Arc, time::Instant};

use tidegate_waf::{
    Connection, Disk, Faults, Interner, Memory, Policy, PolicyOptions, Prefiltering, Ruleset,
    Transaction,
    message::{self, Message},
};

const BATCHES: usize = 31;
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

fn main() {
    let shared = std::env::var_os("TIDEGATE_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
        PathBuf::from,
    );
    let crs = shared.join("crs4");
    if !crs.is_dir() {
        println!("no {}: nothing to measure", crs.display());
        return;
    }
    let paranoia = std::env::var("BENCH_PARANOIA").ok().and_then(|p| p.parse().ok()).unwrap_or(1);
    let files = [crs.join("crs-setup.conf.example"), crs.join("rules/*.conf")];
    let started = Instant::now();
    let interner = Interner::default();
    let rules = match load(&files, &interner) {
        Ok(rules) => rules,
        Err(faults) => return println!("{faults}"),
    };
    println!(
        "{} rules in {:?}, prefilter {} KiB, resident {} KiB",
        rules.len(),
        started.elapsed(),
        rules.prefilter_bytes() >> 10,
        resident()
    );
    if let Some(reloads) = std::env::var("BENCH_RELOADS").ok().and_then(|n| n.parse::<u32>().ok()) {
        for reload in 0..reloads {
            // One that finds its patterns already compiled, one that compiles all.
            black_box((
                load(&files, &interner).is_ok(),
                load(&files, &Interner::default()).is_ok(),
            ));
            if reload % 50 == 0 {
                println!("reload {reload}, resident {} KiB", resident());
            }
        }
    }
    for prefiltering in [Prefiltering::On, Prefiltering::Off] {
        let options = PolicyOptions {
            paranoia: Some(paranoia),
            response_bodies: true,
            prefiltering,
            ..PolicyOptions::default()
        };
        let Ok(policy) = Policy::new(rules.clone(), options) else { return };
        println!(
            "paranoia {paranoia}, {} rules in force, prefilter {prefiltering:?}",
            policy.rules_in_force()
        );
        let extra = std::env::var("BENCH_FILES").unwrap_or_default();
        let named = ["get", "form", "json", "multipart", "attack"]
            .map(|name| crs.join(format!("requests/{name}.http")));
        for path in named.into_iter().chain(extra.split_ascii_whitespace().map(PathBuf::from)) {
            let name = path.file_stem().unwrap_or_default().display().to_string();
            let Ok(bytes) = std::fs::read(&path) else {
                continue;
            };
            let Some(request) = Message::parse(&bytes) else { continue };
            let response = Message::parse(RESPONSE);
            let mut matched = Vec::new();
            let mut once = |response: Option<&Message>| {
                let mut transaction = Transaction::new(&policy, &Connection::default());
                message::run(&mut transaction, &request, response);
                matched = transaction.matches().iter().map(|m| m.id).collect();
                black_box(transaction.work())
            };
            let alone = median(|| once(None));
            let whole = median(|| once(response.as_ref()));
            let work = once(None);
            println!(
                "{name:10} {alone:8.1} us, with response {whole:8.1} us, work {work}, matched {matched:?}"
            );
        }
    }
    println!("resident {} KiB", resident());
}

/// Loads the set-up and every file of rules.
fn load(files: &[PathBuf; 2], interner: &Interner) -> Result<Arc<Ruleset>, Faults> {
    let text: String = files.iter().map(|file| format!("Include {}\n", file.display())).collect();
    let memory = Memory([("bench.conf".into(), text.into_bytes())].into());
    Ruleset::load(&Both(memory), &[std::path::Path::new("bench.conf")], interner)
}

fn median(mut run: impl FnMut() -> u64) -> f64 {
    let warm = Instant::now();
    let mut count = 0_u32;
    while warm.elapsed().as_millis() < 150 {
        run();
        count += 1;
    }
    let batch = (count / 15).max(1);
    let mut times: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..batch {
                run();
            }
            started.elapsed().as_secs_f64() * 1e6 / f64::from(batch)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[BATCHES / 2]
}

/// Kibibytes of memory of this process, where the system tells.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// A file in memory that includes files on disk.
struct Both(Memory);

impl tidegate_waf::Files for Both {
    fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
        self.0.read(path).or_else(|_| Disk.read(path))
    }

    fn glob(&self, pattern: &std::path::Path) -> std::io::Result<Vec<PathBuf>> {
        Disk.glob(pattern)
    }
}
