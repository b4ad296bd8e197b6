//! What a policy changes about the same rules.

mod support;

use support::{Request, load, policy};
use tidegate_waf::{
    Cause, Collection, Connection, Exclude, ExcludeTarget, Limit, Limits, Mode, OnLimit, PathTest,
    Policy, PolicyOptions, Prefiltering, RuleChoice, Transaction, Verdict,
};

const SCORING: &str = "\
SecRule &TX:inbound_anomaly_score_threshold \"@eq 0\" \"id:1,phase:1,pass,nolog,setvar:tx.inbound_anomaly_score_threshold=5\"
SecAction \"id:2,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level=1,setvar:tx.inbound_anomaly_score_threshold=1000\"
SecRule ARGS \"@contains bad\" \"id:11,phase:2,pass,tag:'attack',tag:'paranoia-level/1',setvar:tx.score=+5\"
SecRule ARGS \"@contains odd\" \"id:12,phase:2,pass,tag:'paranoia-level/3',setvar:tx.score=+5\"
SecRule TX:score \"@ge %{tx.inbound_anomaly_score_threshold}\" \"id:99,phase:2,deny\"
";

fn exclude(
    rules: RuleChoice,
    target: Option<ExcludeTarget>,
    path: Option<PathTest>,
) -> PolicyOptions {
    PolicyOptions { exclusions: vec![Exclude { rules, target, path }], ..PolicyOptions::default() }
}

#[test]
fn thresholds_and_paranoia_of_the_policy_win() {
    let options = |threshold, paranoia| PolicyOptions {
        inbound_threshold: threshold,
        paranoia,
        ..PolicyOptions::default()
    };
    let bad = Request::get("/?a=bad");
    assert!(bad.run(&policy(SCORING, options(None, None))).1.is_pass());
    let strict = policy(SCORING, options(Some(5), Some(1)));
    assert_eq!(bad.run(&strict).1, Verdict::Deny { status: 403, cause: Cause::Rule(99) });
    let odd = Request::get("/?a=odd");
    assert_eq!(odd.ids(&strict), [0; 0]);
    assert_eq!(odd.ids(&policy(SCORING, options(Some(5), Some(3)))), [12, 99]);
    assert!(Policy::new(load(SCORING).unwrap(), options(None, Some(5))).is_err());
}

#[test]
fn detect_tells_what_block_would_do() {
    let options = PolicyOptions {
        mode: Mode::Detect,
        inbound_threshold: Some(5),
        ..PolicyOptions::default()
    };
    let policy = policy(SCORING, options);
    let (transaction, verdict) = Request::get("/?a=bad").run(&policy);
    assert!(verdict.is_pass());
    assert_eq!(*transaction.would_be(), Verdict::Deny { status: 403, cause: Cause::Rule(99) });
}

/// Before, a request that `block` would have passed was told as one it would have refused.
#[test]
fn detect_knows_what_a_rule_would_have_allowed() {
    for (allow, later, would_pass) in [
        ("allow", 2, true),
        ("allow", 3, true),
        ("allow:request", 2, true),
        ("allow:request", 3, false),
        ("allow:phase", 1, true),
        ("allow:phase", 2, false),
        ("pass", 2, false),
    ] {
        let rules = format!(
            "SecRule REMOTE_ADDR \"@ipMatch 127.0.0.1\" \"id:1,phase:1,{allow}\"\n\
             SecRule ARGS \"@contains bad\" \"id:2,phase:{later},deny\""
        );
        for (mode, expected) in [(Mode::Detect, vec![1, 2]), (Mode::Block, vec![1])] {
            let policy = policy(&rules, PolicyOptions { mode, ..PolicyOptions::default() });
            let mut transaction = Transaction::new(&policy, &Connection::default());
            transaction.request_line(b"GET", b"/?a=bad", b"HTTP/1.1");
            transaction.request_headers();
            transaction.request_body(b"");
            transaction.response_line(b"HTTP/1.1", 200);
            transaction.response_headers();
            let passes = transaction.verdict().is_pass() && transaction.would_be().is_pass();
            assert_eq!(passes, would_pass, "{allow}, {mode:?}");
            let found: Vec<_> = transaction.matches().iter().map(|found| found.id).collect();
            assert!(found.starts_with(&expected), "{allow}, {mode:?}: {found:?}");
        }
    }
}

