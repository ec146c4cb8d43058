use super::*;
use tokio::io::{AsyncRead, AsyncWrite, duplex};

/// The client's side of a connection, for tests.
pub(crate) struct Client<S> {
    io: S,
    buffer: BytesMut,
    deflater: Deflater,
    inflater: Inflater,
    next: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(io: S) -> Self {
        let (deflater, inflater) = (Deflater::new(), Inflater::new());
        Self { io, buffer: BytesMut::new(), deflater, inflater, next: 1 }
    }

    pub(super) async fn send(&mut self, frame: Frame) {
        let mut wire = BytesMut::new();
        frame.put(&mut wire);
        self.io.write_all(&wire).await.unwrap();
    }

    /// The next frame; none when the server has ended the connection.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = take(&mut self.buffer).unwrap() {
                return Some(frame);
            }
            if self.io.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Asks for a stream.
    pub(crate) async fn ask(&mut self, headers: &[(&str, &str)]) -> u32 {
        let stream = self.next;
        self.next += 2;
        let headers = self.deflater.write(headers).unwrap();
        self.send(Frame::Open { stream, last: false, headers }).await;
        stream
    }

    /// Opens a stream and waits for the reply.
    pub(crate) async fn open(&mut self, headers: &[(&str, &str)]) -> u32 {
        let stream = self.ask(headers).await;
        let reply = self.next().await;
        let Some(Frame::Reply { stream: replied, headers }) = reply else { panic!("{reply:?}") };
        assert_eq!(replied, stream);
        assert_eq!(self.inflater.read(&headers).unwrap(), []);
        stream
    }

    pub(crate) async fn write(&mut self, stream: u32, data: &'static [u8]) {
        self.send(Frame::Data { stream, last: false, data: data.into() }).await;
    }

    pub(crate) async fn finish(&mut self, stream: u32) {
        self.send(Frame::Data { stream, last: true, data: Bytes::new() }).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32) {
        self.send(Frame::Reset { stream, code: Reset::Cancel as u32 }).await;
    }

    /// Reads until each of these streams is finished; gives what came on them.
    pub(crate) async fn read_all(&mut self, streams: &[u32]) -> Vec<String> {
        let mut seen = vec![(Vec::new(), false); streams.len()];
        while seen.iter().any(|(_, last)| !last) {
            match self.next().await {
                Some(Frame::Data { stream, last, data }) => {
                    let at = streams.iter().position(|own| *own == stream).unwrap();
                    seen[at].0.extend(data);
                    seen[at].1 |= last;
                }
                Some(_) => {}
                None => panic!("the connection ended at {seen:?}"),
            }
        }
        seen.into_iter().map(|(data, _)| String::from_utf8(data).unwrap()).collect()
    }
}

#[tokio::test]
async fn streams_carry_data_both_ways_and_end_one_by_one() {
    let (ours, theirs) = duplex(1 << 16);
    let (mut opened, _task) = serve(theirs);
    let mut client = Client::new(ours);
    let stream = client.open(&[("streamType", "data"), ("port", "80")]).await;
    let mut served = opened.recv().await.unwrap();
    assert_eq!((served.header("streamtype"), served.header("port"), served.header("x")), ("data", "80", ""));
    client.write(stream, b"ping").await;
    assert_eq!(served.reader.recv().await.unwrap(), "ping");
    client.finish(stream).await;
    assert_eq!(served.reader.recv().await, None);
    served.writer.write("pong".into()).await.unwrap();
    served.writer.finish().await.unwrap();
    assert_eq!(client.read_all(&[stream]).await, ["pong"]);
    client.send(Frame::Ping(1)).await;
    assert_eq!(client.next().await, Some(Frame::Ping(1)));
    drop(client);
    assert!(opened.recv().await.is_none());
}

#[tokio::test]
async fn a_stream_that_is_reset_ends_for_its_reader_alone() {
    let (ours, theirs) = duplex(1 << 16);
    let (mut opened, _task) = serve(theirs);
    let mut client = Client::new(ours);
    let (first, second) = (client.open(&[]).await, client.open(&[]).await);
    let (mut one, mut other) = (opened.recv().await.unwrap(), opened.recv().await.unwrap());
    client.send(Frame::Reset { stream: first, code: Reset::Cancel as u32 }).await;
    client.write(second, b"still here").await;
    assert_eq!(one.reader.recv().await, None);
    assert_eq!(other.reader.recv().await.unwrap(), "still here");
}

#[tokio::test]
async fn an_even_number_is_refused_and_garbage_ends_the_connection() {
    let (ours, theirs) = duplex(1 << 16);
    let (mut opened, _task) = serve(theirs);
    let mut client = Client::new(ours);
    let headers = client.deflater.write(&[]).unwrap();
    client.send(Frame::Open { stream: 2, last: false, headers }).await;
    assert_eq!(client.next().await, Some(Frame::Reset { stream: 2, code: Reset::Protocol as u32 }));
    client.io.write_all(b"\x80\x02\x00\x01\x00\x00\x00\x00").await.unwrap();
    assert!(opened.recv().await.is_none());
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn a_stream_counts_until_both_sides_have_ended() {
    let (ours, theirs) = duplex(1 << 20);
    let (mut opened, _task) = serve(theirs);
    let mut client = Client::new(ours);
    let mut held = Vec::new();
    let ask = async |client: &mut Client<_>| {
        let (stream, headers) = (client.next, client.deflater.write(&[]).unwrap());
        client.next += 2;
        client.send(Frame::Open { stream, last: true, headers }).await;
        let reply = client.next().await;
        matches!(reply, Some(Frame::Reply { .. }))
    };
    for _ in 0..STREAMS {
        assert!(ask(&mut client).await);
        held.push(opened.recv().await.unwrap());
    }
    assert!(!ask(&mut client).await, "one more is refused though the client has ended its sides");
    held.pop();
    held[0].writer.finish().await.unwrap();
    assert!(matches!(client.next().await, Some(Frame::Data { last: true, .. })));
    assert!(ask(&mut client).await && ask(&mut client).await, "two have ended");
    assert!(!ask(&mut client).await);
}

#[tokio::test]
async fn a_stream_that_is_reset_is_no_longer_written() {
    let (ours, theirs) = duplex(1 << 16);
    let (mut opened, _task) = serve(theirs);
    let mut client = Client::new(ours);
    let stream = client.open(&[]).await;
    let writer = opened.recv().await.unwrap().writer;
    client.finish(stream).await;
    client.send(Frame::Reset { stream, code: Reset::Cancel as u32 }).await;
    tokio::time::timeout(Duration::from_secs(10), writer.ended()).await.expect("the reset ends it");
    assert!(matches!(writer.write("unheard".into()).await, Err(Error::Gone)));
    writer.finish().await.unwrap();
    client.send(Frame::Ping(1)).await;
    assert_eq!(client.next().await, Some(Frame::Ping(1)), "nothing was sent on it");
}
