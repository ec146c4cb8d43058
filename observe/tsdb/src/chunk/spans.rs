//! Bringing the buckets of two histograms onto one layout.

use crate::histogram::{Number, Span, buckets_of};

/// The indices of the buckets that spans cover, in order.
pub(crate) fn indices(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut next = 0i64;
    spans.iter().flat_map(move |span| {
        let start = next + i64::from(span.offset);
        next = start + i64::from(span.length);
        start..next
    })
}

/// Spans that cover given indices, which ascend.
fn covering(indices: impl Iterator<Item = i64>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0i64;
    for index in indices {
        match spans.last_mut() {
            Some(last) if index == next => last.length += 1,
            _ => spans.push(Span { offset: (index - next) as i32, length: 1 }),
        }
        next = index + 1;
    }
    spans
}

/// Where the buckets of two layouts go in the layout that covers both.
#[derive(Debug, PartialEq)]
pub(crate) struct Merged {
    pub(crate) spans: Vec<Span>,
    pub(crate) left: Vec<usize>,
    pub(crate) right: Vec<usize>,
}

/// The layout that covers both.
pub(crate) fn merge(left: &[Span], right: &[Span]) -> Merged {
    let (mut left, mut right) = (indices(left).peekable(), indices(right).peekable());
    let mut merged = Merged { spans: Vec::new(), left: Vec::new(), right: Vec::new() };
    let mut union: Vec<i64> = Vec::new();
    loop {
        let next = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(&a), None) => a,
            (None, Some(&b)) => b,
            (Some(&a), Some(&b)) => a.min(b),
        };
        if left.next_if_eq(&next).is_some() {
            merged.left.push(union.len());
        }
        if right.next_if_eq(&next).is_some() {
            merged.right.push(union.len());
        }
        union.push(next);
    }
    merged.spans = covering(union.into_iter());
    merged
}

/// Counts at their new places, and zeroes in between.
pub(crate) fn spread<N: Number>(counts: &[N], places: &[usize], spans: &[Span]) -> Vec<N> {
    let mut out = vec![N::default(); buckets_of(spans) as usize];
    for (&count, &place) in counts.iter().zip(places) {
        out[place] = count;
    }
    out
}

/// Whether a bucket counts less on the right than on the left: the counter began anew in between.
pub(crate) fn shrinks<N: Number>(left: (&[Span], &[N]), right: (&[Span], &[N])) -> bool {
    if left.0 == right.0 {
        return left.1.iter().zip(right.1).any(|(a, b)| a > b);
    }
    let mut others = indices(right.0).zip(right.1).peekable();
    indices(left.0).zip(left.1).any(|(index, &count)| {
        while others.next_if(|(other, _)| *other < index).is_some() {}
        match others.peek() {
            Some((other, now)) if *other == index => count > **now,
            _ => count != N::default(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    #[test]
    fn the_union_of_two_layouts_keeps_every_bucket_in_its_place() {
        let left = [span(0, 2), span(2, 1), span(3, 2), span(3, 1), span(1, 1)];
        let right = [span(0, 3), span(1, 1), span(1, 4), span(3, 3)];
        assert_eq!(indices(&left).collect::<Vec<_>>(), [0, 1, 4, 8, 9, 13, 15]);
        let merged = merge(&left, &right);
        assert_eq!(merged.spans, right);
        assert_eq!(merged.left, [0, 1, 3, 6, 7, 8, 10]);
        assert_eq!(
            spread(&[6u64, 3, 3, 2, 4, 5, 1], &merged.left, &merged.spans),
            [6, 3, 0, 3, 0, 0, 2, 4, 5, 0, 1]
        );
    }

    #[test]
    fn empty_spans_and_negative_offsets_do_not_confuse() {
        let merged = merge(&[span(-3, 2), span(1, 0), span(1, 1)], &[]);
        assert_eq!(merged.spans, [span(-3, 2), span(2, 1)]);
        assert_eq!(merged.left, [0, 1, 2]);
    }

    #[test]
    fn a_counter_shrinks_when_a_used_bucket_falls_or_goes() {
        let left = [span(0, 3)];
        assert!(!shrinks((&left, &[1u64, 0, 2]), (&left, &[1, 5, 2])));
        assert!(shrinks((&left, &[1u64, 0, 2]), (&left, &[1, 5, 1])));
        // An empty bucket may go, a used one may not.
        assert!(!shrinks((&left, &[1u64, 0, 2]), (&[span(0, 1), span(1, 1)], &[1, 2])));
        assert!(shrinks((&left, &[1u64, 4, 2]), (&[span(0, 1), span(1, 1)], &[1, 2])));
    }
}