#[test]
fn exclusions_are_by_id_tag_target_pattern_and_path() {
    let ids =
        |options: PolicyOptions, target: &str| Request::get(target).ids(&policy(SCORING, options));
    assert_eq!(ids(exclude(RuleChoice::Ids(11, 11), None, None), "/?a=bad"), [0; 0]);
    assert_eq!(ids(exclude(RuleChoice::Tag("attack".into()), None, None), "/?a=bad"), [0; 0]);
    let named = || Some(ExcludeTarget::Named(Collection::Args, "A".into()));
    assert_eq!(ids(exclude(RuleChoice::All, named(), None), "/?a=bad"), [0; 0]);
    assert_eq!(ids(exclude(RuleChoice::All, named(), None), "/?b=bad"), [11]);
    let matching = Some(ExcludeTarget::Matching(Collection::Args, "^wp_.*$".into()));
    let options = exclude(RuleChoice::Ids(11, 12), matching, Some(PathTest::Below("/blog".into())));
    let blog = policy(SCORING, options);
    let routed = |path: Option<&str>, target: &str| {
        let mut transaction = Transaction::new(&blog, &Connection::default());
        transaction.request_line(b"GET", target.as_bytes(), b"HTTP/1.1");
        if let Some(path) = path {
            transaction.route_path(path);
        }
        transaction.request_headers();
        transaction.request_body(b"");
        transaction.matches().iter().map(|found| found.id).collect::<Vec<_>>()
    };
    assert_eq!(routed(Some("/blog/x"), "/blog/x?wp_title=bad"), [0; 0]);
    assert_eq!(routed(Some("/blog/x"), "/blog/x?title=bad"), [11]);
    // Where the request goes counts, not what the client wrote.
    assert_eq!(routed(Some("/shop"), "/blog/../shop?wp_title=bad"), [11]);
    assert_eq!(routed(None, "/blog/x?wp_title=bad"), [11]);
    let broken =
        exclude(RuleChoice::All, Some(ExcludeTarget::Matching(Collection::Args, "(".into())), None);
    assert!(Policy::new(load(SCORING).unwrap(), broken).is_err());
}

#[test]
fn a_limit_ends_in_the_outcome_it_is_given() {
    let form: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];
    let json: &[(&str, &str)] = &[("Content-Type", "application/json")];
    let deep = "[".repeat(600) + &"]".repeat(600);
    let many = "a=1&".repeat(2_000);
    let large = vec![b'x'; 200 << 10];
    for (kind, body, limit, status) in [
        (form, many.as_bytes(), Limit::Arguments, 400),
        (json, deep.as_bytes(), Limit::Depth, 400),
        (form, large.as_slice(), Limit::Body, 413),
        (json, b"{\"a\":", Limit::Malformed, 400),
    ] {
        let request = Request::post("/", kind, body);
        let block = policy(SCORING, PolicyOptions::default());
        let (transaction, verdict) = request.run(&block);
        assert_eq!(verdict, Verdict::Deny { status, cause: Cause::Limit(limit) });
        assert!(transaction.limits_hit().contains(&limit));

        let detect =
            policy(SCORING, PolicyOptions { mode: Mode::Detect, ..PolicyOptions::default() });
        let (transaction, verdict) = request.run(&detect);
        assert!(verdict.is_pass());
        assert_eq!(*transaction.would_be(), Verdict::Deny { status, cause: Cause::Limit(limit) });

        let pass = OnLimit::Pass;
        let limits = Limits {
            on_arguments: pass,
            on_depth: pass,
            on_body: pass,
            on_malformed: pass,
            ..Limits::default()
        };
        let lenient = policy(SCORING, PolicyOptions { limits, ..PolicyOptions::default() });
        assert!(request.run(&lenient).1.is_pass(), "{limit:?}");
    }
}

