//! What rules can say, one story each.

mod support;

use std::{collections::BTreeMap, path::Path};

use support::{Request, load, policy};
use tidegate_waf::{
    Cause, Connection, Interner, Limits, Memory, Mode, PolicyOptions, Ruleset, Scores, Transaction,
    Verdict,
};

fn ids(rules: &str, request: &Request<'_>) -> Vec<u64> {
    request.ids(&policy(rules, PolicyOptions::default()))
}

const FORM: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];

#[test]
fn a_deny_stops_its_phase_and_all_behind_it() {
    let policy = policy(
        "SecAction \"id:1,phase:1,pass\"\nSecRule ARGS:a \"@streq x\" \"id:2,phase:1,deny,status:406\"\n\
         SecAction \"id:3,phase:1,pass\"\nSecAction \"id:4,phase:2,pass\"\nSecAction \"id:5,phase:5,pass\"",
        PolicyOptions::default(),
    );
    let (transaction, verdict) = Request::get("/?a=x").run(&policy);
    assert_eq!(verdict, Verdict::Deny { status: 406, cause: Cause::Rule(2) });
    assert_eq!(transaction.matches().iter().map(|m| m.id).collect::<Vec<_>>(), [1, 2, 5]);
}

#[test]
fn block_means_the_default_action() {
    let rules =
        "SecDefaultAction \"phase:1,log,deny,status:418\"\nSecAction \"id:1,phase:1,block\"";
    let policy = policy(rules, PolicyOptions::default());
    assert_eq!(Request::get("/").run(&policy).1.status(), Some(418));
}

#[test]
fn a_rules_own_last_word_goes_before_the_default_action() {
    for (default, own, wanted) in [
        ("deny", "", Some(418)),
        ("deny", "pass", None),
        ("pass", "deny,block", None),
        ("deny", "pass,block", Some(418)),
        ("redirect:'/x'", "block", Some(302)),
    ] {
        let rules = format!(
            "SecDefaultAction \"phase:1,log,{default},status:418\"\nSecAction \"id:1,phase:1,{own}\""
        );
        let policy = policy(&rules, PolicyOptions::default());
        let status = Request::get("/").run(&policy).1.status();
        assert_eq!(status, wanted, "{default} then {own}");
    }
    let rules = "SecAction \"id:1,phase:1,deny\"\nSecRuleUpdateActionById 1 block";
    let policy = policy(rules, PolicyOptions::default());
    assert!(Request::get("/").run(&policy).1.is_pass(), "without a default, `block` is `pass`");
}

#[test]
fn transformations_of_the_default_action_come_first_unless_a_rule_says_none() {
    let rules = "SecDefaultAction \"phase:2,pass,t:hexDecode\"\n\
                 SecRule ARGS \"@streq abc\" \"id:1,phase:2,t:lowercase\"\n\
                 SecRule ARGS \"@streq 414243\" \"id:2,phase:2,t:none\"\n\
                 SecRule ARGS \"@streq ABC\" \"id:3,phase:2,chain\"\n\
                 SecRule ARGS \"@streq ABC\"";
    assert_eq!(ids(rules, &Request::get("/?a=414243")), [1, 2, 3]);
}

#[test]
fn chains_need_every_link_and_setvars_happen_as_each_matches() {
    let rules = "SecRule ARGS:a \"@rx ^(.)(.)\" \"id:1,phase:2,pass,capture,chain,setvar:tx.first=%{tx.1}\"\n\
                 SecRule ARGS:b \"@streq %{tx.2}\" \"setvar:tx.both=1\"\n\
                 SecRule TX:first \"@streq x\" \"id:2,phase:2,pass\"\n\
                 SecRule TX:both \"@eq 1\" \"id:3,phase:2,pass\"";
    assert_eq!(ids(rules, &Request::get("/?a=xy&b=y")), [1, 2, 3]);
    assert_eq!(ids(rules, &Request::get("/?a=xy&b=z")), [2]);
}

