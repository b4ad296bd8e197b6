use crate::rig::{Home, Node};

const PUT: &str = "PUT /v1/services/shop/weights";
const BODY: &str = r#"{"weights": {"blue": 1, "green": 1}}"#;

#[tokio::test]
async fn a_repeated_write_is_answered_not_done() {
    let home = Home::new();
    let node = Node::start(&home).await;
    let tag = node.get("/v1/services/shop/weights").await.etag().to_owned();
    let headers = [("if-match", tag.as_str()), ("idempotency-key", "deploy-1")];
    let first = node.owner(PUT, &headers, BODY).await;
    assert_eq!(first.status, 200, "{first:?}");
    // Without the key the tag would be stale by now.
    let again = node.owner(PUT, &headers, BODY).await;
    assert_eq!((again.status, &again.body, again.etag()), (200, &first.body, first.etag()));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    node.stop().await;
    let node = Node::start(&home).await;
    let after = node.owner(PUT, &headers, BODY).await;
    assert_eq!((after.status, &after.body), (200, &first.body), "also by the next process");
}

#[tokio::test]
async fn a_key_belongs_to_one_request_and_one_caller() {
    let node = Node::alone().await;
    let headers = [("if-match", "*"), ("idempotency-key", "deploy-1")];
    assert_eq!(node.owner(PUT, &headers, BODY).await.status, 200);
    let other = node.owner(PUT, &headers, r#"{"weights": {"blue": 1}}"#).await;
    assert_eq!((other.status, other.reason().as_str()), (422, "idempotency_key_reused"));

    let token = node.token("deployer").await;
    let (bearer, host) = (format!("Bearer {token}"), node.control.to_string());
    let headers = [headers[0], headers[1], ("host", &host), ("authorization", &bearer)];
    let theirs = node.tcp(PUT, &headers, r#"{"weights": {"blue": 1}}"#).await;
    assert_eq!(theirs.status, 200, "{theirs:?}");
}

#[tokio::test]
async fn a_failed_write_may_be_tried_again() {
    let node = Node::alone().await;
    let headers = [("if-match", "*"), ("idempotency-key", "deploy-1")];
    node.disk.fill(true);
    assert_eq!(node.owner(PUT, &headers, BODY).await.status, 503);
    node.disk.fill(false);
    assert_eq!(node.owner(PUT, &headers, BODY).await.status, 200);
}

#[tokio::test]
async fn two_copies_at_once_are_done_once() {
    let node = Node::alone().await;
    let headers = [("if-match", "*"), ("idempotency-key", "deploy-1")];
    let held = node.edge.gate.write().await;
    let first = node.owner(PUT, &headers, BODY);
    let second = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let second = node.owner(PUT, &headers, BODY).await;
        drop(held);
        second
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, 200);
    assert_eq!((second.status, second.reason().as_str()), (409, "in_progress"));
}

#[tokio::test]
async fn a_secret_is_not_kept_for_copies() {
    let node = Node::alone().await;
    let headers = [("idempotency-key", "token-1")];
    let body = r#"{"name": "ci", "role": "viewer"}"#;
    let made = node.owner("POST /v1/tokens", &headers, body).await;
    assert_eq!(made.status, 201);
    let again = node.owner("POST /v1/tokens", &headers, body).await;
    assert_eq!((again.status, again.json()["reason"].as_str()), (409, Some("already_done")));
    assert_eq!(node.get("/v1/tokens").await.json()["tokens"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_nobody_could_have_meant_is_refused() {
    let node = Node::alone().await;
    let long = "x".repeat(256);
    for key in ["", long.as_str()] {
        let headers = [("if-match", "*"), ("idempotency-key", key)];
        assert_eq!(node.owner(PUT, &headers, BODY).await.reason(), "bad_request");
    }
}
