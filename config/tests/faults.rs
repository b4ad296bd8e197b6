//! What an operator reads when a document is refused: every fault at once, each in its place.

use insta::assert_snapshot;
use tidegate_config::parse_with;

fn faults(text: &str) -> String {
    let env = |name: &str| match name {
        "BAD_ADDRESS" => Some("hunter2".to_owned()),
        _ => None,
    };
    match parse_with(text, "tidegate.toml", &env) {
        Ok(loaded) => panic!("accepted: {:#?}", loaded.config),
        Err(faults) => faults.to_string(),
    }
}

fn warnings(text: &str) -> String {
    let loaded = parse_with(text, "tidegate.toml", &|_| None).unwrap_or_else(|f| panic!("{f}"));
    loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect()
}

#[test]
fn syntax() {
    assert_snapshot!(faults(
        r#"
        [listeners.http
        address = "0.0.0.0:80"
        [acme]
        email = "ops@example.com
        email = "twice@example.com"
        [server]
        workers = 99999999999999999999
        workers = 2
        "#
    ));
}

#[test]
fn values_of_the_wrong_kind_or_form() {
    assert_snapshot!(faults(
        r#"
        [server]
        workers = "4"
        drain = "2 sconds"
        connections = 0
        rate_limit_keys = 1.5

        [log]
        format = "jsn"
        level = "warning"
        access = "access.log"

        [listeners.http]
        address = "0.0.0.0"
        redirect_https = "yes"
        protocols = ["http2", "h3"]
        trusted_proxies = ["10.0.0.1/8", "everyone"]
        limits = { header_bytes = "2MB", uri_bytes = "2MiB", keepalive_timeout = "0s" }

        [listeners.other]
        address = ":80"
        protocols = []

        [listeners."bad name"]
        address = "127.0.0.1:81"

        [control]
        address = "unix:control.sock"
        probes = 9181
        "#
    ));
}

#[test]
fn unknown_and_missing_keys() {
    assert_snapshot!(faults(
        r#"
        [listners.http]
        address = "0.0.0.0:80"

        [listeners.http]
        adress = "0.0.0.0:80"

        [waf.strict]
        mode = "blok"
        paranoia = 5
        rules = "owasp"
        exclusions = [{}, { rules = ["b"], target = "args" }]

        [upstreams.shop]
        endpoint = "10.0.0.1:80"
        health = { path = "/", intervall = "2s" }

        [services.shop]
        versions = { blue = { upstream = "shop" } }

        [routes.shop]
        service = "shop"
        waf = "strict"
        colour = "blue"

        [control]
        source = "api"
        "#
    ));
}

#[test]
fn upstreams() {
    assert_snapshot!(faults(
        r#"
        [upstreams.a]
        endpoints = ["shop.internal:8080", "http://10.0.0.1:80", "10.0.0.1", "10.0.0.2:0"]
        balance = "hash"
        health = { host = "x", status = "200", timeout = "2h" }
        timeouts = { connect = "0s", total = "25h" }
        retries = { attempts = 11, budget_percent = 101 }

        [upstreams.b]
        endpoints = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80"]
        health = { path = "healthz", status = "399-200" }
        tls = {}

        [upstreams.c]
        endpoints = []
        tls = { server_name = "Shop.internal" }

        [upstreams.d]
        endpoints = "10.0.0.1:80"
        health = { path = "/healthz", status = 600 }
        "#
    ));
}

#[test]
fn services_and_references() {
    assert_snapshot!(faults(
        r#"
        [listeners.http]
        address = "0.0.0.0:80"

        [upstreams.shop-blue]
        endpoints = ["10.0.0.1:80"]

        [services.shop]
        sticky = { cookie = "a b" }
        versions = { blue = { upstream = "shop-bleu", weight = 10001 }, green = { upstream = "x", weight = 0.001 } }

        [services.zero]
        sticky = { cookie = "a", header = "b" }
        versions = { blue = { upstream = "shop-blue", weight = 0 } }

        [services.none]
        sticky = { client_ip = false }
        versions = {}

        [services.least]
        sticky = {}

        [rate_limits.clients]
        key = ["client_ip", "client_ip"]
        rate = "100"

        [rate_limits.users]
        key = "jwt:sub"
        rate = "0/s"
        burst = 0

        [rate_limits.others]
        key = ["client-ip", "header:a b"]
        rate = "1/d"

        [routes.a]
        service = "shp"
        rate_limits = ["client", "clients", "clients"]
        listeners = ["https"]
        "#
    ));
}

#[test]
fn routes() {
    assert_snapshot!(faults(
        r#"
        [listeners.http]
        address = "0.0.0.0:80"

        [routes.hosts]
        hosts = ["Shop.example.com", "shop.example.com:80", "*example.com", "~(", "a_b", "bücher.example"]
        respond = {}

        [routes.both]
        host = "a.example.com"
        hosts = ["b.example.com"]
        respond = {}

        [routes.path1]
        path = "/shop/"
        methods = ["get", "GET", "A B"]
        headers = { "a b" = "1", X-A = "1", x-a = "2", x-b = 2 }
        respond = { status = 204, body = "x", content_type = "text" }

        [routes.path2]
        path = "=//a/../%7e?x"
        respond = { status = 199 }
        redirect = { to = "/" }

        [routes.path3]
        path = "=//a/../%7e"
        redirect = { to = "example.com", status = 304 }

        [routes.path4]
        path = "shop"
        redirect = { to = "https://example.com/?a=b", keep_path = true }
        body_limit = "0.5B"

        [routes.path5]
        path = "~[a-"

        [routes.path6]
        path = "~(a{1000}){1000}"
        respond = {}

        [routes.ops]
        respond = {}
        request_headers = { set = { Connection = "close", x = "a\nb" }, add = { host = "x" }, remove = ["TE"] }
        response_headers = { set = { host = "x" }, remove = ["content-length"] }
        "#
    ));
}

#[test]
fn precedence() {
    assert_snapshot!(faults(
        r#"
        [listeners]
        http = { address = "0.0.0.0:80" }
        other = { address = "0.0.0.0:81" }

        [routes]
        # Same host and path.
        a = { host = "a.example.com", respond = {} }
        b = { hosts = ["b.example.com", "a.example.com"], path = "/", respond = {} }
        # As many other matchers, and a request may meet both.
        c = { path = "/c", headers = { x = "1" }, respond = {} }
        d = { path = "/c", headers = { y = "1" }, respond = {} }
        e = { path = "/e", methods = ["GET", "POST"], respond = {} }
        f = { path = "/e", methods = ["POST", "PUT"], respond = {} }
        g = { path = "/g", listeners = ["http", "other"], respond = {} }
        h = { path = "/g", listeners = ["other"], respond = {} }

        # No ties: more matchers, other methods, other values, other listeners, other patterns.
        m1 = { path = "/m", respond = {} }
        m2 = { path = "/m", methods = ["GET"], respond = {} }
        m3 = { path = "/m", methods = ["POST"], respond = {} }
        m4 = { path = "/m", headers = { x = "1", y = "1" }, respond = {} }
        m5 = { path = "/m", headers = { x = "2", z = "1" }, respond = {} }
        n1 = { path = "/n", listeners = ["http"], respond = {} }
        n2 = { path = "/n", listeners = ["other"], respond = {} }
        o1 = { path = "/o", respond = {} }
        o2 = { path = "=/o", respond = {} }
        o3 = { path = "~/o", respond = {} }
        p1 = { host = "*.example.com", respond = {} }
        p2 = { host = "*.b.example.com", respond = {} }
        "#
    ));
}

#[test]
fn no_listener() {
    assert_snapshot!(faults("[routes.a]\nrespond = {}"));
}

#[test]
fn addresses_and_certificates() {
    assert_snapshot!(faults(
        r#"
        [listeners.a]
        address = "0.0.0.0:443"
        redirect_https = true
        tls = { policy = "old", min_version = "1.1", names = ["*.example.com", "a.example.com"] }

        [listeners.b]
        address = "127.0.0.1:9180"
        tls = {}

        [listeners.c]
        address = "127.0.0.1:9181"
        tls = { certificates = [{ cert = "a.pem" }] }

        [listeners.d]
        address = "127.0.0.1:9181"
        tls = { issuer = "internal", policy = "modern", min_version = "1.2" }

        [routes.a]
        host = "shop.example.com"
        respond = {}

        [control]
        probes = "127.0.0.1:9180"
        "#
    ));
}

#[test]
fn client_certificates() {
    assert_snapshot!(faults(
        r#"
        [client_auth.staff]
        mode = "required"
        allow = [{}, { dns = "*.Corp.example" }, { fingerprint = "12:34" }, { common_name = "" }]
        forward = ["subject", "dn"]

        [client_auth.ops]
        ca = "ops.pem"

        [listeners.a]
        address = "0.0.0.0:443"
        [listeners.a.tls]
        client_auth = "stuff"
        hosts = [
          { names = ["a.test", "~b"], client_auth = "ops" },
          { names = [] },
          { client_auth = "ops" },
        ]

        [listeners.b]
        address = "0.0.0.0:444"
        tls = { hosts = [{ names = ["a.test"] }, { names = ["b.test", "a.test"] }] }

        [upstreams.a]
        endpoints = ["10.0.0.1:80"]
        tls = { server_name = "a.test", certificate = "a.pem" }
        "#
    ));
}

#[test]
fn on_demand() {
    assert_snapshot!(faults(
        r#"
        [listeners.a]
        address = "0.0.0.0:443"
        tls = { on_demand = {} }

        [listeners.b]
        address = "0.0.0.0:444"
        [listeners.b.tls]
        issuer = "internal"
        on_demand = { names = ["~a", "*.corp.internal", "a.example.com"], ca = "ca.pem", keep = "1h" }

        [listeners.c]
        address = "0.0.0.0:445"
        tls = { on_demand = { ask = "http://10.0.0.1/allowed", wait = "0s", max_names = 0 } }

        [listeners.d]
        address = "0.0.0.0:446"
        tls = { on_demand = { ask = "https://user:word@names.example/allowed" } }
        "#
    ));
    assert_snapshot!(warnings(
        r#"
        [acme]
        [listeners.a]
        address = "0.0.0.0:443"
        tls = { on_demand = { names = ["*.customers.example"], wait = "10s" } }

        [routes.customers]
        hosts = ["*.customers.example", "*.eu.customers.example", "*.example.com"]
        respond = {}
        "#
    ));
}

#[test]
fn acme() {
    assert_snapshot!(faults(
        r#"
        [acme]
        email = "ops"
        challenges = ["dns-02", "http-01", "http-01"]
        renew_at_percent = 4
        issuers = [
          "letsencript",
          "zerossl",
          "https://ca.example.com/directory",
          { name = "zerossl" },
          { name = "corp" },
          { directory = "http://ca.example.com/directory" },
          { directory = "https://ca.example.com/directory", eab = { kid = "" } },
          5,
        ]
        "#
    ));
    assert_snapshot!(faults(
        r#"
        [acme]
        challenges = ["dns-01"]
        "#
    ));
    assert_snapshot!(faults(
        r#"
        [acme.dns.both]
        webhook = { url = "https://user:word@dns.example.com/acme?token=topsecret" }
        exec = { command = "/bin/true" }
        [acme.dns.none]
        domains = ["*.example.com", "a..b"]
        [acme.dns.update]
        domains = ["example.com"]
        ttl = "0s"
        rfc2136 = { server = "10.0.0.53", key = "a key", algorithm = "hmac-md5", secret = "topsecret!" }
        [acme.dns.hook]
        domains = ["example.com"]
        webhook = { url = "https://user:topsecret@dns.example.com/" }
        "#
    ));
    assert_snapshot!(faults(
        r#"
        [acme.dns.one]
        exec = { command = "/bin/true" }
        [acme.dns.other]
        exec = { command = "/bin/true", environment = { TOKEN = "" } }
        "#
    ));
    assert_snapshot!(faults(
        r#"
        [acme.dns.one]
        exec = { command = "/bin/true" }
        [acme.dns.other]
        exec = { command = "/bin/true" }
        "#
    ));
    assert_snapshot!(faults(
        r#"
        [acme]
        issuers = ["letsencrypt", { name = "letsencrypt", directory = "https://ca.example.com" }]
        "#
    ));
}

#[test]
fn what_a_reference_brings_in_is_not_shown() {
    assert_snapshot!(faults(
        r#"
        [server]
        drain = "${DRAIN}"
        [listeners.a]
        address = "${BAD_ADDRESS}"
        [listeners.b]
        address = { file = "/nowhere/address" }
        [listeners.c]
        address = "${:-x}"
        [listeners.d]
        address = { file = "Cargo.toml", line = 1 }
        [upstreams.u]
        endpoints = ["${BAD_ADDRESS}"]
        "#
    ));
}

#[test]
fn secrets_are_masked() {
    let shown = faults(
        r#"
        [acme]
        issuers = [
          { name = "zerossl", eab = { kid = "k", hmac_key = "hunter 2", more = "hunter2" } },
          { name = "a", directory = "https://a", eab = { hmac_kye = "hunter2", kid = 1 } },
        ]
        "#,
    );
    assert!(!shown.contains("hunter"));
    assert_snapshot!(shown);
}

#[test]
fn tables_in_the_place_of_values_and_the_other_way_round() {
    assert_snapshot!(faults(
        r#"
        server = 1
        routes = []
        services = { a = "b" }
        listeners = { a = { address = {} } }
        upstreams = { a = { endpoints = [[], {}], timeouts = "5s" } }
        control = { state = "" }
        log = { level = 2001-01-01 }
        "#
    ));
}

#[test]
fn only_the_first_hundred_are_printed() {
    let text = (0..250).map(|n| format!("key-{n} = 1\n")).collect::<String>();
    let shown = faults(&text);
    assert!(shown.ends_with("\nand 150 more faults"), "{shown}");
    assert_eq!(shown.matches("unknown key").count(), 100);
}

#[test]
fn accepted_and_yet_worth_a_look() {
    assert_snapshot!(warnings(
        r#"
        [listeners.https]
        address = "0.0.0.0:443"
        tls = {}

        [acme]
        challenges = ["http-01"]

        [upstreams.spare]
        endpoints = ["10.0.0.1:80"]

        [upstreams.used]
        endpoints = ["10.0.0.1:80"]

        [services.idle]
        versions = { one = { upstream = "used", weight = 1 } }

        [rate_limits.idle]
        key = "path"
        rate = "1/s"

        [routes.tenants]
        hosts = ["*.example.com", "~^a", "*.test"]
        respond = {}

        [control]
        address = "0.0.0.0:9180"
        "#
    ));
    assert_snapshot!(warnings(
        r#"
        [listeners.http]
        address = "0.0.0.0:80"
        [listeners.https]
        address = "0.0.0.0:443"
        tls = {}

        [acme.dns.zone]
        domains = ["example.com"]
        exec = { command = "/bin/true" }

        [routes.tenants]
        hosts = ["*.shop.example.com", "*.example.net"]
        respond = {}
        "#
    ));
    assert_snapshot!(warnings("[listeners.a]\naddress = \"127.0.0.1:80\""));
}

#[test]
fn the_native_layer_of_waf_policies() {
    assert_snapshot!(faults(
        r#"
        [geo]
        county = "x.mmdb"

        [dns]
        servers = ["127.0.0.1"]

        [address_lists.empty]
        files = []

        [address_lists.abusers]
        files = ["abusers.netset"]
        max_entries = 0

        [waf.clients]
        bypass = {}
        deny = { addresses = ["192.0.2.1/24"], lists = ["abuser"], countries = ["de", "DEU", "UK", "uk", "EU", "XX", "xx", "XK"], asns = [0] }
        allow = { adresses = [] }

        [waf.requests]
        methods = ["get"]
        paths = ["api"]
        content_types = ["json", "Text/plain", "text/html; charset=utf-8", "a/b/c"]
        crawlers = [
          { user_agent = "", domains = ["googlebot.com"] },
          { user_agent = "bingbot", domains = ["*.search.msn.com", "com"] },
          { user_agent = "Applebot", domains = [] },
        ]

        [waf.unknown]
        crawlers = "all"

        [waf.patches]
        patches = [
          { name = "a b", target = "ARGS:x", matches = "x" },
          { name = "none", target = "ARGS:x" },
          { name = "two", target = "ARGS:x", matches = "x", longer_than = 5 },
          { name = "target", target = "ARGS:x\" \"id:1", matches = "x" },
          { name = "lower", target = "args", matches = "x" },
          { name = "control", target = "ARGS:x", matches = "a\nb" },
          { name = "end", target = "ARGS:x", unless = 'a\' },
          { name = "empty", target = "ARGS:x", matches = "" },
        ]
        "#
    ));
}

#[test]
fn a_policy_has_what_it_needs() {
    assert_snapshot!(faults(
        r#"
        [geo]
        country = "GeoLite2-Country.mmdb"

        [waf.idle]
        rules = []
        bypass = { addresses = ["10.0.0.0/8"] }

        [waf.strict]
        rules = []
        deny = { countries = ["KP"], asns = [64496] }
        patches = [
          { name = "a", target = "ARGS:x", matches = "x" },
          { name = "a", target = "ARGS:y", matches = "y" },
        ]

        [routes.a]
        waf = "strict"
        respond = {}
        [listeners.a]
        address = "127.0.0.1:80"
        "#
    ));
    assert_snapshot!(faults("[waf.a]\nallow = { countries = ['DE'] }"));
}
