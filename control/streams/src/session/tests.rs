use super::*;
use crate::spdy::tests::Client;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::duplex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

const ALL: Wants = Wants { stdin: true, stdout: true, stderr: true, tty: false };

fn over(transport: Transport) -> Accepted {
    Accepted::over(transport)
}

#[tokio::test]
async fn a_process_talks_over_spdy_and_tells_its_code() {
    let (ours, theirs) = duplex(1 << 16);
    let begun = tokio::spawn(session(theirs, over(Transport::Spdy), ALL));
    let mut client = Client::new(ours);
    let mut opened = Vec::new();
    for kind in ["error", "stdin", "stdout", "stderr"] {
        opened.push(client.open(&[("streamType", kind)]).await);
    }
    let [error, stdin, stdout, stderr] = opened[..] else { panic!("{opened:?}") };
    let mut session = begun.await.unwrap().unwrap();
    client.write(stdin, b"question").await;
    client.finish(stdin).await;
    let mut input = session.stdin.take().unwrap();
    assert_eq!(input.recv().await.unwrap(), "question");
    assert_eq!(input.recv().await, None);
    session.stdout.take().unwrap().write("answer".into()).await.unwrap();
    session.stderr.take().unwrap().write("complaint".into()).await.unwrap();
    let gone = session.gone.clone();
    let ending = tokio::spawn(session.outcome.exited(3));
    let read = client.read_all(&[stdout, stderr, error]).await;
    assert_eq!(read[..2], ["answer", "complaint"]);
    let status: Value = serde_json::from_str(&read[2]).unwrap();
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "3");
    drop(client);
    ending.await.unwrap();
    gone.cancelled().await;
}

#[tokio::test]
async fn a_process_talks_over_channels_and_its_input_is_closed_alone() {
    let (ours, theirs) = duplex(1 << 16);
    let mut session =
        session(theirs, over(Transport::Channels { version: Version::Fifth }), ALL).await.unwrap();
    let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    client.send(Message::binary(&b"\0question"[..])).await.unwrap();
    client.send(Message::binary(&b"\xff\0"[..])).await.unwrap();
    let mut input = session.stdin.take().unwrap();
    assert_eq!(input.recv().await.unwrap(), "question");
    assert_eq!(input.recv().await, None);
    session.stdout.take().unwrap().write("answer".into()).await.unwrap();
    session.stderr.take().unwrap().write("complaint".into()).await.unwrap();
    let ending = tokio::spawn(session.outcome.exited(0));
    let mut seen = Vec::new();
    while let Some(Ok(Message::Binary(message))) = client.next().await {
        seen.push(message);
    }
    ending.await.unwrap();
    assert_eq!(seen[..2], ["\x01answer", "\x02complaint"]);
    assert_eq!(seen[2], "\x03{\"metadata\":{},\"status\":\"Success\"}");
}

#[tokio::test]
async fn the_first_version_tells_in_words_how_it_ended_and_nothing_of_a_success() {
    for (code, told) in
        [(0, None), (3, Some("\x03command terminated with non-zero exit code: exit status 3"))]
    {
        let (ours, theirs) = duplex(1 << 16);
        let first = over(Transport::Channels { version: Version::First });
        let session = session(theirs, first, ALL).await.unwrap();
        let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        let ending = tokio::spawn(session.outcome.exited(code));
        let mut seen = Vec::new();
        while let Some(Ok(message)) = client.next().await {
            if let Message::Binary(bytes) = message {
                seen.push(String::from_utf8(bytes.to_vec()).unwrap());
            }
        }
        ending.await.unwrap();
        assert_eq!(seen, Vec::from_iter(told));
    }
}

