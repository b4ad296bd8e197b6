//! Against hyper's server: whatever we take as a request, hyper takes too, and reads
//! the same in it. The other way round does not hold, and is not meant to.

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::{
    generate::{self, Generator},
    *,
};

/// What hyper makes of a request: its target in full, its body if it was whole.
struct Theirs {
    method: Method,
    uri: http::Uri,
    version: Version,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    trailers: Option<HeaderMap>,
}

async fn ours(input: &[u8]) -> Vec<Seen> {
    let (handler, seen) = Scripted::recorder();
    let mut client = Client::connect(handler);
    client.send(input).await;
    client.io.shutdown().await.unwrap();
    client.rest().await;
    // An error is how the codec reports what was wrong with the input; a panic is not.
    drop(client.server.await.unwrap());
    std::mem::take(&mut *seen.lock().unwrap())
}

async fn theirs(input: &[u8]) -> Vec<Theirs> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let log = log.clone();
        async move {
            let (parts, body) = request.into_parts();
            let (body, trailers) = match body.collect().await {
                Ok(body) => {
                    let trailers = body.trailers().cloned();
                    (Some(body.to_bytes().to_vec()), trailers)
                }
                Err(_) => (None, None),
            };
            log.lock().unwrap().push(Theirs {
                method: parts.method,
                uri: parts.uri,
                version: parts.version,
                headers: parts.headers,
                body,
                trailers,
            });
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    });
    let (mut near, far) = tokio::io::duplex(1 << 14);
    let server = tokio::spawn(
        hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(far), service),
    );
    near.write_all(input).await.unwrap();
    near.shutdown().await.unwrap();
    let _ = near.read_to_end(&mut Vec::new()).await;
    drop(server.await.unwrap());
    std::mem::take(&mut *seen.lock().unwrap())
}

/// Fields the codec is documented to change.
fn is_ours_to_change(name: &str) -> bool {
    name.contains('_') || matches!(name, "connection" | "upgrade" | "http2-settings")
}

fn assert_agreement(ours: &Seen, theirs: &Theirs) {
    assert_eq!(ours.method, theirs.method);
    assert_eq!(ours.version, theirs.version);
    let target = match theirs.uri.authority() {
        Some(_) if ours.method == Method::OPTIONS && ours.uri == "*" => "*".into(),
        _ => theirs.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
    };
    assert_eq!(ours.uri, target);

    let filter = |headers: &HeaderMap| {
        let mut fields: Vec<_> = headers
            .iter()
            .filter(|(name, _)| !is_ours_to_change(name.as_str()))
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        fields.sort();
        fields
    };
    let mut expected = theirs.headers.clone();
    if let Some(authority) = theirs.uri.authority() {
        // HTTP/1.0 without Host.
        expected.entry("host").or_insert_with(|| authority.as_str().parse().unwrap());
    }
    assert_eq!(filter(&ours.headers), filter(&expected));

    assert_eq!(ours.body.as_ref().ok(), theirs.body.as_ref());
    for (name, value) in ours.trailers.iter().flatten() {
        let theirs = theirs.trailers.as_ref().unwrap();
        assert!(theirs.get_all(name).iter().any(|their| their == value), "trailer {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_we_take_hyper_takes_and_reads_the_same() {
    let (mut taken, mut refused) = (0, 0);
    for seed in generate::seeds(0, 4_000) {
        let input = Generator::new(seed).input();
        let (ours, theirs) = (ours(&input).await, theirs(&input).await);
        let checked = std::panic::catch_unwind(|| {
            for (n, ours) in ours.iter().enumerate().filter(|(_, ours)| ours.body.is_ok()) {
                let theirs = theirs.get(n).unwrap_or_else(|| panic!("hyper refuses {ours:?}"));
                assert_agreement(ours, theirs);
            }
        });
        assert!(checked.is_ok(), "seed {seed}: {}", input.escape_ascii());
        taken += ours.len();
        refused += theirs.len().saturating_sub(ours.len());
    }
    // The generator is worth its time only while both happen.
    assert!(taken > 2_000 && refused > 300, "taken {taken}, refused where hyper did not {refused}");
}
