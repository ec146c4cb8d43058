//! Sets of series, as ascending lists of their numbers.

/// Series that are in all lists.
pub(crate) fn intersect(mut lists: Vec<Vec<u32>>) -> Vec<u32> {
    lists.sort_by_key(Vec::len);
    let mut lists = lists.into_iter();
    let Some(first) = lists.next() else { return Vec::new() };
    lists.fold(first, |mut kept, list| {
        let mut rest = list.as_slice();
        kept.retain(|&series| {
            rest = skip_to(rest, series);
            rest.first() == Some(&series)
        });
        kept
    })
}

/// Series that are in one list at least.
pub(crate) fn union(mut lists: Vec<Vec<u32>>) -> Vec<u32> {
    // Halves the number of lists each time: n log k comparisons in all.
    while lists.len() > 1 {
        lists.sort_by_key(|list| std::cmp::Reverse(list.len()));
        let rest = lists.split_off(lists.len().div_ceil(2));
        for (into, from) in lists.iter_mut().rev().zip(rest) {
            *into = union_of_two(into, &from);
        }
    }
    lists.pop().unwrap_or_default()
}

fn union_of_two(left: &[u32], right: &[u32]) -> Vec<u32> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left, right);
    while let (Some((&a, left_rest)), Some((&b, right_rest))) = (left.split_first(), right.split_first()) {
        out.push(a.min(b));
        if a <= b {
            left = left_rest;
        }
        if b <= a {
            right = right_rest;
        }
    }
    out.extend_from_slice(left);
    out.extend_from_slice(right);
    out
}

/// Series of the first list that are not in the second.
pub(crate) fn subtract(mut from: Vec<u32>, what: &[u32]) -> Vec<u32> {
    let mut rest = what;
    from.retain(|&series| {
        rest = skip_to(rest, series);
        rest.first() != Some(&series)
    });
    from
}

/// What is left of a list from the first entry that is not below `series`: in steps that double, since the lists may
/// be of very different length.
fn skip_to(list: &[u32], series: u32) -> &[u32] {
    let mut step = 1;
    while list.get(step - 1).is_some_and(|&entry| entry < series) {
        step *= 2;
    }
    let from = step / 2;
    let until = step.min(list.len());
    &list[from + list[from..until].partition_point(|&entry| entry < series)..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::btree_set, prelude::*};
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn lists_do_as_sets_do(sets in proptest::collection::vec(btree_set(0u32..200, 0..100), 1..6)) {
            let lists: Vec<Vec<u32>> = sets.iter().map(|set| set.iter().copied().collect()).collect();
            let all = sets.iter().skip(1).fold(sets[0].clone(), |all, set| &all & set);
            prop_assert_eq!(intersect(lists.clone()), Vec::from_iter(all));
            let any: BTreeSet<u32> = sets.iter().flatten().copied().collect();
            prop_assert_eq!(union(lists.clone()), Vec::from_iter(any));
            let last = lists.last().unwrap();
            let without = &sets[0] - sets.last().unwrap();
            prop_assert_eq!(subtract(lists[0].clone(), last), Vec::from_iter(without));
        }
    }
}
