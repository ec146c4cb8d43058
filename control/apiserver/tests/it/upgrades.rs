//! Connections that become something else: so many at once, and nobody takes all of them.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use xebec_apiserver::serve::Limits;

use crate::sockets::Socket;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// Begins a port-forward as somebody; gives the head of the answer, with what follows where that is no stream.
async fn forward(socket: &Socket, user: &str) -> (String, TlsStream<TcpStream>) {
    let mut stream = socket.connect().await;
    let head = format!(
        "GET {PODS}/a/portforward?ports=80 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer s3cret\r\n\
         impersonate-user: {user}\r\nimpersonate-group: system:masters\r\nconnection: Upgrade\r\n\
         upgrade: SPDY/3.1\r\nx-stream-protocol-version: portforward.k8s.io\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut bytes = [0; 4096];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut bytes).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..read]);
    }
    (String::from_utf8_lossy(&answer).into_owned(), stream)
}

#[tokio::test]
async fn who_finds_no_room_is_told_to_come_back_and_others_are_not_touched() {
    let socket = Socket::open(Limits { upgraded: 3, upgraded_each: 2, ..Limits::default() }).await;
    let binding = json!({
        "metadata": {"name": "robots"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "robots"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(socket.server.create(bindings, &binding).await.0, 201);
    let pod = json!({
        "metadata": {"name": "a"}, "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "a"}]},
    });
    assert_eq!(socket.server.create(PODS, &pod).await.0, 201);

    let (answer, first) = forward(&socket, "jane").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let (answer, mut second) = forward(&socket, "jane").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let (answer, _third) = forward(&socket, "jane").await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(answer.contains("retry-after: 5\r\n"), "{answer}");
    assert!(answer.contains("the user \\\"jane\\\" may have 2 at once"), "{answer}");
    // Another user has room, and then there is none.
    let (answer, _fourth) = forward(&socket, "joe").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let (answer, _fifth) = forward(&socket, "ann").await;
    assert!(answer.contains("all users together may have 3 at once"), "{answer}");
    // All else is served, and who is there stays.
    assert_eq!(socket.server.get(&format!("{PODS}/a")).await.0, 200);
    let mut byte = [0];
    let soon = std::time::Duration::from_millis(200);
    assert!(tokio::time::timeout(soon, second.read(&mut byte)).await.is_err(), "it ended");
    // Who leaves makes room.
    drop(first);
    for _ in 0..100 {
        let (answer, _stream) = forward(&socket, "ann").await;
        if answer.starts_with("HTTP/1.1 101") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("nobody made room");
}
