//! Documents that are accepted.

use std::time::Duration;
use tidegate_config::*;

fn load(text: &str) -> Loaded {
    parse(text, "tidegate.toml").unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn the_example_of_the_design() {
    let Loaded { config, warnings, files, .. } = load(include_str!("example.toml"));
    assert_eq!(warnings, []);
    assert_eq!(files, [], "text is no file");

    assert_eq!(config.listeners["http"].redirect_https, Some(443));
    assert_eq!(config.listeners["http"].protocols, Protocols::default());
    assert_eq!(config.listeners["https"].tls.as_ref().unwrap().issuer, TlsIssuer::Acme);
    let acme = config.acme.as_ref().unwrap();
    assert_eq!(acme.issuers[0].directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(acme.challenges, [Challenge::TlsAlpn01, Challenge::Http01]);
    let blue = &config.upstreams["shop-blue"];
    assert_eq!(blue.endpoints.len(), 2);
    assert_eq!(blue.timeouts, UpstreamTimeouts::default());
    let http = HealthCheck::Http { path: "/healthz".to_owned(), host: None, status: (200, 399) };
    assert_eq!(blue.health.as_ref().unwrap().check, http);
    let shop = &config.services["shop"];
    assert_eq!(shop.sticky, Some(Sticky::Cookie("tg_shop".to_owned())));
    assert_eq!(shop.versions["blue"].weight.hundredths(), 10_000);
    let limit = &config.rate_limits["per-client"];
    assert_eq!(
        (&limit.key[..], limit.rate.count, limit.burst),
        (&[LimitKey::ClientIp][..], 100, 200)
    );
    let route = &config.routes["shop"];
    assert_eq!(route.hosts, [HostPattern::Exact("shop.example.com".to_owned())]);
    assert_eq!(route.path, PathPattern::Prefix("/".to_owned()));
    assert!(route.request_headers.is_empty());
    assert_eq!(config.control.probes, Some("0.0.0.0:9181".parse().unwrap()));
}

#[test]
fn an_empty_document_is_all_defaults() {
    let config = load("").config;
    assert_eq!(config.server, Server::default());
    assert_eq!(config.server.drain, Duration::from_secs(30));
    assert_eq!(config.log, Log::default());
    assert_eq!(config.control, Control::default());
    assert!(config.listeners.is_empty() && config.routes.is_empty());
}

#[test]
fn an_upstream_with_nothing_but_endpoints_has_every_default() {
    let text = "[upstreams.u]\nendpoints = ['10.0.0.1:80']\nhealth = {}";
    let upstream = &load(text).config.upstreams["u"];
    assert_eq!((upstream.balance, upstream.protocol), (Balance::P2c, UpstreamProtocol::Http1));
    assert_eq!(upstream.pool, Pool::default());
    assert_eq!(upstream.retries, Retries::default());
    let health = upstream.health.as_ref().unwrap();
    assert_eq!(health.check, HealthCheck::Tcp);
    assert_eq!(
        (health.interval.as_secs(), health.healthy_after, health.unhealthy_after),
        (2, 2, 3)
    );
}

#[test]
fn a_limit_without_burst_takes_its_rate() {
    let config = load("[rate_limits.l]\nkey = 'path'\nrate = '30/m'").config;
    assert_eq!(config.rate_limits["l"].burst, 30);
}

#[test]
fn only_values_in_force_are_resolved() {
    let text = "[server]\ndrain = '${UNSET:-7s}'";
    let loaded = parse_with(text, "t.toml", &|_| None).unwrap();
    assert_eq!(loaded.config.server.drain, Duration::from_secs(7));
    assert_eq!(loaded.document["server"]["drain"], "${UNSET:-7s}");
}

#[test]
fn files_of_lists_and_databases_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str| std::fs::write(dir.path().join(name), name).unwrap();
    ["a.netset", "b.netset", "c.txt", "country.mmdb"].into_iter().for_each(write);
    let text = "[address_lists.l]\nfiles = ['*.netset', 'c.txt']\n[geo]\ncountry = 'country.mmdb'";
    let name = dir.path().join("tidegate.toml");
    let loaded = parse(text, name.to_str().unwrap()).unwrap();
    let files: Vec<_> = loaded.files.iter().map(|file| file.path.file_name().unwrap()).collect();
    assert_eq!(files, ["a.netset", "b.netset", "c.txt", "country.mmdb"]);
    assert_eq!(loaded.directories, [dir.path()]);
}

#[test]
fn a_policy_may_do_without_rules() {
    let config = load("[waf.w]\nrules = []\nmethods = ['GET']\ncrawlers = 'known'").config;
    assert_eq!(config.waf["w"].crawlers, WafCrawlers::Known);
    assert_eq!(config.waf["w"].rules, []);
}

#[test]
fn rules_of_ones_own_stand_beside_an_installed_set() {
    let rules = |text: &str| {
        let config = load(&format!("[waf.w]\nrules = {text}")).config;
        config.waf["w"].rules.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(rules("'crs'"), ["crs"]);
    assert_eq!(rules("'/own.conf'"), ["/own.conf"]);
    assert_eq!(
        rules("['/before/*.conf', 'crs', '/own.conf']"),
        ["/before/*.conf", "crs", "/own.conf"]
    );
}

#[test]
fn networks_are_written_as_clients_are_known() {
    let faults = |text: &str| {
        let text = format!("[waf.w]\nrules = []\ndeny = {{ addresses = ['{text}'] }}");
        parse(&text, "t.toml").unwrap_err().to_string()
    };
    assert!(faults("::ffff:192.0.2.0/120").contains("write `192.0.2.0/24`"));
    assert!(faults("192.0.2.1/24").contains("write `192.0.2.0/24`"));
}
