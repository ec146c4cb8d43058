//! As much of etcd's gRPC API (api/etcdserverpb/rpc.proto) as the scenarios need.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

type Body = BoxBody<Bytes, std::convert::Infallible>;

/// Connections that requests take in turn.
pub(crate) struct Etcd {
    address: String,
    connections: Vec<SendRequest<Body>>,
    next: AtomicUsize,
}

impl Etcd {
    pub(crate) async fn connect(address: &str, connections: usize) -> Result<Self> {
        let mut open = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await.context("etcd does not listen there")?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            open.push(sender);
        }
        Ok(Self { address: address.to_owned(), connections: open, next: AtomicUsize::new(0) })
    }

    pub(crate) async fn put(&self, key: &str, value: &Bytes) -> Result<()> {
        let mut message = Vec::with_capacity(key.len() + value.len() + 16);
        field(&mut message, 1, key.as_bytes());
        field(&mut message, 2, value);
        self.unary("/etcdserverpb.KV/Put", &message).await?;
        Ok(())
    }

    /// The number of entries under a prefix.
    pub(crate) async fn list(&self, prefix: &str) -> Result<usize> {
        let mut message = Vec::new();
        field(&mut message, 1, prefix.as_bytes());
        field(&mut message, 2, &behind(prefix));
        count(&self.unary("/etcdserverpb.KV/Range", &message).await?, 2)
    }

    pub(crate) async fn get(&self, key: &str) -> Result<usize> {
        let mut message = Vec::new();
        field(&mut message, 1, key.as_bytes());
        count(&self.unary("/etcdserverpb.KV/Range", &message).await?, 2)
    }

    pub(crate) async fn watch(&self, prefix: &str) -> Result<EtcdWatch> {
        let (mut create, mut message) = (Vec::new(), Vec::new());
        field(&mut create, 1, prefix.as_bytes());
        field(&mut create, 2, &behind(prefix));
        field(&mut message, 1, &create);
        // The stream of requests stays open as long as the watch.
        let (requests, receiver) = tokio::sync::mpsc::channel(1);
        requests.send(Ok(Frame::data(framed(&message)))).await?;
        let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let response = self.send("/etcdserverpb.Watch/Watch", BodyExt::boxed(body)).await?;
        let mut watch =
            EtcdWatch { body: response.into_body(), received: BytesMut::new(), _requests: requests };
        watch.message().await.context("the watch was not created")?;
        Ok(watch)
    }

    async fn unary(&self, path: &str, message: &[u8]) -> Result<Bytes> {
        let body = BodyExt::boxed(Full::new(framed(message)));
        let collected = self.send(path, body).await?.into_body().collect().await?;
        let status = collected.trailers().and_then(|trailers| trailers.get("grpc-status"));
        if status.is_none_or(|status| status != "0") {
            bail!("etcd refused: {:?}", collected.trailers());
        }
        let mut bytes = collected.to_bytes();
        bytes.advance(5);
        Ok(bytes)
    }

    async fn send(&self, path: &str, body: Body) -> Result<Response<Incoming>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let request = Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)?;
        Ok(self.connections[turn].clone().send_request(request).await?)
    }
}

pub(crate) struct EtcdWatch {
    body: Incoming,
    received: BytesMut,
    _requests: tokio::sync::mpsc::Sender<Result<Frame<Bytes>, std::convert::Infallible>>,
}

impl EtcdWatch {
    /// The number of events in the next message.
    pub(crate) async fn next(&mut self) -> Result<usize> {
        count(&self.message().await?, 11)
    }

    async fn message(&mut self) -> Result<Bytes> {
        loop {
            if self.received.len() >= 5 {
                let size = u32::from_be_bytes(self.received[1..5].try_into()?) as usize;
                if self.received.len() >= 5 + size {
                    self.received.advance(5);
                    return Ok(self.received.split_to(size).freeze());
                }
            }
            let frame = self.body.frame().await.context("etcd ended the watch")??;
            if let Some(data) = frame.data_ref() {
                self.received.extend_from_slice(data);
            }
        }
    }
}

/// The end of the range of keys with a prefix.
fn behind(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn framed(message: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(5 + message.len());
    bytes.push(0);
    bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
    bytes.extend_from_slice(message);
    bytes.into()
}

/// Appends a length-delimited protobuf field.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}

/// How often a length-delimited field is in a message.
fn count(mut message: &[u8], number: u64) -> Result<usize> {
    let mut found = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = varint(&mut message)?;
        if tag & 7 == 2 {
            found += usize::from(tag >> 3 == number);
            message = message.get(value as usize..).context("a field is cut off")?;
        } else if tag & 7 != 0 {
            bail!("etcd sent a field of type {}", tag & 7);
        }
    }
    Ok(found)
}

fn varint(message: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first().context("a number is cut off")?;
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number is too long")
}
