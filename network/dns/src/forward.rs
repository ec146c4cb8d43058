//! Questions to others: each from a port and with a number of its own, so that nobody answers who was not asked (RFC 5452).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::question::HEADER;

/// The largest datagram.
const LARGEST: usize = 65_535;

/// What messages go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Datagram,
    Stream,
}

/// Asks one server after another, each for so long, until one knows. What the last one says who does not is better than nothing.
pub(crate) async fn ask(
    servers: &[SocketAddr],
    question: &[u8],
    over: Transport,
    each: Duration,
    number: u16,
) -> Option<Vec<u8>> {
    let mut last = None;
    for server in servers {
        let asked = timeout(each, async {
            match over {
                Transport::Datagram => by_datagram(*server, question, number).await,
                Transport::Stream => by_stream(*server, question, number).await,
            }
        });
        match asked.await {
            Ok(Ok(answer)) if is_helpful(&answer) => return Some(answer),
            Ok(Ok(answer)) => last = Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "a resolver does not answer"),
            Err(_) => tracing::debug!(%server, "a resolver does not answer in time"),
        }
    }
    last
}

/// Whether others need not be asked, too: not so when the server failed or refuses (RFC 1035, 4.1.1, RCODE 2 and 5).
fn is_helpful(answer: &[u8]) -> bool {
    answer.get(3).is_some_and(|flags| !matches!(flags & 0x0f, 2 | 5))
}

/// The question under another number.
fn numbered(question: &[u8], number: u16) -> Vec<u8> {
    let mut own = question.to_vec();
    if let Some(place) = own.get_mut(..2) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    own
}

/// The answer under the number of the question, if it is one to it.
fn answers(mut answer: Vec<u8>, question: &[u8], number: u16) -> Option<Vec<u8>> {
    let is_answer = answer.len() >= HEADER && answer[2] & 0x80 != 0 && answer[..2] == number.to_be_bytes();
    if !is_answer {
        return None;
    }
    // The question comes back as it was asked; only one who did not understand it may leave it out.
    let end = question_end(question)?;
    let (asked, told) = (question.get(HEADER..end)?, answer.get(HEADER..end));
    let has_none = answer[4..6] == [0, 0] && answer[3] & 0x0f != 0;
    if !has_none && !told.is_some_and(|told| told.eq_ignore_ascii_case(asked)) {
        return None;
    }
    answer[..2].copy_from_slice(&question[..2]);
    Some(answer)
}

/// Where the first question of a message ends. Its name is not compressed: nothing is before it.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1 + length;
        match length {
            0 => return (at + 4 <= message.len()).then_some(at + 4),
            64.. => return None,
            _ => {}
        }
    }
}

async fn by_datagram(server: SocketAddr, question: &[u8], number: u16) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&numbered(question, number)).await?;
    let mut buffer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = answers(buffer[..length].to_vec(), question, number) {
            return Ok(answer);
        }
    }
}

async fn by_stream(server: SocketAddr, question: &[u8], number: u16) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_message(&mut stream, &numbered(question, number)).await?;
    let answer = read_message(&mut stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    answers(answer, question, number).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reads a message off a stream (RFC 1035, 4.2.2); nothing where it ends before one.
pub(crate) async fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    match stream.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// Writes a message to a stream, in one piece.
pub(crate) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a.` of type A in class IN, as question 7.
    const QUESTION: &[u8] = &[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1];

    fn answer(change: impl FnOnce(&mut Vec<u8>)) -> Option<Vec<u8>> {
        let mut answer = numbered(QUESTION, 99);
        answer[2] |= 0x80;
        change(&mut answer);
        answers(answer, QUESTION, 99)
    }

    #[test]
    fn an_answer_is_one_to_the_question_that_was_asked() {
        assert_eq!(question_end(QUESTION), Some(QUESTION.len()));
        let good = answer(|_| {}).unwrap();
        assert_eq!(good[..2], [0, 7]);
        assert!(answer(|bytes| bytes[13] = b'A').is_some());
        assert!(answer(|bytes| bytes[13] = b'b').is_none(), "another question");
        assert!(answer(|bytes| bytes[1] = 98).is_none(), "another number");
        assert!(answer(|bytes| bytes[2] = 1).is_none(), "a question itself");
        assert!(answer(|bytes| bytes.truncate(13)).is_none());
        assert!(
            answer(|bytes| {
                (bytes[3], bytes[5]) = (1, 0);
                bytes.truncate(12);
            })
            .is_some(),
            "not understood"
        );
        assert_eq!(question_end(&[0; 12]), None);
        assert_eq!(question_end(&[[0; 12].as_slice(), &[0xc0, 12, 0, 1, 0, 1]].concat()), None);
    }
}
