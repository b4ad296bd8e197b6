//! The HTTP/1 table of the hardening reference, row by row: what bad input gets. In
//! each case not one byte reaches the handler, the answer is the expected one whatever
//! packets the input comes in, and the connection is over.

use super::*;

/// The status line's code and the reason word answered to `input`, which must never
/// reach the handler.
async fn refusal(input: &[u8], cut: usize) -> String {
    let (handler, seen) = Scripted::recorder();
    let mut client = Client::connect(handler.clone());
    for piece in input.chunks(cut) {
        // The server may have hung up on the piece before.
        let _ = client.io.write_all(piece).await;
        tokio::task::yield_now().await;
    }
    let response = client.rest().await;
    assert_eq!(seen.lock().unwrap().as_slice(), [], "forwarded: {}", input.escape_ascii());
    assert_eq!(handler.refused.lock().unwrap().len(), 1, "{}", input.escape_ascii());
    assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
    assert!(response.contains("\r\nconnection: close\r\n"), "{response}");
    let word = response.rsplit("\r\n").next().unwrap();
    format!("{} {word}", &response[9..12])
}

async fn refused(expected: &str, inputs: &[&str]) {
    for input in inputs {
        for cut in [usize::MAX, 1.max(input.len() / 500), 7.max(input.len() / 100)] {
            let got = refusal(input.as_bytes(), cut).await;
            assert_eq!(got, expected, "cut into {cut}: {}", input.escape_debug());
        }
    }
}

/// A request with these field lines after a Host.
fn with(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n")
}

