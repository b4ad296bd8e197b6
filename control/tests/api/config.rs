use crate::rig::{DOCUMENT, Home, Node, eventually};
use serde_json::json;

const RELOAD: &str = "POST /v1/config:reload";

#[tokio::test]
async fn a_reload_says_what_changed() {
    let home = Home::new();
    let node = Node::start(&home).await;
    let before = node.get("/v1/config").await;
    assert_eq!(before.json()["revision"]["number"], 1);
    assert_eq!(before.json()["revision"]["cause"]["by"], "start");
    assert_eq!(before.json()["document"]["routes"]["shop"]["service"], "shop");

    let same = node.owner(RELOAD, &[], "").await;
    assert_eq!(same.json()["outcome"], "unchanged");
    assert_eq!(*node.edge.applied.lock(), 1, "nothing is swapped");

    home.write(&DOCUMENT.replace("weight = 0 ", "weight = 7 "));
    let changed = node.owner(RELOAD, &[], r#"{"reason": "canary"}"#).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.json()["outcome"], "changed");
    assert_eq!(changed.json()["durable"], true);
    assert_ne!(changed.json()["diff_text"], "");
    assert_eq!(changed.json()["revision"]["number"], 2);
    assert_eq!(changed.json()["revision"]["cause"]["reason"], "canary");
    assert_eq!(node.edge.weight("green"), 700);
    assert_ne!(node.get("/v1/config").await.etag(), before.etag());
    let metrics = node.get("/metrics").await.body;
    assert!(metrics.contains("tidegate_reloads_total{outcome=\"changed\"} 1"), "{metrics}");
    assert!(metrics.contains("tidegate_config_revision 2"), "{metrics}");
}

#[tokio::test]
async fn a_broken_document_changes_nothing_and_every_fault_is_named() {
    let home = Home::new();
    let node = Node::start(&home).await;
    let broken = DOCUMENT
        .replace("service = \"shop\"", "service = \"shpo\"")
        .replace("upstream = \"green\"", "upstream = \"grün\"");
    home.write(&broken);
    let refused = node.owner(RELOAD, &[], "").await;
    assert_eq!((refused.status, refused.reason().as_str()), (422, "invalid_config"));
    let errors = refused.json()["errors"].as_array().unwrap().clone();
    assert_eq!(errors.len(), 2, "{errors:?}");
    for error in &errors {
        assert!(error["file"].as_str().unwrap().ends_with("tidegate.toml"), "{error}");
        assert!(error["line"].as_u64().is_some(), "{error}");
    }
    assert!(node.edge.config().services["shop"].versions.contains_key("green"));
    assert_eq!(*node.edge.applied.lock(), 1);

    let status = node.get("/v1/status").await.json();
    assert_eq!(status["revision"]["number"], 1);
    assert_eq!(status["last_reload_error"]["faults"].as_array().unwrap().len(), 2);
    let metrics = node.get("/metrics").await.body;
    assert!(metrics.contains("tidegate_config_last_reload_success 0"), "{metrics}");

    home.write(DOCUMENT);
    assert_eq!(node.owner(RELOAD, &[], "").await.json()["outcome"], "unchanged");
    assert_eq!(node.get("/v1/status").await.json()["last_reload_error"], json!(null));
}

#[tokio::test]
async fn what_the_data_path_refuses_is_no_revision() {
    let home = Home::new();
    let node = Node::start(&home).await;
    *node.edge.refuses.lock() = Some(vec!["listener `http`: address in use".to_owned()]);
    home.write(&DOCUMENT.replace("weight = 0 ", "weight = 7 "));
    let refused = node.owner(RELOAD, &[], "").await;
    assert_eq!(refused.reason(), "invalid_config");
    assert_eq!(refused.json()["errors"][0]["message"], "listener `http`: address in use");
    assert_eq!(node.get("/v1/status").await.json()["revision"]["number"], 1);
    *node.edge.refuses.lock() = None;
    assert_eq!(node.owner(RELOAD, &[], "").await.json()["revision"]["number"], 2);
}

#[tokio::test]
async fn a_saved_file_is_followed() {
    let home = Home::new();
    let node = Node::watching(&home).await;
    for (weight, hundredths) in [("7", 700), ("8", 800), ("9", 900)] {
        home.write(&DOCUMENT.replace("weight = 0 ", &format!("weight = {weight} ")));
        eventually("the file is followed", || node.edge.weight("green") == hundredths).await;
    }
    let cause = &node.get("/v1/status").await.json()["revision"]["cause"];
    assert_eq!(cause["by"], "files");
}

#[tokio::test]
async fn a_config_map_swapped_by_a_link_is_followed() {
    let home = Home::new();
    let etc = home.file().parent().unwrap().to_owned();
    let version = |name: &str, document: &str| {
        std::fs::create_dir(etc.join(name)).unwrap();
        std::fs::write(etc.join(name).join("tidegate.toml"), document).unwrap();
    };
    version("..1", DOCUMENT);
    std::os::unix::fs::symlink("..1", etc.join("..data")).unwrap();
    std::fs::remove_file(home.file()).unwrap();
    std::os::unix::fs::symlink("..data/tidegate.toml", home.file()).unwrap();

    let node = Node::watching(&home).await;
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    version("..2", &DOCUMENT.replace("weight = 0 ", "weight = 7 "));
    std::os::unix::fs::symlink("..2", etc.join("..data_tmp")).unwrap();
    std::fs::rename(etc.join("..data_tmp"), etc.join("..data")).unwrap();
    eventually("the swap is followed", || node.edge.weight("green") == 700).await;
}

#[tokio::test]
async fn two_processes_record_one_revision() {
    let home = Home::new();
    let (a, b) = (Node::watching_named(&home, "a").await, Node::watching_named(&home, "b").await);
    home.write(&DOCUMENT.replace("weight = 0 ", "weight = 7 "));
    eventually("both follow", || a.edge.weight("green") == 700 && b.edge.weight("green") == 700)
        .await;
    for node in [&a, &b] {
        eventually("both agree", || node.plane.view().revision.number == 2).await;
    }
}

#[tokio::test]
async fn a_revision_that_cannot_be_recorded_yet_serves() {
    let home = Home::new();
    let node = Node::watching(&home).await;
    node.disk.fill(true);
    home.write(&DOCUMENT.replace("weight = 0 ", "weight = 7 "));
    eventually("it is in force", || node.edge.weight("green") == 700).await;
    assert!(!node.plane.durable());
    node.disk.fill(false);
    eventually("it is recorded in the end", || node.plane.durable()).await;
    node.stop().await;
    let node = Node::start(&home).await;
    assert_eq!(node.get("/v1/status").await.json()["revision"]["number"], 2);
}

#[tokio::test]
async fn a_document_without_any_version_that_has_weight_is_refused() {
    let home = Home::new();
    let node = Node::start(&home).await;
    node.set_weights("*", r#"{"weights": {"green": 1}}"#).await;
    home.write(&DOCUMENT.replace("green = {", "teal = {"));
    let refused = node.owner(RELOAD, &[], "").await;
    assert_eq!(refused.reason(), "invalid_config");
    let message = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("tidegate weights shop reset"), "{message}");
    node.stop().await;

    // A restart serves the document, and says so.
    let node = Node::start(&home).await;
    assert_eq!(node.edge.weight("blue"), 10_000);
    let status = node.get("/v1/status").await.json();
    assert!(status["warnings"][0].as_str().unwrap().contains("`shop`"), "{status}");
}

#[tokio::test]
async fn the_document_belongs_to_its_files() {
    let home = Home::new();
    let node = Node::start(&home).await;
    for request in ["PUT /v1/config", "PATCH /v1/config"] {
        let refused = node.owner(request, &[], "{}").await;
        assert_eq!(
            (refused.status, refused.reason().as_str()),
            (409, "document_owned_by_file"),
            "{request}"
        );
        assert!(refused.json()["detail"].as_str().unwrap().contains(".toml"), "{refused:?}");
    }
}

#[tokio::test]
async fn values_of_headers_are_not_shown() {
    let home = Home::new();
    home.write(&DOCUMENT.replace(
        "service = \"shop\"",
        "service = \"shop\"\nrequest_headers = { set = { authorization = \"Bearer abc\" } }",
    ));
    let node = Node::start(&home).await;
    let shown = node.get("/v1/config").await;
    assert_eq!(
        shown.json()["document"]["routes"]["shop"]["request_headers"]["set"]["authorization"],
        "***"
    );
    assert!(!shown.body.contains("abc"));
}