#[tokio::test]
async fn a_terminal_has_sizes_and_no_second_output() {
    let (ours, theirs) = duplex(1 << 16);
    let wants = Wants { tty: true, ..ALL };
    let mut session =
        session(theirs, over(Transport::Channels { version: Version::Fourth }), wants).await.unwrap();
    assert!(session.stderr.is_none());
    let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    client.send(Message::binary(&b"\x04{\"Width\":80,\"Height\":24}"[..])).await.unwrap();
    let sizes = session.sizes.as_mut().unwrap();
    assert_eq!(sizes.recv().await, Some(Size { width: 80, height: 24 }));
    client.send(Message::binary(&b"\x04no size"[..])).await.unwrap();
    client.send(Message::binary(&b"\x04{\"Width\":100,\"Height\":30}"[..])).await.unwrap();
    assert_eq!(sizes.recv().await, Some(Size { width: 100, height: 30 }));
    drop(client);
    session.gone.cancelled().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_opens_too_little_is_not_waited_for() {
    let (ours, theirs) = duplex(1 << 16);
    let begun = tokio::spawn(session(theirs, over(Transport::Spdy), ALL));
    let mut client = Client::new(ours);
    client.open(&[("streamType", "error")]).await;
    assert!(matches!(begun.await.unwrap(), Err(Error::Late("stdin"))));
}

#[tokio::test]
async fn sizes_over_spdy_are_cut_out_of_what_comes() {
    let (sender, reader) = mpsc::channel(4);
    let mut sizes = sizes_of(reader);
    sender.send("{\"Width\":1,\"Hei".into()).await.unwrap();
    sender.send("ght\":2}\n{\"Width".into()).await.unwrap();
    assert_eq!(sizes.recv().await, Some(Size { width: 1, height: 2 }));
    sender.send("\":3,\"Height\":4}".into()).await.unwrap();
    assert_eq!(sizes.recv().await, Some(Size { width: 3, height: 4 }));
}

#[tokio::test]
async fn of_many_sizes_the_last_one_is_heard() {
    let (ours, theirs) = duplex(1 << 20);
    let wants = Wants { tty: true, ..ALL };
    let mut session =
        session(theirs, over(Transport::Channels { version: Version::Fourth }), wants).await.unwrap();
    let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    for width in 1..=200 {
        let size = format!("\x04{{\"Width\":{width},\"Height\":24}}");
        client.send(Message::binary(size.into_bytes())).await.unwrap();
    }
    client.send(Message::binary(&b"\0typed after the sizes"[..])).await.unwrap();
    assert!(session.stdin.as_mut().unwrap().recv().await.is_some());
    let sizes = session.sizes.as_mut().unwrap();
    assert_eq!(sizes.recv().await, Some(Size { width: 200, height: 24 }));
}

/// Sends what nobody reads until the connection is full, and leaves.
async fn leaves_though_its_input_is_full(mut session: Session, fill: impl Future<Output = ()>) {
    let stdin = session.stdin.take().unwrap();
    // The time is the clock's own, which runs when nothing else does.
    _ = tokio::time::timeout(Duration::from_secs(1), fill).await;
    let gone = tokio::time::timeout(Duration::from_secs(60), session.gone.cancelled());
    gone.await.expect("it is seen that the client is gone");
    drop(stdin);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_missed_though_its_input_fills_a_websocket() {
    let (ours, theirs) = duplex(1 << 12);
    let session = session(theirs, over(Transport::Channels { version: Version::Fifth }), ALL).await.unwrap();
    let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    leaves_though_its_input_is_full(session, async move {
        while client.send(Message::binary(vec![0; 512])).await.is_ok() {}
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_missed_though_its_input_fills_a_spdy_connection() {
    let (ours, theirs) = duplex(1 << 12);
    let begun = tokio::spawn(session(theirs, over(Transport::Spdy), ALL));
    let mut client = Client::new(ours);
    let mut opened = Vec::new();
    for kind in ["error", "stdin", "stdout", "stderr"] {
        opened.push(client.open(&[("streamType", kind)]).await);
    }
    let session = begun.await.unwrap().unwrap();
    leaves_though_its_input_is_full(session, async move {
        loop {
            client.write(opened[1], &[0; 512]).await;
        }
    })
    .await;
}