#[test]
fn scores_add_up_once_for_each_value_that_matches() {
    let rules = "SecRule ARGS \"@contains bad\" \"id:1,phase:2,pass,setvar:tx.anomaly_score=+5\"\n\
                 SecRule TX:anomaly_score \"@ge 10\" \"id:2,phase:2,deny,msg:'score %{tx.anomaly_score}'\"";
    let policy = policy(rules, PolicyOptions::default());
    let (transaction, verdict) = Request::get("/?a=bad&b=bad").run(&policy);
    assert_eq!(verdict.status(), Some(403));
    assert_eq!(transaction.matches()[0].score, 10);
    assert_eq!(transaction.matches()[1].message, b"score 10");
    assert!(Request::get("/?a=bad").run(&policy).1.is_pass());
}

#[test]
fn scores_have_the_names_of_the_core_rule_set_in_its_versions() {
    let score = |inbound: &str, outbound: &str| {
        let rules =
            format!("SecAction \"id:1,phase:1,pass,setvar:tx.{inbound}=5,setvar:tx.{outbound}=4\"");
        Request::get("/").run(&policy(&rules, PolicyOptions::default())).0.scores()
    };
    let wanted = Scores { inbound: Some(5), outbound: Some(4) };
    assert_eq!(score("anomaly_score", "outbound_anomaly_score"), wanted);
    assert_eq!(score("blocking_inbound_anomaly_score", "blocking_outbound_anomaly_score"), wanted);
    assert_eq!(score("other", "another"), Scores::default());
}

#[test]
fn skips_go_to_their_marker_or_to_the_end() {
    let rules = "SecRule ARGS:a \"@streq 1\" \"id:1,phase:2,pass,nolog,skipAfter:END\"\n\
                 SecAction \"id:2,phase:2,pass\"\nSecMarker END\nSecAction \"id:3,phase:2,pass,skip:1\"\n\
                 SecAction \"id:4,phase:2,pass\"\nSecAction \"id:5,phase:2,pass,skipAfter:NOWHERE\"\nSecAction \"id:6,phase:2,pass\"";
    assert_eq!(ids(rules, &Request::get("/?a=1")), [3, 5]);
    assert_eq!(ids(rules, &Request::get("/?a=2")), [2, 3, 5]);
}

#[test]
fn targets_count_exclude_and_select() {
    let rules = "SecRule &ARGS \"@eq 3\" \"id:1,phase:2,pass\"\n\
                 SecRule ARGS|!ARGS:b|!ARGS:/^c/ \"@streq x\" \"id:2,phase:2,pass\"\n\
                 SecRule ARGS:/^B$/ \"@streq x\" \"id:3,phase:2,pass\"\n\
                 SecRule REQUEST_HEADERS:host \"!@streq h\" \"id:4,phase:2,pass\"\n\
                 SecRule &REQUEST_HEADERS:Nope \"@eq 0\" \"id:5,phase:2,pass\"";
    let request = Request { headers: &[("Host", "h")], ..Request::get("/?a=y&b=x&cc=x") };
    assert_eq!(ids(rules, &request), [1, 3, 5]);
}

#[test]
fn multi_match_sees_every_stage() {
    let rule = |extra: &str| {
        format!("SecRule ARGS \"@streq ABC\" \"id:1,phase:2,pass,t:hexDecode,t:lowercase{extra}\"")
    };
    let request = Request::get("/?a=414243");
    assert_eq!(ids(&rule(""), &request), [0; 0]);
    assert_eq!(ids(&rule(",multiMatch"), &request), [1]);
}

