//! Blobs on their way out: "Pulling blobs" and "Deleting Blobs".
//!
//! A whole blob is digested while it is sent. Its last piece is held back until the digest is known to be right, so a
//! client never gets all bytes of a blob that the disk has spoiled.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{
    Registry,
    answer::{Answer, Body, broken, disk, full, not_allowed, range_refusal, reply},
};
use crate::{Digest, Error, Hasher, RepositoryName};

const PIECE_BYTES: usize = 64 << 10;

impl Registry {
    pub(super) async fn blob(
        &self,
        name: RepositoryName,
        digest: Digest,
        request: &Request<Incoming>,
    ) -> Answer {
        let store = Arc::clone(&self.store);
        match *request.method() {
            Method::DELETE => {
                disk(move || store.unlink_blob(&name, digest)).await?;
                return Ok(reply(StatusCode::ACCEPTED, &[], ""));
            }
            Method::GET | Method::HEAD => {}
            _ => return Err(not_allowed()),
        }
        let (file, length) = disk(move || {
            let file = store.open_blob(&name, digest)?;
            let at = |source| Error::Disk { path: PathBuf::from(digest.to_string()), source };
            let length = file.metadata().map_err(at)?.len();
            Ok((file, length))
        })
        .await?;
        let asked = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
        let part = asked.map(|text| part(text, length)).transpose().map_err(|()| range_refusal())?.flatten();
        let (first, end) = part.unwrap_or((0, length));
        let mut response = Response::builder()
            .status(if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK })
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::CONTENT_LENGTH, end - first)
            .header("docker-content-digest", digest.to_string());
        if part.is_some() {
            response = response.header(header::CONTENT_RANGE, format!("bytes {first}-{}/{length}", end - 1));
        }
        let body = if request.method() == Method::HEAD {
            full("")
        } else {
            let mut file = tokio::fs::File::from_std(file);
            file.seek(io::SeekFrom::Start(first)).await.map_err(broken)?;
            // A part of a blob cannot be checked by the whole one's digest.
            stream(file, end - first, part.is_none().then_some(digest))
        };
        response.body(body).map_err(broken)
    }
}

/// The bytes that a `Range` header asks for, the end excluded; none when the header is to be ignored (RFC 9110, 14.2).
fn part(text: &str, length: u64) -> Result<Option<(u64, u64)>, ()> {
    let Some(text) = text.strip_prefix("bytes=").filter(|text| !text.contains(',')) else { return Ok(None) };
    let (first, last) = text.split_once('-').ok_or(())?;
    if first.is_empty() {
        let suffix = last.parse::<u64>().map_err(|_| ())?.min(length);
        return if suffix == 0 { Err(()) } else { Ok(Some((length - suffix, length))) };
    }
    let first = first.parse::<u64>().map_err(|_| ())?;
    let last = if last.is_empty() { u64::MAX } else { last.parse().map_err(|_| ())? };
    if first > last || first >= length {
        Err(())
    } else {
        Ok(Some((first, last.saturating_add(1).min(length))))
    }
}

struct Sending {
    file: tokio::fs::File,
    left: u64,
    hasher: Hasher,
    expected: Option<Digest>,
}

fn stream(file: tokio::fs::File, left: u64, expected: Option<Digest>) -> Body {
    let sending = Sending { file, left, hasher: Hasher::default(), expected };
    let pieces = futures::stream::try_unfold(sending, |mut sending| async move {
        let Some(piece) = sending.next().await? else { return Ok(None) };
        Ok(Some((Frame::data(piece), sending)))
    });
    StreamBody::new(pieces).boxed()
}

impl Sending {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let length = usize::try_from(self.left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut piece = vec![0; length];
        self.file.read_exact(&mut piece).await?;
        self.left -= length as u64;
        if let Some(expected) = self.expected {
            self.hasher.update(&piece);
            if self.left == 0 {
                let found = std::mem::take(&mut self.hasher).finish();
                if found != expected {
                    tracing::error!(
                        blob = %expected,
                        "a blob in the registry is damaged: push or pull an image that has it again"
                    );
                    return Err(io::Error::other(Error::DigestMismatch { expected, found }));
                }
            }
        }
        Ok(Some(piece.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        for (text, expected) in [
            ("bytes=0-4", Ok(Some((0, 5)))),
            ("bytes=6-", Ok(Some((6, 11)))),
            ("bytes=6-99", Ok(Some((6, 11)))),
            ("bytes=-3", Ok(Some((8, 11)))),
            ("bytes=-99", Ok(Some((0, 11)))),
            ("bytes=-0", Err(())),
            ("bytes=11-", Err(())),
            ("bytes=5-4", Err(())),
            ("bytes=x-", Err(())),
            ("bytes=3", Err(())),
            ("bytes=0-1,3-4", Ok(None)),
            ("lines=0-1", Ok(None)),
        ] {
            assert_eq!(part(text, 11), expected, "{text}");
        }
        assert_eq!(part("bytes=0-", 0), Err(()));
    }
}
