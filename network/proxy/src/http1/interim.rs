//! Interim answers of an endpoint on their way to its client (RFC 9110 section 15.2), such as 103 with what to fetch early.
//! The exchange with the endpoint and the client's connection are one task, so that they need no more than a shared buffer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, BytesMut};
use http::Response;

use super::outgoing::put_fields;
use super::server::put_status;
use crate::hop;

/// The most that waits for a client; further interim answers are dropped.
const WAITING: usize = 64 * 1024;

/// The heads of interim answers that wait for the client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interim(Arc<Mutex<BytesMut>>);

impl Interim {
    pub(crate) fn put(&self, mut head: Response<()>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING {
            hop::strip(head.headers_mut());
            put_status(&mut waiting, head.status());
            put_fields(&mut waiting, head.headers());
            waiting.put_slice(b"\r\n");
        }
    }

    /// Moves what waits to the end of `out`, and leaves `out` with its room where nothing does.
    pub(crate) fn move_to(&self, out: &mut BytesMut) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.is_empty() {
            out.unsplit(std::mem::take(&mut waiting));
        }
    }
}