/// Before, what was cut counted as malformed as well, and multipart's fields as parts.
#[test]
fn each_limit_passes_by_its_own_switch_and_by_no_other() {
    let kind = |kind: &'static str| [("Content-Type", kind)];
    let json = kind("application/json");
    let xml = kind("text/xml");
    let parts = kind("multipart/form-data; boundary=B");
    let part =
        |n: usize| format!("--B\r\nContent-Disposition: form-data; name=a{n}\r\n\r\nbad\r\n");
    let file = "--B\r\nContent-Disposition: form-data; name=f; filename=g\r\n\r\nx\r\n";
    let form = |count: usize| (0..count).map(part).collect::<String>() + "--B--\r\n";
    let files = part(0) + &file.repeat(45) + "--B--\r\n";
    let upload = part(0) + file + &"y".repeat(9_000) + "\r\n--B--\r\n";
    let names = format!("{{\"{}\":[\"bad\"{}]}}", "k".repeat(900), ",1".repeat(18));
    let attributes = format!("<a b='bad'>{}</a>", "<c d='bad'/>".repeat(30));
    type Headers<'h> = &'h [(&'h str, &'h str)];
    let cases: [(Headers<'_>, String, Limit); 10] = [
        (&json, format!("[\"bad\",\"{}\"]", "x".repeat(5_000)), Limit::Body),
        (&xml, format!("<a>bad{}</a>", "x".repeat(5_000)), Limit::Body),
        (&parts, upload, Limit::BodyWithFiles),
        (&json, format!("[\"bad\"{}]", ",1".repeat(30)), Limit::Arguments),
        (&json, names, Limit::Arguments),
        (&xml, attributes, Limit::Arguments),
        (&parts, form(30), Limit::Arguments),
        (&json, "[\"bad\",[[[[[[1]]]]]]]".into(), Limit::Depth),
        (&xml, "<a b='bad'>bad<c><c><c><c><c/></c></c></c></c></a>".into(), Limit::Depth),
        (&parts, files, Limit::Parts),
    ];
    let rules = "SecRule ARGS|XML:/*|XML://@* \"@contains bad\" \"id:1,phase:2,pass\"";
    for (headers, body, limit) in cases {
        let limits = |passing: Limit| {
            let on = |limit| if limit == passing { OnLimit::Pass } else { OnLimit::Block };
            Limits {
                body: 4_000,
                on_body: on(Limit::Body),
                body_with_files: 8_000,
                on_body_with_files: on(Limit::BodyWithFiles),
                arguments: 20,
                on_arguments: on(Limit::Arguments),
                depth: 4,
                on_depth: on(Limit::Depth),
                parts: 40,
                on_parts: on(Limit::Parts),
                on_malformed: on(Limit::Malformed),
                ..Limits::default()
            }
        };
        let request = Request::post("/", headers, body.as_bytes());
        for passing in Limit::ALL {
            let options = PolicyOptions { limits: limits(passing), ..PolicyOptions::default() };
            let policy = policy(rules, options);
            let (transaction, verdict) = request.run(&policy);
            assert_eq!(verdict.is_pass(), passing == limit, "{limit:?}, {passing:?}: {verdict:?}");
            assert_eq!(transaction.limits_hit(), [limit], "{headers:?}");
            if passing == limit {
                assert_eq!(transaction.matches().len(), 1, "{limit:?}: the beginning is looked at");
            }
        }
    }
}

#[test]
fn work_is_counted_and_bounded() {
    let rules: String = (1..200)
        .map(|id| format!("SecRule ARGS \"@rx (?:a|b)c{id}$\" \"id:{id},phase:2,pass,t:lowercase,t:removeNulls\"\n"))
        .collect();
    let limits = Limits { work: 100_000, ..Limits::default() };
    let options =
        PolicyOptions { limits, prefiltering: Prefiltering::Off, ..PolicyOptions::default() };
    let policy = policy(&rules, options);
    let form: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!("a={}", "x".repeat(50_000));
    let (_, verdict) = Request::post("/", form, body.as_bytes()).run(&policy);
    assert_eq!(verdict, Verdict::Deny { status: 503, cause: Cause::Limit(Limit::Work) });
    assert!(Request::post("/", form, b"a=x").run(&policy).1.is_pass());
}

#[test]
fn a_body_can_be_evaluated_in_pieces() {
    let rules: String = (1..50)
        .map(|id| format!("SecRule ARGS \"@streq x{id}\" \"id:{id},phase:2,pass\"\n"))
        .collect();
    let policy = policy(&rules, PolicyOptions::default());
    let mut transaction = Transaction::new(&policy, &Connection::default());
    transaction.request_line(b"POST", b"/", b"HTTP/1.1");
    transaction.request_header(b"Content-Type", b"application/x-www-form-urlencoded");
    assert!(transaction.request_headers().is_pass());
    transaction.begin_request_body(b"a=x49");
    let mut pieces = 1;
    while transaction.advance(100).is_none() {
        pieces += 1;
    }
    assert!(pieces > 5, "{pieces}");
    assert_eq!(transaction.matches().len(), 1);
}

#[test]
fn values_are_there_for_later_phases_when_what_was_made_of_them_is_gone() {
    let policy = policy(
        "SecRule ARGS:a \"@rx ^(x+)\" \"id:1,phase:2,pass,t:lowercase,capture,setvar:tx.seen=%{tx.1},setvar:'tx.%{MATCHED_VAR_NAME}=1'\"\n\
         SecRule ARGS:a \"@beginsWith xx\" \"id:2,phase:3,pass,t:lowercase,msg:'%{ARGS_NAMES}'\"\n\
         SecRule TX:seen \"@streq %{TX.1}\" \"id:3,phase:3,pass\"\n\
         SecRule TX:/^args/ \"@eq 1\" \"id:4,phase:3,pass,msg:'%{MATCHED_VAR_NAME}'\"\n\
         SecRule REQUEST_HEADERS:Host \"@streq h\" \"id:5,phase:5,pass\"",
        PolicyOptions::default(),
    );
    let mut transaction = Transaction::new(&policy, &Connection::default());
    let long = "X".repeat(50_000);
    transaction.request_line(b"GET", format!("/?a={long}").as_bytes(), b"HTTP/1.1");
    transaction.request_header(b"Host", b"h");
    transaction.request_headers();
    transaction.request_body(b"");
    let (before, work) = (transaction.bytes(), transaction.work());
    transaction.rest();
    let after = transaction.bytes();
    // The argument lies in the line, the target, the query and the captures as well.
    assert!(after > 250_000 && after + 40_000 < before, "{before} became {after}");
    assert_eq!(transaction.work(), work);
    assert_eq!(transaction.variable("seen").map(<[u8]>::len), Some(50_000));
    transaction.response_line(b"HTTP/1.1", 200);
    transaction.response_headers();
    transaction.log();
    let found: Vec<_> = transaction.matches().iter().map(|found| found.id).collect();
    assert_eq!(found, [1, 2, 3, 4, 5]);
    assert_eq!(transaction.matches()[1].message, b"a");
}

#[test]
fn the_policies_of_one_ruleset_share_it() {
    let rules = load(SCORING).unwrap();
    let one = Policy::new(rules.clone(), PolicyOptions::default()).unwrap();
    let two =
        Policy::new(rules.clone(), PolicyOptions { paranoia: Some(1), ..PolicyOptions::default() })
            .unwrap();
    assert_eq!((one.rules_in_force(), two.rules_in_force()), (5, 4));
    assert!(std::sync::Arc::ptr_eq(one.rules(), two.rules()));
}
