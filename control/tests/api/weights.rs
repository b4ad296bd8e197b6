use crate::rig::{DOCUMENT, Home, Node, eventually};
use serde_json::json;

const WEIGHTS: &str = "/v1/services/shop/weights";

#[tokio::test]
async fn weights_come_from_the_document_until_the_api_sets_them() {
    let home = Home::new();
    let node = Node::start(&home).await;
    let before = node.get(WEIGHTS).await;
    assert_eq!(before.json()["weights"], json!({"blue": 100, "green": 0}));
    assert_eq!(before.json()["source"], "document");

    let body = r#"{"weights": {"blue": 49.5, "green": 50.5}, "reason": "canary"}"#;
    let set = node.set_weights(before.etag(), body).await;
    assert_eq!(set.status, 200, "{set:?}");
    assert_eq!(set.json()["weights"], json!({"blue": 49.5, "green": 50.5}));
    assert_eq!(set.json()["source"], "api");
    assert_eq!(set.json()["set"]["reason"], "canary");
    assert_eq!(node.edge.weight("green"), 5050, "in force when the answer is there");
    assert_ne!(set.etag(), before.etag());
    assert_eq!(node.get(WEIGHTS).await.etag(), set.etag());
    let services = node.get("/v1/services").await.json();
    assert_eq!(services["services"][0]["versions"][1]["weight"], 50.5);
}