async fn refused_fields(expected: &str, fields: &[&str]) {
    for fields in fields {
        refused(expected, &[&with(fields)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn content_length_beside_transfer_encoding() {
    refused_fields(
        "400 framing_conflict",
        &[
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "content-length: 0\r\ntransfer-encoding: identity",
            "Transfer-Encoding:\r\nContent-Length: 5",
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn transfer_encoding_in_other_spellings() {
    refused_fields(
        "400 bad_transfer_encoding",
        &[
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: chunked;x=y",
            "Transfer-Encoding: ,chunked",
            "Transfer-Encoding:",
            "Transfer-Encoding: chunked\u{e9}",
        ],
    )
    .await;
    refused_fields(
        "501 unknown_transfer_coding",
        &["Transfer-Encoding: xchunked", "Transfer-Encoding: identity", "Transfer-Encoding: gzip"],
    )
    .await;
    refused_fields(
        "400 bad_header",
        &[
            "Transfer-Encoding : chunked",
            "Transfer-Encoding\t: chunked",
            "Transfer-Encoding:\x0bchunked",
            "Transfer-Encoding: chunked\x0c",
            "Transfer-Encoding: chunked\r",
            "Transfer-Encoding:\r\n chunked",
            " Transfer-Encoding: chunked",
            "X: y\r\n\tTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\0",
            "Transfer-Encoding\0: chunked",
        ],
    )
    .await;
    refused(
        "400 bad_transfer_encoding",
        &["POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn content_length_in_other_spellings() {
    refused_fields(
        "400 bad_content_length",
        &[
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: -5",
            "Content-Length: 0x5",
            "Content-Length: 5 5",
            "Content-Length: 5.0",
            "Content-Length:",
            "Content-Length: 18446744073709551616",
            "Content-Length: 9223372036854775808",
            "Content-Length: 99999999999999999999999",
        ],
    )
    .await;
    refused_fields(
        "400 bad_header",
        &["Content-Length : 5", "Content-Length: 5\n", "Content-Length: \x0b5"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn malformed_field_lines() {
    refused_fields(
        "400 bad_header",
        &[
            "X: y\nZ: w",
            "X: y\rZ: w",
            "X: \0",
            "X: a\r\n b",
            "X: a\r\n\tb",
            "no colon",
            ": no name",
            "X : y",
            "X(: y",
            "X\u{e9}: y",
            "X: \x7f",
            "X: \x1b",
            "X@Y: z",
            "X\"Y: z",
        ],
    )
    .await;
    refused(
        "400 bad_header",
        &[
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn host_must_be_one_and_valid() {
    for host in [
        "",
        "X: y\r\n",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: u@a\r\n",
        "Host: u:p@a\r\n",
        "Host: a/b\r\n",
        "Host: a b\r\n",
        "Host: a, b\r\n",
        "Host: a:\r\n",
        "Host: a:0\r\n",
        "Host: a:99999\r\n",
        "Host: a:8x\r\n",
        "Host: [::1\r\n",
        "Host: ::1\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: http://a\r\n",
        "Host: a%00\r\n",
        "Host: ..\r\n",
    ] {
        refused("400 bad_host", &[&format!("GET / HTTP/1.1\r\n{host}\r\n")]).await;
    }
    refused("400 bad_host", &["GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"]).await;
}

#[tokio::test(start_paused = true)]
async fn absolute_form_must_agree_with_host() {
    refused(
        "400 bad_host",
        &[
            "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n",
            "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\n\r\n",
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn targets_that_are_read_differently_elsewhere() {
    for target in [
        "/%00",
        "/a%0d%0ab",
        "/a%0A",
        "/a b",
        "/a  b",
        "/\u{ff}",
        "/%zz",
        "/%",
        "/%4",
        "/a#b",
        "/a\tb",
        "/\x7f",
        "/a\0b",
        "*",
        "a",
        "//a b",
        "http://u@a/",
        "http://",
        "ftp://a/",
        "a:80",
        "",
    ] {
        refused("400 bad_target", &[&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn request_lines() {
    refused(
        "400 bad_request_line",
        &[
            "GET\r\n\r\n",
            "GET /\r\n",
            "GET /\r\n\r\n",
            "GET / \r\nHost: a\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET / HTTP/1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
            "GET / HTTPS/1.1\r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\rHost: a\r\n\r\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\x16\x03\x01\x02",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ / HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    )
    .await;
    refused(
        "505 http_version",
        &[
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/0.9\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    )
    .await;
    refused(
        "405 method_not_allowed",
        &[
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
            "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn expectations() {
    refused_fields(
        "417 unknown_expectation",
        &[
            "Expect: 200-ok",
            "Expect:",
            "Expect: 100-continue, x",
            "Expect: 100-continue\r\nExpect: 100-continue",
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn sizes() {
    let huge = "x".repeat(70 * 1024);
    refused("431 header_too_large", &[&with(&format!("X: {huge}"))]).await;
    refused("431 too_many_headers", &[&with(&"X: y\r\n".repeat(200))]).await;
    refused(
        "414 uri_too_long",
        &[
            &format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &huge[..20 * 1024]),
            &format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &huge[..8 * 1024]),
            &format!("GET /{huge}"),
        ],
    )
    .await;
    refused("431 header_too_large", &[&with(&format!("X: {}", "y".repeat(32 * 1024)))]).await;
}

#[tokio::test(start_paused = true)]
async fn a_chunked_body_that_breaks_is_an_error_and_never_a_second_request() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let extension = "x".repeat(64 * 1024);
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "11111111111111111\r\nabc",
        "10000000000000000\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabcde0\r\n\r\n",
        "\r\n",
        "-3\r\n",
        "3;\x00\r\nabc\r\n0\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\n X: y\r\n\r\n",
        &format!("3;{extension}\r\nabc\r\n0\r\n\r\n"),
    ] {
        for cut in [usize::MAX, 1.max(body.len() / 500)] {
            let (handler, seen) = Scripted::recorder();
            let mut client = Client::connect(handler);
            let input = format!(
                "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{smuggled}"
            );
            for piece in input.as_bytes().chunks(cut) {
                let _ = client.io.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let response = client.rest().await;
            assert!(response.starts_with("HTTP/1.1 400 "), "{body:?}: {response}");
            assert!(response.contains("\r\nconnection: close\r\n"), "{response}");
            assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
            let seen = seen.lock().unwrap();
            assert_eq!(seen.len(), 1, "{body:?}");
            assert_eq!(seen[0].body, Err(BodyError::Malformed), "{body:?}");
        }
    }
}

/// What is fine, and what of it the handler sees.
#[tokio::test(start_paused = true)]
async fn what_passes_is_passed_as_it_came() {
    let cases = [
        (
            "GET /a/%2e%2e/b/../c//d;x/%2f%5c\\?q=%20 HTTP/1.1",
            "Host: a",
            "/a/%2e%2e/b/../c//d;x/%2f%5c\\?q=%20",
        ),
        ("GET http://A.example:80/x?y HTTP/1.1", "Host: a.EXAMPLE:80", "/x?y"),
        ("OPTIONS * HTTP/1.1", "Host: a", "*"),
        ("OPTIONS http://a HTTP/1.1", "Host: a", "*"),
        ("get / HTTP/1.1", "Host: [::1]:80", "/"),
        ("GET / HTTP/1.0", "Connection: keep-alive", "/"),
        ("GET / HTTP/1.1", "hOsT:\t a \t", "/"),
    ];
    for (line, fields, uri) in cases {
        let (handler, seen) = Scripted::recorder();
        let mut client = Client::connect(handler);
        client.send(format!("\r\n{line}\r\n{fields}\r\n\r\n")).await;
        client.io.shutdown().await.unwrap();
        let response = client.rest().await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{line}: {response}");
        assert_eq!(seen.lock().unwrap()[0].uri, uri);
    }
}

#[tokio::test(start_paused = true)]
async fn fields_are_filtered_only_as_documented() {
    let (handler, seen) = Scripted::recorder();
    let mut client = Client::connect(handler);
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 1\r\nX-Forwarded-For: 2\r\nCookie: a\r\ncookie: b\r\n\
             Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nTE: trailers\r\n\
             X: caf\u{e9}\r\n\r\n",
        )
        .await;
    client.expect(OK).await;
    let seen = seen.lock().unwrap();
    let mut names: Vec<_> =
        seen[0].headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    names.sort();
    let expected: [(&str, &[u8]); 6] = [
        ("cookie", b"a"),
        ("cookie", b"b"),
        ("host", b"a"),
        ("te", b"trailers"),
        ("x", "caf\u{e9}".as_bytes()),
        ("x-forwarded-for", b"2"),
    ];
    assert_eq!(names, expected);
}

#[tokio::test(start_paused = true)]
async fn trailers_that_must_not_arrive_late_are_dropped() {
    let (handler, seen) = Scripted::recorder();
    let mut client = Client::connect(handler);
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: evil\r\nContent-Length: 9\r\n\
             Transfer-Encoding: chunked\r\nAuthorization: x\r\nX_Y: z\r\nX-Sum: 1\r\n\r\n",
        )
        .await;
    client.expect(OK).await;
    let seen = seen.lock().unwrap();
    let trailers = seen[0].trailers.as_ref().unwrap();
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["x-sum"], "1");
}
