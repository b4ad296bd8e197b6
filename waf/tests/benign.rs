//! What honest clients send is not blocked at paranoia 1.
//!
//! Browsers, programs, GraphQL, uploads and text in other scripts, against CRS 4 as it comes.
//! A GraphQL variable called `$first` would be blocked: rule 942290 takes it for MongoDB's
//! operator of that name, in every engine.

mod support;

use std::path::Path;

use support::{Request, shared};
use tidegate_waf::{Disk, Escaped, Files, Interner, Policy, PolicyOptions, Ruleset};

const FIREFOX: (&str, &str) =
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0");
const ACCEPT: (&str, &str) =
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

/// Targets a browser asks for.
const PAGES: &[&str] = &[
    "/",
    "/index.html?utm_source=news&utm_medium=e-mail&utm_campaign=summer+sale+2026",
    "/search?q=what+is+the+best+way+to+select+a+garden+chair",
    "/search?q=%E5%BA%AD%E3%81%AE%E6%A4%85%E5%AD%90&lang=ja",
    "/search?q=%D1%81%D0%B0%D0%B4%D0%BE%D0%B2%D1%8B%D0%B9+%D1%81%D1%82%D1%83%D0%BB",
    "/search?q=%D9%83%D8%B1%D8%B3%D9%8A+%D8%AD%D8%AF%D9%8A%D9%82%D8%A9",
    "/search?q=O%27Reilly+books+%26+more",
    "/search?q=AT%26T+50%25+off",
    "/caf%C3%A9/men%C3%BC.html",
    "/products/1234-garden-chair?color=dark-green&size=XL&sort=price_asc&page=3",
    "/api/v2/users/42/orders?from=2026-01-01T00:00:00Z&to=2026-12-31T23:59:59%2B01:00&fields=id,total,items.sku",
    "/api/items?filter%5Bprice%5D%5Bgte%5D=10&filter%5Bprice%5D%5Blte%5D=200&include=seller,reviews",
    "/static/js/app.3f9a1c.js?v=1.24.0-rc.1",
    "/oauth/callback?code=4%2F0AX4XfWh3kE9&state=eyJub25jZSI6IjEyMyJ9&scope=openid%20email%20profile",
    "/map?bbox=13.08,52.33,13.76,52.67&zoom=11&layers=osm,traffic",
    "/calendar?date=2026-11-21&view=week&tz=Europe/Berlin",
    "/img/resize?width=640&height=480&fit=cover&url=%2Fuploads%2F2026%2F11%2Fphoto.jpg",
    "/unsubscribe?token=8f14e45fceea167a5a36dedd4bea2543&mail=anna.bergstr%C3%B6m%40example.com",
    "/wiki/Select_(SQL)",
    "/faq",
];

const FORMS: &[&str] = &[
    "name=Ren%C3%A9e+M%C3%BCller&email=renee%40example.com&message=Hello%2C%0D%0A%0D%0AI+would+like+to+order+two+chairs.+Thank+you%21",
    "username=anna&password=correct+horse+battery+staple&remember=on",
    "comment=I+love+this+product+%3A-%29+it%27s+great+%26+cheap+%28only+%2420%29",
    "address%5Bstreet%5D=12+High+St.&address%5Bcity%5D=York&address%5Bzip%5D=YO1+7HH&country=GB",
    "bio=%E6%88%91%E6%98%AF%E4%B8%80%E5%90%8D%E8%BD%AF%E4%BB%B6%E5%B7%A5%E7%A8%8B%E5%B8%88%EF%BC%8C%E5%96%9C%E6%AC%A2%E8%8C%B6%E3%80%82",
    "csrf_token=dGhpcyBpcyBhIHRva2Vu&quantity=2&action=update&coupon=SUMMER-2026",
];

const DOCUMENTS: &[&str] = &[
    r#"{"customer":{"id":48213,"name":"Anna Bergström","active":true,"tags":["new","vip"]},"note":"Please deliver between 9 and 12; ring twice."}"#,
    r#"{"query":"query Orders($owner: ID!) { orders(owner: $owner) { id total items { sku quantity } } }","variables":{"owner":20},"operationName":"Orders"}"#,
    r#"[{"op":"replace","path":"/status","value":"shipped"},{"op":"add","path":"/tracking","value":"1Z999AA10123456784"}]"#,
    r#"{"event":"page_view","ts":1764000000,"props":{"url":"https://www.example.com/products/42?ref=home","title":"Gartenstühle – günstig & schön","width":1920}}"#,
    r#"{"message":"Привет, мир! Как дела?","emoji":"👍🏽","price":12.5,"none":null}"#,
    r#"{"jsonrpc":"2.0","method":"eth_blockNumber","params":[],"id":83}"#,
];

fn policy() -> Option<Policy> {
    let crs = shared()?.join("crs4");
    let mut files = vec![crs.join("crs-setup.conf.example")];
    files.extend(Disk.glob(&crs.join("rules/*.conf")).ok()?);
    let roots: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
    let rules = Ruleset::load(&Disk, &roots, &Interner::default())
        .unwrap_or_else(|faults| panic!("{faults}"));
    Policy::new(rules, PolicyOptions { paranoia: Some(1), ..PolicyOptions::default() }).ok()
}

fn passes(policy: &Policy, request: &Request<'_>) {
    let (transaction, verdict) = request.run(policy);
    let found: Vec<String> =
        transaction.matches().iter().map(|m| format!("{} {}", m.id, Escaped(&m.data))).collect();
    assert!(verdict.is_pass(), "{} {}: {found:?}", request.target, Escaped(request.body));
}

#[test]
fn pages_forms_documents_and_uploads_pass() {
    let Some(policy) = policy() else { return };
    let cookie = (
        "Cookie",
        "session=8f2c1e0b9d7a4c63; theme=dark; _ga=GA1.2.1234567890.1764000000; consent=%7B%22ads%22%3Afalse%7D",
    );
    let browser = [("Host", "www.example.com"), FIREFOX, ACCEPT, cookie];
    for target in PAGES {
        passes(&policy, &Request { headers: &browser, ..Request::get(target) });
    }
    for body in FORMS {
        let length = body.len().to_string();
        let mut headers = browser.to_vec();
        headers.push(("Content-Type", "application/x-www-form-urlencoded"));
        headers.push(("Content-Length", &length));
        passes(&policy, &Request::post("/form", &headers, body.as_bytes()));
    }
    for body in DOCUMENTS {
        let length = body.len().to_string();
        let headers = [
            ("Host", "api.example.com"),
            ("User-Agent", "okhttp/4.12.0"),
            ("Accept", "application/json"),
            ("Authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl"),
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Length", &length),
        ];
        passes(&policy, &Request::post("/api/v1/events", &headers, body.as_bytes()));
    }
    let photo: Vec<u8> =
        (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let body = [
        b"--xYzZY\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nOur h\xc3\xb6liday\r\n--xYzZY\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"IMG 2041.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n".as_slice(),
        &photo,
        b"\r\n--xYzZY--\r\n",
    ]
    .concat();
    let length = body.len().to_string();
    let mut headers = browser.to_vec();
    headers.push(("Content-Type", "multipart/form-data; boundary=xYzZY"));
    headers.push(("Content-Length", &length));
    passes(&policy, &Request::post("/upload", &headers, &body));
}
