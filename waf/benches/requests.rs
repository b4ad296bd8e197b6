//! How long a request takes: `TIDEGATE_SHARED=../shared cargo bench -p tidegate-waf`.
//!
//! Blocking, paranoia 1, one thread, the requests of `crs4/requests`; request phases only,
//! then with a small response and logging. The figure is the median of batches, in
//! microseconds a request. `BENCH_PARANOIA=4` and the like measure another level,
//! `BENCH_FILES="a.http b.http"` more requests. Where libmodsecurity can be built against
//! (`libmodsecurity-dev` and a C compiler), it is measured in turns with ours, and the ratio told.

use std::{
    hint::black_box,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

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
        "{} rules in {:?}, prefilter {} KiB",
        rules.len(),
        started.elapsed(),
        rules.prefilter_bytes() >> 10
    );
    let oracle = Oracle::build(&crs, paranoia);
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
            let oracle = oracle.as_ref().filter(|_| prefiltering == Prefiltering::On);
            let theirs = oracle.and_then(|oracle| oracle.median(&path));
            // Before and after theirs, for what else goes on on the machine.
            let alone = f64::midpoint(alone, median(|| once(None)));
            let whole = median(|| once(response.as_ref()));
            let work = once(None);
            println!(
                "{name:10} {alone:8.1} us, with response {whole:8.1} us, work {work}, matched {matched:?}"
            );
            if let Some(theirs) = theirs {
                println!("           libmodsecurity {theirs:8.1} us, {:.1} times", theirs / alone);
            }
        }
    }
}

/// Loads the set-up and every file of rules.
fn load(files: &[PathBuf; 2], interner: &Interner) -> Result<Arc<Ruleset>, Faults> {
    let text: String = files.iter().map(|file| format!("Include {}\n", file.display())).collect();
    let memory = Memory([("bench.conf".into(), text.into_bytes())].into());
    Ruleset::load(&Both(memory), &[Path::new("bench.conf")], interner)
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

/// libmodsecurity behind `crs4/oracle.c`, with the same rules at the same paranoia level.
struct Oracle {
    folder: tempfile::TempDir,
}

impl Oracle {
    fn build(crs: &Path, paranoia: u8) -> Option<Self> {
        let folder = tempfile::tempdir().ok()?;
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-o"]).arg(folder.path().join("oracle"));
        let built = cc.arg(crs.join("oracle.c")).arg("-lmodsecurity").output().ok()?;
        if !built.status.success() {
            println!("libmodsecurity cannot be built against: nothing to compare with");
            return None;
        }
        let crs = crs.canonicalize().ok()?;
        let text = format!(
            "SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess On\n\
             SecRule REQUEST_HEADERS:Content-Type \"@beginsWith application/json\" \
             \"id:200001,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON\"\n\
             Include {0}/crs-setup.conf.example\n\
             SecAction \"id:900000,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level={paranoia},\
             setvar:tx.detection_paranoia_level={paranoia}\"\n\
             Include {0}/rules/*.conf\n",
            crs.display()
        );
        std::fs::write(folder.path().join("rules.conf"), text).ok()?;
        Some(Self { folder })
    }

    /// Microseconds that a request takes, the median.
    fn median(&self, request: &Path) -> Option<f64> {
        let mut oracle = Command::new(self.folder.path().join("oracle"));
        let rules = self.folder.path().join("rules.conf");
        let told = oracle.arg(rules).args(["bench", "100"]).arg(request).output().ok()?;
        let told = String::from_utf8_lossy(&told.stdout);
        told.split_once("median ")?.1.split(' ').next()?.parse().ok()
    }
}

/// A file in memory that includes files on disk.
struct Both(Memory);

impl tidegate_waf::Files for Both {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.0.read(path).or_else(|_| Disk.read(path))
    }

    fn glob(&self, pattern: &Path) -> std::io::Result<Vec<PathBuf>> {
        Disk.glob(pattern)
    }
}
