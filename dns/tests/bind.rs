//! Updates and questions against a real name server.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../tests/support/bind.rs"]
mod server;

use server::{Bind, KEY};
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_dns::{
    Algorithm, Change, Code, Data, Kind, Question, Resolver, Tsig, TsigError, Update, UpdateError,
    ask,
};

const NAME: &str = "_acme-challenge.example.com";
const SECRET: &[u8] = b"secret of the tests of tidegate!";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn change(
    bind: &Bind,
    key: Option<&Tsig>,
    zone: &str,
    changes: &[Change<'_>],
) -> Result<(), UpdateError> {
    Update { zone, changes, key }.send(bind.address, now()).await
}

async fn texts(bind: &Bind) -> Vec<Data> {
    let question = Question { name: NAME, kind: Kind::Txt, recursive: false };
    let answer = ask(bind.address, &question).await.unwrap();
    assert!(answer.authoritative, "{answer:?}");
    let mut found = answer.found(NAME, Kind::Txt);
    found.sort_by_key(|data| format!("{data:?}"));
    found
}

#[tokio::test]
async fn records_are_added_and_removed_one_by_one_with_each_algorithm() {
    for (algorithm, word) in [
        (Algorithm::Sha256, "hmac-sha256"),
        (Algorithm::Sha384, "hmac-sha384"),
        (Algorithm::Sha512, "hmac-sha512"),
    ] {
        let bind = Bind::start(word, "");
        let key = Tsig::new(KEY.0, algorithm, SECRET).unwrap();
        let text = |text: &str| Data::Text(text.into());
        for value in ["one", "two", "two"] {
            let add = [Change::Add { name: NAME, ttl: 60, text: value }];
            change(&bind, Some(&key), "example.com", &add).await.unwrap();
        }
        assert_eq!(texts(&bind).await, [text("one"), text("two")]);
        for _ in 0..2 {
            let remove = [Change::Remove { name: NAME, text: "one" }];
            change(&bind, Some(&key), "example.com", &remove).await.unwrap();
        }
        assert_eq!(texts(&bind).await, [text("two")], "the other one stays");
    }
}

#[tokio::test]
async fn what_the_server_does_not_like_is_told_apart() {
    let bind = Bind::start("hmac-sha256", "");
    let add = [Change::Add { name: NAME, ttl: 60, text: "x" }];
    let key = |name, secret| Tsig::new(name, Algorithm::Sha256, secret).unwrap();
    let refused = |key: Option<Tsig>, zone| {
        let bind = &bind;
        async move { change(bind, key.as_ref(), zone, &add).await.unwrap_err() }
    };
    let wrong = refused(Some(key(KEY.0, b"guess")), "example.com").await;
    assert!(matches!(wrong, UpdateError::Signature(TsigError::BadSignature)), "{wrong:?}");
    let unknown = refused(Some(key("nobody", SECRET)), "example.com").await;
    assert!(matches!(unknown, UpdateError::Signature(TsigError::BadKey)), "{unknown:?}");
    let stranger = refused(Some(key("stranger", SECRET)), "example.com").await;
    assert!(matches!(stranger, UpdateError::Refused(Code(5))), "{stranger:?}");
    let unsigned = refused(None, "example.com").await;
    assert!(matches!(unsigned, UpdateError::Refused(Code(5))), "{unsigned:?}");
    let elsewhere = refused(Some(key(KEY.0, SECRET)), "example.org").await;
    assert!(matches!(elsewhere, UpdateError::Refused(Code(9))), "{elsewhere:?}");

    let late = key(KEY.0, SECRET);
    let update = Update { zone: "example.com", changes: &add, key: Some(&late) };
    let late = update.send(bind.address, now() - 1_000).await.unwrap_err();
    assert!(late.to_string().contains("differ by 10"), "{late}");
    assert_eq!(texts(&bind).await, []);
}

#[tokio::test]
async fn zones_and_aliases_are_found() {
    let alias = "_acme-challenge.shop IN CNAME shop.acme.example.net.";
    let bind = Bind::start("hmac-sha256", alias);
    let resolver = Resolver::new(&[bind.address]);
    let name = "_acme-challenge.a.b.example.com";
    let zone = resolver.ask(name, Kind::Soa).await.unwrap();
    assert_eq!(zone.zone(), Some("example.com"));
    let name = "_acme-challenge.shop.example.com";
    let alias = resolver.ask(name, Kind::Cname).await.unwrap();
    assert_eq!(alias.found(name, Kind::Cname), [Data::Name("shop.acme.example.net".into())]);
    let servers = resolver.ask("example.com", Kind::Ns).await.unwrap();
    let servers = servers.found("example.com", Kind::Ns);
    assert_eq!(servers, [Data::Name("ns.example.com".into())]);
}
