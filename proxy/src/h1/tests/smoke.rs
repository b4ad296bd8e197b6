//! The fuzz target's invariants on the stable toolchain: seeded, a few seconds. A
//! failure prints the seed and the input.

use super::{
    generate::{self, Generator},
    *,
};

/// What came of an input.
#[derive(Debug, PartialEq)]
struct Outcome {
    seen: Vec<Seen>,
    refused: Vec<Malformed>,
    said: String,
}

async fn outcome(input: &[u8], cuts: &[usize]) -> Outcome {
    let (handler, seen) = Scripted::recorder();
    let mut client = Client::connect(handler.clone());
    let mut rest = input;
    for cut in cuts {
        let (piece, after) = rest.split_at(*cut);
        rest = after;
        let _ = client.io.write_all(piece).await;
        tokio::task::yield_now().await;
    }
    client.io.shutdown().await.unwrap();
    let said = client.rest().await;
    drop(client.server.await.expect("no panic"));
    // Whether a client waited for it is a matter of timing.
    let said = said.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let refused = handler.refused.lock().unwrap().clone();
    Outcome { seen, refused, said }
}

fn assert_sound(outcome: &Outcome) {
    assert!(outcome.refused.len() <= 1, "one refusal ends a connection");
    let answers = outcome.seen.len() + outcome.refused.len();
    let said: Vec<_> = outcome.said.split_inclusive("HTTP/1.1 ").skip(1).collect();
    assert!(said.len() <= answers, "an answer without a request");
    let faults = outcome.seen.iter().filter(|seen| seen.body.is_err()).count();
    assert!(faults <= 1, "one broken body ends a connection");
    if faults == 1 {
        assert!(outcome.seen.last().is_some_and(|last| last.body.is_err()));
        assert!(outcome.refused.is_empty(), "read on after a broken body");
    }
    for (n, answer) in said.iter().enumerate() {
        let closes = answer.contains("\r\nconnection: close\r\n");
        assert!(!closes || n + 1 == said.len(), "an answer after the last one");
    }
    for seen in &outcome.seen {
        assert!(seen.uri == "*" || seen.uri.starts_with('/'));
        assert!(seen.uri.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#'));
        assert!(seen.headers.get_all("host").iter().count() <= 1);
        assert!(
            !(seen.headers.contains_key("content-length")
                && seen.headers.contains_key("transfer-encoding"))
        );
        assert!(seen.headers.keys().all(|name| !name.as_str().contains('_')));
    }
}

#[tokio::test(start_paused = true)]
async fn no_input_breaks_the_codec_and_no_cut_changes_its_verdict() {
    for seed in generate::seeds(1 << 32, 12_000) {
        let mut generator = Generator::new(seed);
        let input = generator.input();
        let cuts = generator.cuts(input.len());
        let whole = outcome(&input, &[input.len()]).await;
        let pieces = outcome(&input, &cuts).await;
        let checked = std::panic::catch_unwind(|| {
            assert_sound(&whole);
            assert_eq!(whole, pieces, "cut into {cuts:?}");
        });
        assert!(checked.is_ok(), "seed {seed}: {}", input.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn noise_is_refused() {
    use rand::{Rng, SeedableRng};
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for _ in 0..2_000 {
        let mut input = vec![0; random.random_range(0..300)];
        random.fill(input.as_mut_slice());
        let outcome = outcome(&input, &[input.len()]).await;
        assert_eq!(outcome.seen, []);
    }
}
