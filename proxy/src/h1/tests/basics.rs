//! The ordinary course of a connection.

use super::*;

#[tokio::test(start_paused = true)]
async fn requests_follow_each_other_on_one_connection() {
    let (handler, seen) = Scripted::recorder();
    let mut client = Client::connect(handler);
    for n in 0..3 {
        client.send(format!("GET /{n}?q HTTP/1.1\r\nHost: a\r\nX-N: {n}\r\n\r\n")).await;
        client.expect(OK).await;
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2].uri, "/2?q");
    assert_eq!(seen[2].headers["x-n"], "2");
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let (handler, seen) = Scripted::recorder();
    let mut client = Client::connect(handler);
    client
        .send(
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
             POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n\
             \r\nGET /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .await;
    assert_eq!(client.rest().await, [OK, OK, OK_CLOSE].concat());
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].body, Ok(b"abc".to_vec()));
    assert_eq!(seen[1].body, Ok(b"de".to_vec()));
    assert_eq!(seen[1].trailers.as_ref().unwrap()["x-t"], "1");
    assert_eq!(seen[2].uri, "/c");
}
