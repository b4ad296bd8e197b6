use crate::rig::{Home, Node, eventually};
use tidegate_release::EndpointAdmin;

const ENDPOINT: &str = "/v1/upstreams/blue/endpoints/127.0.0.1:7001";

#[tokio::test]
async fn an_endpoint_is_drained_and_put_back() {
    let home = Home::new();
    let node = Node::start(&home).await;
    let body = r#"{"state": "drain", "reason": "kernel update"}"#;
    let drained = node.owner(&format!("PUT {ENDPOINT}"), &[], body).await;
    assert_eq!(drained.status, 200, "{drained:?}");
    assert_eq!(drained.json()["durable"], true);
    assert_eq!(node.edge.admin("127.0.0.1:7001"), Some(EndpointAdmin::Drain));
    let shown = node.get("/v1/upstreams/blue").await.json();
    assert_eq!(shown["endpoints"][0]["admin"], "drain");
    assert_eq!(shown["endpoints"][0]["set"]["reason"], "kernel update");
    node.stop().await;

    let node = Node::start(&home).await;
    assert_eq!(node.edge.admin("127.0.0.1:7001"), Some(EndpointAdmin::Drain), "after a restart");
    let active = node.owner(&format!("PUT {ENDPOINT}"), &[], r#"{"state": "active"}"#).await;
    assert_eq!(active.status, 200, "{active:?}");
    assert_eq!(node.edge.admin("127.0.0.1:7001"), None);
    node.stop().await;
    let node = Node::start(&home).await;
    assert_eq!(node.edge.admin("127.0.0.1:7001"), None);
}

#[tokio::test]
async fn an_ipv6_endpoint_has_a_path_too() {
    let node = Node::alone().await;
    for path in ["%5B%3A%3A1%5D%3A7001", "[::1]:7001"] {
        let path = format!("PUT /v1/upstreams/blue/endpoints/{path}");
        let reply = node.owner(&path, &[], r#"{"state": "disable"}"#).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(node.edge.admin("[::1]:7001"), Some(EndpointAdmin::Disable));
}

#[tokio::test]
async fn unknown_endpoints_and_states_are_refused() {
    let node = Node::alone().await;
    for path in
        ["red/endpoints/127.0.0.1:7001", "blue/endpoints/127.0.0.1:7009", "blue/endpoints/x"]
    {
        let path = format!("PUT /v1/upstreams/{path}");
        let reply = node.owner(&path, &[], r#"{"state": "drain"}"#).await;
        assert_eq!(reply.reason(), "not_found", "{path}");
    }
    let reply = node.owner(&format!("PUT {ENDPOINT}"), &[], r#"{"state": "gone"}"#).await;
    assert_eq!(reply.reason(), "invalid_body");
    assert_eq!(node.get("/v1/upstreams/red").await.reason(), "not_found");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_full_disk() {
    let home = Home::new();
    let node = Node::start(&home).await;
    node.disk.fill(true);
    let drained = node.owner(&format!("PUT {ENDPOINT}"), &[], r#"{"state": "drain"}"#).await;
    assert_eq!(drained.status, 200, "{drained:?}");
    assert_eq!(drained.json()["durable"], false);
    assert_eq!(node.edge.admin("127.0.0.1:7001"), Some(EndpointAdmin::Drain), "in force");
    assert_eq!(node.get("/v1/status").await.json()["durable"], false);
    let warnings = node.get("/v1/status").await.json()["warnings"].to_string();
    assert!(warnings.contains("cannot be saved: no space left"), "{warnings}");
    assert_eq!(node.get("/readyz").await.json()["durable"], false);
    let metrics = node.get("/metrics").await.body;
    assert!(metrics.contains("tidegate_control_unwritten 1"), "{metrics}");
    assert!(metrics.contains("tidegate_store_writable 0"), "{metrics}");

    let back = node.owner(&format!("PUT {ENDPOINT}"), &[], r#"{"state": "active"}"#).await;
    assert_eq!(back.reason(), "store_unavailable", "what adds risk waits for the disk");
    assert_eq!(node.edge.admin("127.0.0.1:7001"), Some(EndpointAdmin::Drain));

    node.disk.fill(false);
    eventually("it is written in the end", || node.plane.durable()).await;
    node.stop().await;
    let node = Node::start(&home).await;
    assert_eq!(node.edge.admin("127.0.0.1:7001"), Some(EndpointAdmin::Drain));
}
