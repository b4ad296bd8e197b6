//! Several files: includes, overlays, references, and faults that name the right file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, fs, path::PathBuf};
use tempfile::TempDir;
use tidegate_config::{Faults, Loaded, load_with};

/// A directory of files and an environment.
struct Tree {
    dir: TempDir,
    env: HashMap<&'static str, &'static str>,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { dir, env: HashMap::new() }
    }

    fn load(&self, paths: &[&str]) -> Result<Loaded, Faults> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| self.dir.path().join(path)).collect();
        load_with(&paths, &|name| self.env.get(name).map(|value| (*value).to_owned()))
    }

    fn accept(&self, paths: &[&str]) -> Loaded {
        self.load(paths).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn refuse(&self, paths: &[&str]) -> String {
        let faults = self.load(paths).expect_err("accepted").to_string();
        faults.replace(self.dir.path().to_str().unwrap(), "")
    }

    fn names(&self, loaded: &Loaded) -> Vec<String> {
        let relative = |path: &PathBuf| path.strip_prefix(self.dir.path()).unwrap().to_owned();
        loaded.files.iter().map(|file| relative(&file.path).display().to_string()).collect()
    }
}

#[test]
fn includes_come_first_and_each_layer_overrides_the_one_before() {
    let tree = Tree::new(&[
        (
            "main.toml",
            "include = ['conf.d/*.toml', 'last.toml']\n[log]\nlevel = 'warn'\n[server]\nworkers = 3",
        ),
        ("conf.d/20.toml", "[server]\ndrain = '20s'\nworkers = 20"),
        ("conf.d/10.toml", "[server]\ndrain = '10s'\nconnections = 10\n[log]\nlevel = 'debug'"),
        ("conf.d/.hidden.toml", "nonsense"),
        ("conf.d/30.toml~", "nonsense"),
        ("last.toml", "[server]\nconnections = 30"),
        ("overlay.toml", "[log]\nformat = 'json'"),
    ]);
    let loaded = tree.accept(&["main.toml", "overlay.toml"]);
    let server = &loaded.config.server;
    assert_eq!(server.drain.as_secs(), 20, "the later glob match wins");
    assert_eq!(server.connections.get(), 30, "the later include wins");
    assert_eq!(server.workers.unwrap().get(), 3, "the including file wins");
    assert_eq!(loaded.config.log.level.as_str(), "warn");
    assert_eq!(loaded.config.log.format.as_str(), "json", "the later -c wins");
    let read = ["main.toml", "conf.d/10.toml", "conf.d/20.toml", "last.toml", "overlay.toml"];
    assert_eq!(tree.names(&loaded), read);
    assert_eq!(loaded.directories, [tree.dir.path().join("conf.d")]);
}

#[test]
fn tables_merge_and_arrays_replace() {
    let tree = Tree::new(&[
        (
            "a.toml",
            "[upstreams.u]\nendpoints = ['10.0.0.1:80', '10.0.0.2:80']\npool = { idle = 1 }",
        ),
        ("b.toml", "[upstreams.u]\nendpoints = ['10.0.0.3:80']\npool = { idle_timeout = '1s' }"),
    ]);
    let loaded = tree.accept(&["a.toml", "b.toml"]);
    let upstream = &loaded.config.upstreams["u"];
    assert_eq!(upstream.endpoints, ["10.0.0.3:80".parse().unwrap()]);
    assert_eq!((upstream.pool.idle, upstream.pool.idle_timeout.as_secs()), (1, 1));
}

