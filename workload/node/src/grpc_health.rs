//! A question of a gRPC server's health (grpc.health.v1, `Health.Check`), in as much of gRPC as one such question needs.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::duration::go;

const PATH: &str = "/grpc.health.v1.Health/Check";
/// The longest answer that is read.
const MOST: usize = 4 << 10;
/// The answers of a server that is asked (`HealthCheckResponse.ServingStatus`).
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: usize = 1;
/// The code of a method that a server does not have.
const UNIMPLEMENTED: &str = "12";

/// Asks the server behind a connection. The refusals are the kubelet's.
pub(crate) async fn check(
    stream: TcpStream,
    authority: &str,
    service: &str,
    limit: Duration,
) -> Result<(), String> {
    match tokio::time::timeout(limit, ask(stream, authority, service)).await {
        Err(_) => Err(format!("timeout: health rpc did not complete within {}", go(limit))),
        Ok(Err(why)) => Err(format!("error: health rpc probe failed: {why}")),
        Ok(Ok(Answer::Status(SERVING))) => Ok(()),
        Ok(Ok(Answer::Status(status))) => {
            let name = STATUSES.get(status).map_or_else(|| status.to_string(), |name| (*name).to_owned());
            Err(format!("service unhealthy (responded with {name:?})"))
        }
        Ok(Ok(Answer::Refused { code, message })) if code == UNIMPLEMENTED => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        )),
        Ok(Ok(Answer::Refused { code, message })) => {
            Err(format!("error: health rpc probe failed: rpc error: code = {code} desc = {message}"))
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Status(usize),
    Refused { code: String, message: String },
}

async fn ask(stream: TcpStream, authority: &str, service: &str) -> Result<Answer, String> {
    let said = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(said)?;
    let request = Request::post(format!("http://{authority}{PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(question(service)))
        .map_err(|error| error.to_string())?;
    let asking = async {
        let (head, body) = sender.send_request(request).await.map_err(said)?.into_parts();
        if head.status != StatusCode::OK {
            return Err(format!("the server answers with HTTP status {}", head.status.as_u16()));
        }
        let body = Limited::new(body, MOST).collect().await.map_err(|error| error.to_string())?;
        // One that refuses at once has its status in the head.
        let status = body.trailers().filter(|own| own.contains_key("grpc-status")).cloned();
        let status = status.unwrap_or(head.headers);
        answer(&status, &body.to_bytes())
    };
    // The connection is driven here and dropped with the question. The answer may have come with its end; where none came,
    // the question knows, and only how the connection ended says why.
    let mut asking = std::pin::pin!(asking);
    tokio::select! {
        answered = &mut asking => answered,
        ended = connection => asking.await.map_err(|why| match ended {
            Ok(()) => why,
            Err(error) => format!("the connection ended before the answer: {error}"),
        }),
    }
}

/// The message `HealthCheckRequest {service}`, with the length before it.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        // Field 1, bytes.
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length).unwrap_or(0));
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message);
    framed.freeze()
}

/// What the server says: its refusal, or the message `HealthCheckResponse {status}`.
fn answer(status: &HeaderMap, body: &[u8]) -> Result<Answer, String> {
    let text =
        |name: &str| status.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let code = text("grpc-status").ok_or("the server answers without a status: it speaks no gRPC")?;
    if code != "0" {
        return Ok(Answer::Refused { code, message: text("grpc-message").unwrap_or_default() });
    }
    let malformed = || "the server's answer is malformed".to_owned();
    let Some(([0, length @ ..], message)) = body.split_first_chunk::<5>() else { return Err(malformed()) };
    if u32::from_be_bytes(*length) as usize != message.len() {
        return Err(malformed());
    }
    match message {
        // What has its default is left out.
        [] => Ok(Answer::Status(0)),
        // Field 1, a number of one byte.
        [0x08, status @ 0..0x80] => Ok(Answer::Status(usize::from(*status))),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn status(code: &'static str) -> HeaderMap {
        HeaderMap::from_iter([("grpc-status".parse().expect("a name"), http::HeaderValue::from_static(code))])
    }

    #[test]
    fn a_question_has_its_length_before_it() {
        assert_eq!(&question("")[..], [0; 5]);
        assert_eq!(&question("a.B")[..], b"\0\0\0\0\x05\x0a\x03a.B");
        let long = "x".repeat(200);
        assert_eq!(&question(&long)[..8], b"\0\0\0\0\xcb\x0a\xc8\x01");
    }

    /// A frame of HTTP/2 (RFC 9113 section 4.1).
    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame =
            vec![0, 0, u8::try_from(payload.len()).expect("a short one"), kind, flags, 0, 0, 0, stream];
        frame.extend_from_slice(payload);
        frame
    }

    /// What is made of a server that sends this once it is asked, and closes.
    async fn asked(answer: Vec<u8>) -> Result<(), String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            // Preface, settings and question end with the message that is asked: an empty one.
            let mut seen = Vec::new();
            while !seen.ends_with(&[0; 5]) {
                assert!(stream.read_buf(&mut seen).await.expect("the question comes") > 0);
            }
            stream.write_all(&answer).await.expect("the answer leaves");
        });
        let stream = TcpStream::connect(address).await.expect("a connection");
        let found = check(stream, "h", "", Duration::from_secs(5)).await;
        server.await.expect("the server ends");
        found
    }

    #[tokio::test]
    async fn an_answer_counts_though_the_connection_ends_with_it() {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const SETTINGS: u8 = 4;
        const GOAWAY: u8 = 7;
        let status = b"\x88";
        let trailers = b"\0\x0bgrpc-status\x010";
        let answer = [
            frame(SETTINGS, 0, 0, b""),
            frame(HEADERS, 4, 1, status),
            frame(DATA, 0, 1, b"\0\0\0\0\x02\x08\x01"),
            frame(HEADERS, 5, 1, trailers),
            frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
        ];
        for round in 0..100 {
            assert_eq!(asked(answer.concat()).await, Ok(()), "round {round}");
        }
        let none = asked(frame(SETTINGS, 0, 0, b"")).await.expect_err("there is no answer");
        assert!(none.starts_with("error: health rpc probe failed: "), "{none}");
    }

    #[test]
    fn answers_are_statuses_or_refusals_or_nonsense() {
        assert_eq!(answer(&status("0"), b"\0\0\0\0\x02\x08\x01"), Ok(Answer::Status(1)));
        assert_eq!(answer(&status("0"), b"\0\0\0\0\0"), Ok(Answer::Status(0)));
        let refused = Answer::Refused { code: "12".to_owned(), message: String::new() };
        assert_eq!(answer(&status("12"), b""), Ok(refused));
        for bad in [&b""[..], b"\x01\0\0\0\0", b"\0\0\0\0\x03\x08\x01", b"\0\0\0\0\x02\x08\x80"] {
            assert!(answer(&status("0"), bad).is_err(), "{bad:?}");
        }
        assert!(answer(&HeaderMap::new(), b"\0\0\0\0\0").is_err());
    }
}
