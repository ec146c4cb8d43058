//! W3C Trace Context: a trace that a client began is passed on as it is, others begin here, so that whoever records spans
//! behind the engine finds those of one request together. The engine records none itself.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Makes identifiers that do not repeat, without a system call for each: the sequence of SplitMix64 from two secrets.
#[derive(Debug)]
pub(crate) struct Traces {
    secrets: [u64; 2],
    made: AtomicU64,
}

impl Default for Traces {
    fn default() -> Self {
        let chance = RandomState::new();
        Self { secrets: [chance.hash_one(0), chance.hash_one(1)], made: AtomicU64::new(0) }
    }
}

impl Traces {
    /// Sees to it that the request has a trace, and gives the trace's identifier.
    pub(crate) fn follow(&self, headers: &mut HeaderMap) -> Option<TraceId> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (parent, more) = (parents.next(), parents.next());
        if let (Some(parent), None) = (parent, more)
            && let Some(id) = read(parent.as_bytes())
        {
            return Some(id);
        }
        // Section 3.2.2.5 and 3.3: the state is of no use without the parent that it belongs to.
        headers.remove(TRACESTATE);
        let step = self.made.fetch_add(1, Ordering::Relaxed).wrapping_mul(GAMMA);
        let [high, low] = self.secrets.map(|secret| mix(secret.wrapping_add(step)));
        // Sampled, as those who record by themselves would have it.
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        // Zero is no identifier.
        for (digits, number) in [(3..19, high), (19..35, low.max(1)), (36..52, mix(high ^ low).max(1))] {
            put_hex(&mut text[digits], number);
        }
        headers.insert(TRACEPARENT, HeaderValue::from_bytes(&text).ok()?);
        text[3..35].try_into().ok().map(TraceId)
    }
}

/// The step of SplitMix64 from one number to the next.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Writes the number's last hexadecimal digits, as many as there is room for.
fn put_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[usize::from(number.to_le_bytes()[0] & 15)];
        number >>= 4;
    }
}

/// The identifier of a trace, as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 32]);

impl TraceId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a parent (section 3.2.2): of later versions, what they share with this one.
fn read(parent: &[u8]) -> Option<TraceId> {
    let (parent, rest) = parent.split_at_checked(55)?;
    let is_hex = |text: &[u8]| text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_none = |text: &[u8]| text.iter().all(|byte| *byte == b'0');
    let (version, id, span, flags) = (&parent[..2], &parent[3..35], &parent[36..52], &parent[53..]);
    let is_parted = [2, 35, 52].iter().all(|at| parent.get(*at) == Some(&b'-'));
    let ends = rest.is_empty() || (version != b"00" && rest.first() == Some(&b'-'));
    if !is_parted || !ends || version == b"ff" || ![version, id, span, flags].into_iter().all(is_hex) {
        return None;
    }
    if is_none(id) || is_none(span) {
        return None;
    }
    Some(TraceId(id.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn headers(parents: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(TRACESTATE, HeaderValue::from_static("a=1"))]);
        for parent in parents {
            headers.append(TRACEPARENT, HeaderValue::from_str(parent).unwrap());
        }
        headers
    }

    #[test]
    fn a_trace_that_was_begun_is_passed_on_with_its_state() {
        let later = format!("cc{}-more", &PARENT[2..]);
        for parent in [PARENT, &later] {
            let mut request = headers(&[parent]);
            let id = Traces::default().follow(&mut request).unwrap();
            assert_eq!(id.as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(request[TRACEPARENT], parent);
            assert_eq!(request[TRACESTATE], "a=1");
        }
    }

    #[test]
    fn where_there_is_no_sound_trace_one_begins() {
        let traces = Traces::default();
        let wrong = [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-x"),
            &PARENT.to_ascii_uppercase(),
            &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &format!("ff{}", &PARENT[2..]),
            &PARENT.replace("-4", "_4"),
        ];
        let mut cases: Vec<Vec<&str>> = wrong.iter().map(|parent| vec![*parent]).collect();
        cases.extend([vec![], vec![PARENT, PARENT]]);
        let mut seen = std::collections::HashSet::new();
        for case in cases {
            let mut request = headers(&case);
            let id = traces.follow(&mut request).unwrap();
            assert!(!request.contains_key(TRACESTATE), "{case:?}");
            assert_eq!(request.get_all(TRACEPARENT).iter().count(), 1, "{case:?}");
            assert_eq!(read(request[TRACEPARENT].as_bytes()), Some(id), "{case:?}");
            assert!(seen.insert(id.as_str().to_owned()), "{case:?}");
        }
    }
}