#[test]
fn controls_hold_for_the_rest_of_the_transaction() {
    let rules = "SecRule REQUEST_URI \"@beginsWith /a\" \"id:1,phase:1,pass,nolog,ctl:ruleRemoveById=10-19\"\n\
                 SecRule REQUEST_URI \"@beginsWith /b\" \"id:2,phase:1,pass,nolog,ctl:ruleRemoveTargetByTag=t;ARGS:x\"\n\
                 SecRule REQUEST_URI \"@beginsWith /c\" \"id:3,phase:1,pass,nolog,ctl:ruleEngine=Off\"\n\
                 SecRule ARGS \"@contains bad\" \"id:11,phase:2,pass,tag:t\"\n\
                 SecRule ARGS \"@contains bad\" \"id:21,phase:2,pass\"";
    assert_eq!(ids(rules, &Request::get("/?x=bad")), [11, 21]);
    assert_eq!(ids(rules, &Request::get("/a?x=bad")), [21]);
    assert_eq!(ids(rules, &Request::get("/b?x=bad")), [21]);
    assert_eq!(ids(rules, &Request::get("/c?x=bad")), [0; 0]);
}

#[test]
fn later_directives_change_earlier_rules() {
    let rules = "SecRule ARGS \"@contains bad\" \"id:1,phase:2,pass,tag:t\"\nSecRule ARGS \"@contains bad\" \"id:2,phase:2,pass\"\n\
                 SecRule ARGS \"@contains bad\" \"id:3,phase:2,pass,msg:'m'\"\nSecRule ARGS \"@contains bad\" \"id:4,phase:2,pass\"\n\
                 SecRuleRemoveByTag t\nSecRuleUpdateTargetById 2 !ARGS:x\nSecRuleRemoveByMsg m\n\
                 SecRuleUpdateActionById 4 \"deny,status:409\"";
    let policy = policy(rules, PolicyOptions::default());
    let (transaction, verdict) = Request::get("/?x=bad").run(&policy);
    assert_eq!(verdict.status(), Some(409));
    assert_eq!(transaction.matches().len(), 1);
}

