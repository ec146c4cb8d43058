use super::*;
use crate::negotiation::Version;
use crate::spdy::tests::Client;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// A pod that listens on port 80: it says back what it hears, in capitals, until it hears the end.
async fn dial(port: u16) -> io::Result<DuplexStream> {
    if port != 80 {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let (ours, mut theirs) = duplex(64);
    tokio::spawn(async move {
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).await.unwrap();
        theirs.write_all(heard.to_uppercase().as_bytes()).await.unwrap();
    });
    Ok(ours)
}

async fn pair<S: Io>(client: &mut Client<S>, port: &str, request: &str) -> (u32, u32) {
    let error = client.open(&[("streamType", "error"), ("port", port), ("requestID", request)]).await;
    let data = client.open(&[("streamType", "data"), ("port", port), ("requestID", request)]).await;
    (data, error)
}

async fn talk<S: Io>(mut client: Client<S>) {
    let (first, first_error) = pair(&mut client, "80", "0").await;
    let (second, second_error) = pair(&mut client, "80", "1").await;
    client.write(second, b"other ").await;
    client.write(first, b"one").await;
    client.write(second, b"words").await;
    client.finish(first).await;
    client.finish(second).await;
    let read = client.read_all(&[first, first_error, second, second_error]).await;
    assert_eq!(read, ["ONE", "", "OTHER WORDS", ""]);
    let (closed, error) = pair(&mut client, "81", "2").await;
    let read = client.read_all(&[closed, error]).await;
    assert_eq!(read, ["", "connection refused"]);
}

#[tokio::test]
async fn connections_go_over_spdy() {
    let (ours, theirs) = duplex(1 << 16);
    let serving = tokio::spawn(serve(theirs, Accepted::over(Transport::Spdy), &[], dial));
    talk(Client::new(ours)).await;
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_go_through_a_tunnel() {
    let (ours, theirs) = duplex(1 << 16);
    let serving = tokio::spawn(serve(theirs, Accepted::over(Transport::Tunnel), &[], dial));
    let mut socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let (near, mut far) = duplex(1 << 16);
    let carrying = tokio::spawn(async move {
        let mut buffer = vec![0; 7];
        loop {
            tokio::select! {
                read = far.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return socket.close(None).await.unwrap(),
                    Ok(read) => socket.send(Message::binary(buffer[..read].to_vec())).await.unwrap(),
                },
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => far.write_all(&bytes).await.unwrap(),
                    _ => return,
                },
            }
        }
    });
    talk(Client::new(near)).await;
    carrying.await.unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_go_over_channels() {
    let (ours, theirs) = duplex(1 << 16);
    let accepted = Accepted::over(Transport::Channels { version: Version::Fourth });
    let serving = tokio::spawn(serve(theirs, accepted, &[81, 80], |port| async move {
        if port == 81 { dial(port).await } else { Ok(duplex_echo()) }
    }));
    let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    client.send(Message::binary(&b"\x02hello"[..])).await.unwrap();
    let mut channels: HashMap<u8, Vec<u8>> = HashMap::new();
    while channels.get(&2).is_none_or(|data| data.len() < 7)
        || channels.get(&1).is_none_or(|data| data.len() < 3)
    {
        let Some(Ok(Message::Binary(message))) = client.next().await else { panic!("{channels:?}") };
        channels.entry(message[0]).or_default().extend(&message[1..]);
    }
    assert_eq!(channels[&2], b"P\0hello");
    assert_eq!(channels[&3], b"P\0");
    assert!(channels[&1].starts_with(b"Q\0connection refused"));
    client.close(None).await.unwrap();
    serving.await.unwrap().unwrap();
}

fn duplex_echo() -> DuplexStream {
    let (ours, theirs) = duplex(64);
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(theirs);
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    ours
}

#[tokio::test]
async fn a_stream_for_no_port_ends_the_connection() {
    let (ours, theirs) = duplex(1 << 16);
    let serving = tokio::spawn(serve(theirs, Accepted::over(Transport::Spdy), &[], dial));
    let mut client = Client::new(ours);
    client.ask(&[("streamType", "data"), ("port", "zero"), ("requestID", "0")]).await;
    assert!(matches!(serving.await.unwrap(), Err(Error::Protocol(_))));
}

#[tokio::test]
async fn the_connection_to_a_pod_ends_when_the_client_resets_its_stream() {
    let (ours, theirs) = duplex(1 << 16);
    let (left, mut leaving) = mpsc::channel::<()>(1);
    let dial = move |_| {
        let left = left.clone();
        async move {
            let (ours, mut theirs) = duplex(64);
            tokio::spawn(async move {
                // It says nothing, and hears the end.
                _ = theirs.read_to_end(&mut Vec::new()).await;
                while theirs.write_all(b"x").await.is_ok() {}
                left.send(()).await.unwrap();
            });
            Ok::<_, io::Error>(ours)
        }
    };
    let serving = tokio::spawn(serve(theirs, Accepted::over(Transport::Spdy), &[], dial));
    let mut client = Client::new(ours);
    let (data, _) = pair(&mut client, "80", "0").await;
    client.reset(data).await;
    let ended = tokio::time::timeout(Duration::from_secs(10), leaving.recv());
    assert_eq!(ended.await.expect("the connection to the pod ends"), Some(()));
    drop(client);
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_tunnel_carries_much_in_a_message() {
    let (ours, theirs) = duplex(1 << 16);
    let (mut near, _tunnel) = tunnel::open(theirs);
    let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let writing = tokio::spawn(async move {
        near.write_all(&vec![7; 1 << 20]).await.unwrap();
        near
    });
    let (mut bytes, mut messages) = (0, 0);
    while bytes < 1 << 20 {
        let Some(Ok(Message::Binary(message))) = client.next().await else { panic!("{bytes} bytes came") };
        (bytes, messages) = (bytes + message.len(), messages + 1);
    }
    assert!(messages < 256, "a mebibyte came in {messages} messages");
    drop(writing.await.unwrap());
}
