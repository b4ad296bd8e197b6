use crate::rig::{Home, Node, eventually};

#[tokio::test]
async fn a_secret_is_shown_once() {
    let home = Home::new();
    let node = Node::start(&home).await;
    let body = r#"{"name": "ci", "role": "deployer", "expires_in_seconds": 3600}"#;
    let made = node.owner("POST /v1/tokens", &[], body).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    let listed = node.get("/v1/tokens").await;
    assert_eq!(listed.json()["tokens"][0]["name"], "ci");
    assert!(!listed.body.contains(&secret[21..]));
    assert_eq!(node.with_token(&secret, "GET /v1/status", "").await.status, 200);
    node.stop().await;

    for entry in std::fs::read_dir(home.dir.path().join("state")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let found = bytes.windows(secret.len() - 21).any(|w| w == &secret.as_bytes()[21..]);
        assert!(!found, "the secret is on disk");
    }
    let node = Node::start(&home).await;
    assert_eq!(node.with_token(&secret, "GET /v1/status", "").await.status, 200);
}

#[tokio::test]
async fn a_revoked_token_opens_nothing_even_when_the_disk_is_full() {
    let home = Home::new();
    let node = Node::start(&home).await;
    let secret = node.token("viewer").await;
    let id = node.get("/v1/tokens").await.json()["tokens"][0]["id"].as_str().unwrap().to_owned();
    node.disk.fill(true);
    let revoked = node.owner(&format!("DELETE /v1/tokens/{id}"), &[], "").await;
    assert_eq!(revoked.json()["durable"], false);
    let refused = node.with_token(&secret, "GET /v1/status", "").await;
    assert_eq!((refused.status, refused.reason().as_str()), (401, "unauthenticated"));
    node.disk.fill(false);
    eventually("it is written in the end", || node.plane.durable()).await;
    assert_eq!(node.with_token(&secret, "GET /v1/status", "").await.status, 401);
    node.stop().await;
    let node = Node::start(&home).await;
    assert_eq!(node.with_token(&secret, "GET /v1/status", "").await.status, 401);
    let again = node.owner(&format!("DELETE /v1/tokens/{id}"), &[], "").await;
    assert_eq!(again.reason(), "not_found");
}

#[tokio::test]
async fn a_token_made_by_another_process_opens() {
    let home = Home::new();
    let (a, b) = (Node::watching_named(&home, "a").await, Node::watching_named(&home, "b").await);
    let secret = a.token("viewer").await;
    eventually("the other process knows it", || !b.plane.list_tokens().is_empty()).await;
    assert_eq!(b.with_token(&secret, "GET /v1/status", "").await.status, 200);
}

#[tokio::test]
async fn impossible_tokens_are_refused() {
    let node = Node::alone().await;
    for body in [
        r#"{"name": "a b", "role": "viewer"}"#,
        r#"{"name": "uid:0", "role": "viewer"}"#,
        r#"{"name": "ci", "role": "root"}"#,
        r#"{"name": "ci", "role": "viewer", "expires_in_seconds": 0}"#,
        r#"{"name": "ci"}"#,
    ] {
        let refused = node.owner("POST /v1/tokens", &[], body).await;
        assert_eq!((refused.status, refused.reason().as_str()), (422, "invalid_body"), "{body}");
    }
}