#[test]
fn bodies_are_arguments_whatever_their_kind() {
    let rules = "SecRule ARGS \"@contains bad\" \"id:1,phase:2,pass,msg:'%{MATCHED_VAR_NAME}'\"\n\
                 SecRule XML:/* \"@contains bad\" \"id:2,phase:2,pass\"\n\
                 SecRule FILES \"@endsWith .php\" \"id:3,phase:2,pass\"\n\
                 SecRule REQBODY_ERROR \"!@eq 0\" \"id:4,phase:2,pass\"";
    let policy = policy(rules, PolicyOptions::default());
    let name = |request: Request<'_>| request.run(&policy).0.matches()[0].message.clone();
    assert_eq!(name(Request::post("/", FORM, b"a=1&b=bad")), b"ARGS:b");
    let json = &[("Content-Type", "application/vnd.api+json")];
    assert_eq!(name(Request::post("/", json, br#"{"a":{"b":"bad"}}"#)), b"ARGS:json.a.b");
    let xml = &[("Content-Type", "text/xml; charset=utf-8")];
    assert_eq!(Request::post("/", xml, b"<a>bad</a>").ids(&policy), [2]);
    let multipart = &[("Content-Type", "multipart/form-data; boundary=B")];
    let body = b"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.php\"\r\n\r\nx\r\n--B--\r\n";
    assert_eq!(Request::post("/", multipart, body).ids(&policy), [3]);
}

#[test]
fn what_is_sanitised_appears_in_no_report() {
    let rules = "SecAction \"id:1,phase:1,pass,nolog,sanitiseArg:password\"\n\
                 SecRule ARGS \"@contains secret\" \"id:2,phase:2,pass,logdata:'%{MATCHED_VAR}'\"";
    let policy = policy(rules, PolicyOptions::default());
    let (transaction, _) = Request::get("/?password=secret").run(&policy);
    let found = &transaction.matches()[0];
    assert_eq!(found.values[0].variable, b"ARGS:password");
    assert_eq!(found.values[0].value, b"******");
    assert_eq!(found.data, b"******");
}

#[test]
fn a_ninth_value_that_is_sanitised_is_not_in_the_data_either() {
    let rules = "SecAction \"id:1,phase:1,pass,nolog,sanitiseArg:password\"\n\
                 SecRule ARGS \"@contains secret\" \"id:2,phase:2,pass,logdata:'%{MATCHED_VAR}'\"";
    let policy = policy(rules, PolicyOptions::default());
    let others: String = (0..8).map(|n| format!("{n}=secret&")).collect();
    let (transaction, _) = Request::get(&format!("/?{others}password=secret")).run(&policy);
    assert_eq!(transaction.matches()[0].data, b"******");
}

#[test]
fn stars_of_a_client_mask_nothing() {
    let rules =
        "SecRule ARGS \"@contains **\" \"id:1,phase:2,pass,logdata:'found %{MATCHED_VAR}'\"";
    let policy = policy(rules, PolicyOptions::default());
    let (transaction, _) = Request::get("/?a=***").run(&policy);
    assert_eq!(transaction.matches()[0].data, b"found ***");
}

#[test]
fn response_phases_see_heads_and_bodies() {
    let rules = "SecRule RESPONSE_STATUS \"@eq 500\" \"id:1,phase:3,pass\"\n\
                 SecRule RESPONSE_BODY \"@contains stack trace\" \"id:2,phase:4,deny\"";
    for (kind, expected) in
        [(&b"text/html; charset=utf-8"[..], &[1_u64, 2][..]), (b"image/png", &[1])]
    {
        let options = PolicyOptions { response_bodies: true, ..PolicyOptions::default() };
        let policy = policy(rules, options);
        let (mut transaction, _) = Request::get("/").run(&policy);
        transaction.response_line(b"HTTP/1.1", 500);
        transaction.response_header(b"Content-Type", kind);
        assert!(transaction.response_headers().is_pass());
        let verdict = transaction.response_body(b"a stack trace");
        assert_eq!(verdict.is_pass(), expected.len() == 1);
        assert_eq!(transaction.matches().iter().map(|m| m.id).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn every_fault_of_a_file_is_told_with_its_line() {
    let rules = "SecRule ARGS \"@inspectFile x\" \"id:1\"\nSecRule NOPE \"@rx (\" \"id:2,exec:/x\"\n\
                 SecRule ARGS \"@rx (\" \"id:3\"\nSecRule ARGS \"@rx a\" \"phase:1\"\nSecAction \"id:4,chain\"\n\
                 SecAction \"id:5\"\nSecAction \"id:5\"\nSecNonsense On\nSecRule ARGS \"@pmFromFile none.data\" \"id:7\"\n\
                 SecRule ARGS \"@rx a\" \"id:8,msg:'%{NO.such}'\"\nSecRule ARGS:/(/ \"@rx a\" \"id:9\"\n\
                 SecRule !ARGS:a \"@rx a\" \"id:10\"\n\
                 SecRule ARGS|!REMOTE_USER|FULL_REQUEST \"@rx a\" \"id:12\"\n\
                 SecRule ARGS:/a(?!b)/|!ARGS:/(a)\\1/ \"@rx a\" \"id:13\"\nSecAction \"id:11,chain\"";
    let faults = load(rules).unwrap_err();
    let shown: Vec<_> = faults.0.iter().map(ToString::to_string).collect();
    let expected = [
        "rules.conf:1: unsupported operator `@inspectFile`",
        "rules.conf:2: unknown variable `NOPE`",
        "rules.conf:2: unsupported action `exec`",
        "rules.conf:3: the pattern cannot be compiled: ",
        "rules.conf:4: a rule without `id`",
        "rules.conf:6: a chained rule cannot have an `id`",
        "rules.conf:8: unknown directive `SecNonsense`",
        "rules.conf:9: cannot read `none.data`",
        "rules.conf:10: unknown macro `%{NO.such}`",
        "rules.conf:11: the selector's pattern cannot be compiled: ",
        "rules.conf:12: a rule that looks at nothing",
        "rules.conf:13: `FULL_REQUEST` never has a value here",
        "rules.conf:14: the selector's pattern cannot be compiled: look-around and back references",
        "rules.conf:14: the selector's pattern cannot be compiled: look-around and back references",
        "rules.conf:15: `chain` without a rule behind it",
    ];
    for (shown, wanted) in shown.iter().zip(expected) {
        assert!(shown.starts_with(wanted), "expected {wanted}, found {shown}");
    }
    assert_eq!(shown.len(), expected.len(), "{}", shown.join("\n"));
}

#[test]
fn faults_are_told_file_by_file_as_they_were_read() {
    let text = |text: &str| text.as_bytes().to_vec();
    let files = Memory(BTreeMap::from([
        ("z.conf".into(), text("SecAction \"phase:1\"\nInclude a.conf\nSecNonsense On\n")),
        ("a.conf".into(), text("SecRule ARGS \"@rx (\" \"id:1\"\nSecNonsense On\n")),
        ("b.conf".into(), text("SecNonsense On\n")),
    ]));
    let roots = ["z.conf", "b.conf"].map(Path::new);
    let faults = Ruleset::load(&files, &roots, &Interner::default()).unwrap_err();
    let places: Vec<_> = faults.0.iter().map(|fault| fault.at.to_string()).collect();
    assert_eq!(places, ["z.conf:1", "z.conf:3", "a.conf:1", "a.conf:2", "b.conf:1"]);
}

/// Before, such rules loaded and never matched.
#[test]
fn the_time_of_day_and_what_was_cut_can_be_asked_for() {
    let rules = "SecRule TIME \"@streq 12:34:56\" \"id:1,phase:1,pass,msg:'%{TIME_YEAR} %{TIME_MON} %{TIME_DAY} %{TIME_WDAY}'\"\n\
                 SecRule TIME_HOUR \"@gt 11\" \"id:2,phase:1,pass\"\n\
                 SecRule INBOUND_DATA_ERROR \"@eq 1\" \"id:3,phase:2,pass\"";
    let limits = Limits { body: 10, ..Limits::default() };
    let policy = policy(rules, PolicyOptions { limits, mode: Mode::Detect, ..Default::default() });
    // A Friday.
    let connection = Connection { time: 1_795_178_096, ..Connection::default() };
    let mut transaction = Transaction::new(&policy, &connection);
    transaction.request_line(b"POST", b"/", b"HTTP/1.1");
    transaction.request_headers();
    transaction.request_body(b"more than ten");
    let found: Vec<_> = transaction.matches().iter().map(|found| found.id).collect();
    assert_eq!(found, [1, 2, 3]);
    assert_eq!(transaction.matches()[0].message, b"2026 10 20 5");
}

#[test]
fn engine_directives_are_notices() {
    let rules =
        load("SecRuleEngine Off\nSecRequestBodyLimit 1\nSecAction \"id:1,phase:1,deny\"").unwrap();
    assert_eq!(rules.notices().len(), 2);
    assert_eq!(
        rules.notices()[0].to_string(),
        "rules.conf:1: `SecRuleEngine Off` has no effect: the policy decides"
    );
}

#[test]
fn the_clients_country_is_looked_up_and_nobody_elses() {
    let rules = "SecAction \"id:1,phase:1,pass,nolog,setvar:tx.real_ip=%{REMOTE_ADDR}\"\n\
                 SecRule TX:REAL_IP \"@geoLookup\" \"id:2,phase:1,pass,chain\"\n\
                 SecRule GEO:COUNTRY_CODE \"@within KP XX\" \"\"\n\
                 SecRule ARGS:ip \"@geoLookup\" \"id:3,phase:1,pass\"";
    let policy = policy(rules, PolicyOptions::default());
    let ids = |country| {
        let connection = Connection { country, ..Connection::default() };
        let mut transaction = Transaction::new(&policy, &connection);
        transaction.request_line(b"GET", b"/?ip=192.0.2.1", b"HTTP/1.1");
        transaction.request_headers();
        transaction.matches().iter().map(|m| m.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Some(*b"KP")), [2]);
    assert_eq!(ids(Some(*b"DE")), [0; 0]);
    assert_eq!(ids(None), [0; 0]);
}
