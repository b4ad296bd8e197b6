//! The client the CLI is made of, against a real API.

use crate::rig::Node;
use ::http::Method;
use serde_json::{Value, json};
use tidegate_control::client::{Call, Client, ClientError, Target};

#[tokio::test]
async fn it_talks_over_both_kinds_of_sockets() {
    let node = Node::alone().await;
    let token = node.token("deployer").await;
    let tcp = Client::new(Target::Tcp { authority: node.control.to_string() }, Some(token));
    let unix = Client::new(Target::Unix(node.socket.clone()), None);
    let path = "/v1/services/shop/weights";
    let seen = unix.call::<Value>(Call::get(path)).await.unwrap();
    let put = |green: u32| {
        Call::new(Method::PUT, path)
            .body(json!({ "weights": { "green": green } }))
            .if_match(seen.etag.clone().unwrap())
    };
    let set = tcp.call::<Value>(put(1)).await.unwrap();
    assert_eq!(set.content["weights"]["green"], 1);
    match tcp.call::<Value>(put(2)).await {
        Err(ClientError::Problem(problem)) => assert_eq!(problem.reason, "stale"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_says_which_address_it_tried() {
    let nobody = Client::new("http://127.0.0.1:1".parse().unwrap(), Some("x".to_owned()));
    let error = nobody.call::<Value>(Call::get("/v1/status")).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_is_not_sent() {
    let client = Client::new("http://127.0.0.1:1".parse().unwrap(), Some("a\nb".to_owned()));
    let error = client.call::<Value>(Call::get("/v1/status")).await.unwrap_err();
    assert!(matches!(error, ClientError::Unsendable("token")), "{error:?}");
    assert!(!error.to_string().contains("a\nb"));
}
