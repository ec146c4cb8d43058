//! As much of DER (X.690) as a certificate takes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A value behind its head.
pub(super) fn tag(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut whole = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length @ 0..0x80) => whole.push(length),
        _ => {
            let length = content.len().to_be_bytes();
            let zeros = length.iter().take_while(|byte| **byte == 0).count();
            // At most eight bytes are left.
            whole.push(0x80 | u8::try_from(length.len() - zeros).unwrap_or(8));
            whole.extend(&length[zeros..]);
        }
    }
    whole.extend(content);
    whole
}

/// The content of the first value, and what comes after it.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.get(1..)?.split_first()?;
    let (length, rest) = match first {
        0..0x80 => (usize::from(first), rest),
        _ => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = length
                .iter()
                .try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)));
            (length?, rest)
        }
    };
    rest.split_at_checked(length)
}

pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tag(0x30, &parts.concat())
}

/// A number above zero.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    tag(0x02, bytes)
}

pub(super) fn boolean(value: bool) -> Vec<u8> {
    tag(0x01, &[if value { 0xff } else { 0 }])
}

pub(super) fn octets(bytes: &[u8]) -> Vec<u8> {
    tag(0x04, bytes)
}

/// Bits, so many of which at the end do not count.
pub(super) fn bits(unused: u32, bytes: &[u8]) -> Vec<u8> {
    let unused = u8::try_from(unused).unwrap_or(0);
    tag(0x03, &[&[unused], bytes].concat())
}

/// A value within the context of its parent.
pub(super) fn explicit(number: u8, value: &[u8]) -> Vec<u8> {
    tag(0xa0 | number, value)
}

/// A value whose head says its place in its parent instead of its type.
pub(super) fn implicit(number: u8, content: &[u8]) -> Vec<u8> {
    tag(0x80 | number, content)
}

pub(super) fn oid(arcs: &[u64]) -> Vec<u8> {
    let mut content = Vec::new();
    let (head, rest) = arcs.split_at(arcs.len().min(2));
    let first = head.iter().fold(0, |sum, arc| sum * 40 + arc);
    for arc in std::iter::once(first).chain(rest.iter().copied()) {
        let mut groups = vec![u8::try_from(arc & 0x7f).unwrap_or(0)];
        let mut left = arc >> 7;
        while left > 0 {
            groups.push(0x80 | u8::try_from(left & 0x7f).unwrap_or(0));
            left >>= 7;
        }
        content.extend(groups.into_iter().rev());
    }
    tag(0x06, &content)
}

/// A value as text.
pub(super) fn pem(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines: String =
        text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_x_690_has_them() {
        assert_eq!(tag(0x04, &[7; 3]), [4, 3, 7, 7, 7]);
        assert_eq!(tag(0x04, &[7; 200])[..4], [4, 0x81, 200, 7]);
        assert_eq!(tag(0x04, &[7; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(oid(&[1, 2, 840, 10045, 4, 3, 2]), [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
        assert_eq!(oid(&[2, 5, 29, 15]), [6, 3, 0x55, 0x1d, 0x0f]);
        for length in [0, 5, 127, 128, 255, 256, 70_000] {
            let whole = [tag(0x04, &vec![7; length]), vec![9]].concat();
            assert_eq!(split(&whole), Some((&vec![7; length][..], &[9][..])));
        }
    }

    #[test]
    fn what_is_cut_short_has_no_value() {
        let whole = tag(0x04, &[7; 300]);
        for cut in 0..whole.len() {
            assert_eq!(split(&whole[..cut]), None, "{cut}");
        }
    }
}