#[tokio::test]
async fn a_writer_must_say_what_it_saw() {
    let node = Node::alone().await;
    let body = r#"{"weights": {"green": 1}}"#;
    let first = node.get(WEIGHTS).await;
    let missing = node.owner(&format!("PUT {WEIGHTS}"), &[], body).await;
    assert_eq!((missing.status, missing.reason().as_str()), (428, "precondition_required"));
    let missing = node.owner(&format!("DELETE {WEIGHTS}"), &[], "").await;
    assert_eq!(missing.status, 428);

    assert_eq!(node.set_weights(first.etag(), body).await.status, 200);
    let stale = node.set_weights(first.etag(), r#"{"weights": {"blue": 1}}"#).await;
    assert_eq!((stale.status, stale.reason().as_str()), (412, "stale"));
    assert_eq!(node.edge.weight("blue"), 0, "a stale write changes nothing");
    let weak = format!("W/{}", node.get(WEIGHTS).await.etag());
    assert_eq!(node.set_weights(&weak, body).await.status, 412);
    assert_eq!(node.set_weights("*", r#"{"weights": {"blue": 1}}"#).await.status, 200);
    assert_eq!(node.set_weights("nonsense", body).await.status, 400);
}

#[tokio::test]
async fn of_two_writers_with_the_same_tag_one_wins() {
    let node = Node::alone().await;
    let tag = node.get(WEIGHTS).await.etag().to_owned();
    let (a, b) = tokio::join!(
        node.set_weights(&tag, r#"{"weights": {"blue": 10, "green": 90}}"#),
        node.set_weights(&tag, r#"{"weights": {"blue": 20, "green": 80}}"#),
    );
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test]
async fn impossible_weights_are_refused_by_name() {
    let node = Node::alone().await;
    for (body, reason, names) in [
        (r#"{"weights": {"red": 1}}"#, "unknown_version", "`red`"),
        (r#"{"weights": {"../red": 1}}"#, "unknown_version", "`../red`"),
        (r#"{"weights": {"blue": 0, "green": 0}}"#, "all_zero", "`shop`"),
        (r#"{"weights": {}}"#, "all_zero", "`shop`"),
        (r#"{"weights": {"blue": 33.333}}"#, "invalid_weight", "`33.333`"),
        (r#"{"weights": {"blue": -1}}"#, "invalid_weight", "`-1`"),
        (r#"{"weights": {"blue": 10001}}"#, "invalid_weight", "`10001`"),
        (r#"{"weights": {"blue": "50"}}"#, "invalid_body", "string"),
        (r#"{"weights": {"blue": 1}, "resaon": "x"}"#, "invalid_body", "`resaon`"),
        (r#"{"weights": {"blue": 1}"#, "invalid_body", "EOF"),
    ] {
        let reply = node.set_weights("*", body).await;
        assert_eq!((reply.status, reply.reason().as_str()), (422, reason), "{body}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(names), "{detail}");
    }
    assert_eq!(node.edge.weight("blue"), 10_000);
    let unknown = node
        .owner("PUT /v1/services/shpo/weights", &[("if-match", "*")], r#"{"weights": {"blue": 1}}"#)
        .await;
    assert_eq!((unknown.status, unknown.reason().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn weights_survive_a_restart() {
    let home = Home::new();
    let node = Node::start(&home).await;
    let set = node.set_weights("*", r#"{"weights": {"blue": 1, "green": 3}}"#).await;
    node.stop().await;

    let node = Node::start(&home).await;
    assert_eq!(node.edge.weight("green"), 300);
    let again = node.get(WEIGHTS).await;
    assert_eq!(again.etag(), set.etag(), "the same in every process");
    assert_eq!(node.get("/v1/status").await.json()["revision"]["number"], 1, "no new revision");
}

#[tokio::test]
async fn an_edit_of_weights_the_api_owns_is_drift_until_reset() {
    let home = Home::new();
    let node = Node::start(&home).await;
    node.set_weights("*", r#"{"weights": {"blue": 1, "green": 1}}"#).await;
    assert_eq!(node.get(WEIGHTS).await.json()["drift"], false, "nobody edited anything");

    home.write(&DOCUMENT.replace("weight = 0 ", "weight = 30 "));
    let reload = node.owner("POST /v1/config:reload", &[], "").await;
    assert_eq!(reload.status, 200, "{reload:?}");
    assert_eq!(node.edge.weight("green"), 100, "the API's weights stay");
    let drifted = node.get(WEIGHTS).await;
    assert_eq!(drifted.json()["drift"], true);
    assert_eq!(drifted.json()["document"]["green"], 30);
    assert_eq!(node.get("/v1/status").await.json()["drift"][0]["service"], "shop");

    let tag = drifted.etag().to_owned();
    let reset = node.owner(&format!("DELETE {WEIGHTS}"), &[("if-match", &tag)], "").await;
    assert_eq!(reset.status, 200, "{reset:?}");
    assert_eq!(reset.json()["source"], "document");
    assert_eq!(node.edge.weight("green"), 3000);
    assert_eq!(node.get("/v1/status").await.json()["drift"], json!([]));
}

#[tokio::test]
async fn weights_that_cannot_be_written_do_not_change() {
    let node = Node::alone().await;
    node.disk.fill(true);
    let refused = node.set_weights("*", r#"{"weights": {"green": 1}}"#).await;
    assert_eq!((refused.status, refused.reason().as_str()), (503, "store_unavailable"));
    assert_eq!(node.edge.weight("green"), 0);
    node.disk.fill(false);
    assert_eq!(node.set_weights("*", r#"{"weights": {"green": 1}}"#).await.status, 200);
}

#[tokio::test]
async fn a_second_process_follows() {
    let home = Home::new();
    let old = Node::watching_named(&home, "old").await;
    let new = Node::watching_named(&home, "new").await;
    new.set_weights("*", r#"{"weights": {"blue": 1, "green": 1}}"#).await;
    eventually("the old process follows", || old.edge.weight("green") == 100).await;
    let tag = old.get(WEIGHTS).await.etag().to_owned();
    let reset = old.owner(&format!("DELETE {WEIGHTS}"), &[("if-match", &tag)], "").await;
    assert_eq!(reset.status, 200, "{reset:?}");
    eventually("the new process follows", || new.edge.weight("green") == 0).await;
}

#[tokio::test]
async fn a_write_goes_on_when_its_client_has_gone() {
    let node = Node::alone().await;
    let held = node.edge.gate.write().await;
    let body = r#"{"weights": {"green": 1}}"#;
    let gone = node.set_weights("*", body);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(200), gone).await.is_err());
    drop(held);
    eventually("the change is in force", || node.edge.weight("green") == 100).await;
    assert_eq!(node.get(WEIGHTS).await.json()["source"], "api");
}