#[test]
fn faults_name_the_file_that_holds_the_value_in_force() {
    let tree = Tree::new(&[
        ("a.toml", "[server]\ndrain = 'never'\nworkers = 0\n"),
        ("b.toml", "\n[server]\ndrain = 'always'\ntypo = 1\n"),
    ]);
    insta::assert_snapshot!(tree.refuse(&["a.toml", "b.toml"]), @r"
    /a.toml:3:11: server.workers: expected an integer from 1 to 1024, found the integer `0`
    3 | workers = 0
      |           ^
    /b.toml:3:9: server.drain: expected a duration such as `2s`, found `always`
    3 | drain = 'always'
      |         ^^^^^^^^
    /b.toml:4:1: server.typo: unknown key; known here: `connections`, `drain`, `held_bodies`, `rate_limit_keys`, `workers`
    4 | typo = *
      | ^^^^
    ");
}

#[test]
fn what_cannot_be_read_is_a_fault() {
    let tree = Tree::new(&[
        ("main.toml", "include = ['missing.toml', 'none/*.toml', 'sub', 5, '${DIR}/x.toml', '']"),
        ("sub/x", ""),
        ("latin1.toml", ""),
        ("again.toml", "include = ['sub/back.toml']"),
        ("sub/back.toml", "include = ['../again.toml']"),
    ]);
    fs::write(tree.dir.path().join("latin1.toml"), b"# caf\xe9").unwrap();
    fs::write(tree.dir.path().join("big.toml"), vec![b'#'; (16 << 20) + 1]).unwrap();
    let paths = ["main.toml", "latin1.toml", "big.toml", "absent.toml", "again.toml"];
    insta::assert_snapshot!(tree.refuse(&paths));
}

#[test]
fn includes_are_bounded() {
    let files: Vec<_> =
        (0..30).map(|n| (format!("{n}.toml"), format!("include = ['{}.toml']", n + 1))).collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let deep = Tree::new(&files).refuse(&["0.toml"]);
    assert!(deep.contains("includes are nested more than 16 deep"), "{deep}");

    let many = (0..600).map(|_| "'x.toml', 'x.toml',").collect::<String>();
    let tree = Tree::new(&[("main.toml", &format!("include = [{many}]")), ("x.toml", "")]);
    let many = tree.load(&["main.toml"]).unwrap_err();
    assert_eq!(many.len(), 1);
    assert!(many.to_string().contains("more than 1000 files are included"));
}

#[test]
fn references_are_relative_to_the_file_that_names_them() {
    let mut tree = Tree::new(&[
        ("main.toml", "include = ['conf.d/*']\n[control]\nstate = 'state'"),
        (
            "conf.d/acme.toml",
            "[acme]\nemail = '${USER}@example.com'\n[[acme.issuers]]\nname = 'zerossl'\n\
             eab = { kid = { file = 'kid' }, hmac_key = { file = '../secret' } }\n\
             [[acme.issuers]]\ndirectory = 'https://ca.example.com/dir'\nca = 'ca.pem'\n\
             eab = { kid = 'k', hmac_key = 'literal1' }",
        ),
        ("conf.d/kid", "kid-1\r\n"),
        ("secret", "c2VjcmV0\n"),
    ]);
    tree.env.insert("USER", "ops");
    let error = tree.refuse(&["main.toml"]);
    // The glob finds the kid file, too, which is not TOML.
    assert!(error.contains("/conf.d/kid:1:6: "), "{error}");
    fs::write(
        tree.dir.path().join("main.toml"),
        "include = ['conf.d/*.toml']\n[control]\nstate = 'state'",
    )
    .unwrap();

    let loaded = tree.accept(&["main.toml"]);
    let acme = loaded.config.acme.as_ref().unwrap();
    let eab = acme.issuers[0].eab.as_ref().unwrap();
    assert_eq!((eab.kid.as_str(), eab.hmac_key.reveal()), ("kid-1", "c2VjcmV0"));
    assert_eq!(acme.email.as_deref(), Some("ops@example.com"));
    assert_eq!(acme.issuers[1].ca, Some(tree.dir.path().join("conf.d/ca.pem")));
    assert_eq!(loaded.config.control.state, tree.dir.path().join("state"));
    assert_eq!(
        tree.names(&loaded),
        ["main.toml", "conf.d/acme.toml", "conf.d/kid", "conf.d/../secret"]
    );
    let digest = &loaded.files[3].sha256;
    assert_eq!(digest, "8efcc9905d9a17c809dee4d7efc8096685d6cd77084cde3f24fb764fd935fce9");

    insta::with_settings!({ sort_maps => true }, {
        insta::assert_json_snapshot!(loaded.document["acme"]);
    });
    assert!(!format!("{loaded:?}").contains("c2VjcmV0"));
}

#[test]
fn files_behind_references_are_bounded() {
    let tree = Tree::new(&[
        ("main.toml", "[routes.a]\nrespond = { body = { file = 'big' } }"),
        ("big", &"x".repeat((64 << 10) + 1)),
    ]);
    let faults = tree.refuse(&["main.toml"]);
    assert!(faults.contains("`/big`: larger than the 64KiB allowed"), "{faults}");
}
