//! Functions that change labels or order by them.

use std::cmp::Ordering;
use std::sync::Arc;

use super::calls::{label_name, text};
use super::evaluator::{Evaluated, Evaluation, Evaluator, same_labels};
use super::{Grid, QueryError};
use crate::ast::Expr;
use crate::dialect;
use crate::labels::{LabelsBuilder, METRIC_NAME};
use crate::value::{Matrix, Series, joined};

fn argument(args: &[Expr], place: usize) -> Arc<str> {
    args.get(place).and_then(text).cloned().unwrap_or_default()
}

fn refuse<T>(message: String) -> Evaluation<T> {
    Err(QueryError::Evaluation(message))
}

impl Evaluator<'_> {
    pub(super) fn label_replace(&mut self, args: &[Expr], grid: Grid) -> Evaluation<Evaluated> {
        let ((target, sound), template) = (label_name(args.get(1)), argument(args, 2));
        let (source, pattern) = (argument(args, 3), argument(args, 4));
        let Ok(regex) = dialect::anchored(&pattern) else {
            return refuse(format!("invalid regular expression in label_replace(): {pattern}"));
        };
        if !sound {
            return refuse(format!("invalid destination label name in label_replace(): {target}"));
        }
        let matrix = self.matrix(&args[0], grid)?;
        self.relabelled(matrix, &target, |series| {
            let captures = regex.captures(series.labels.get(&source))?;
            Some(dialect::expand(&template, &captures))
        })
    }

    pub(super) fn label_join(&mut self, args: &[Expr], grid: Grid) -> Evaluation<Evaluated> {
        let ((target, sound), separator) = (label_name(args.get(1)), argument(args, 2));
        let sources: Vec<(Arc<str>, bool)> = args.iter().skip(3).map(|arg| label_name(Some(arg))).collect();
        if let Some((source, _)) = sources.iter().find(|(_, sound)| !sound) {
            return refuse(format!("invalid source label name in label_join(): {source}"));
        }
        if !sound {
            return refuse(format!("invalid destination label name in label_join(): {target}"));
        }
        let matrix = self.matrix(&args[0], grid)?;
        self.relabelled(matrix, &target, |series| {
            let values: Vec<&str> = sources.iter().map(|(source, _)| series.labels.get(source)).collect();
            Some(values.join(&separator))
        })
    }

    fn relabelled(
        &mut self,
        mut matrix: Matrix,
        target: &Arc<str>,
        value: impl Fn(&Series) -> Option<String>,
    ) -> Evaluation<Evaluated> {
        for series in &mut matrix {
            self.tick()?;
            let Some(value) = value(series) else { continue };
            let mut labels = LabelsBuilder::from(&series.labels);
            labels.set(target.clone(), value);
            series.labels = labels.build();
            if **target == *METRIC_NAME {
                series.drop_name = false;
            }
        }
        joined(matrix).map(Evaluated::Matrix).ok_or_else(same_labels)
    }
}

/// Sorts by the values of labels, numbers in them by their value; what is equal, by all labels.
pub(super) fn sort_by_labels(matrix: &mut Matrix, names: &[&Arc<str>], descending: bool) {
    matrix.sort_by(|one, two| {
        let by_names = names.iter().map(|name| natural(one.labels.get(name), two.labels.get(name)));
        let order = by_names.fold(Ordering::Equal, Ordering::then).then_with(|| one.labels.cmp(&two.labels));
        if descending { order.reverse() } else { order }
    });
}

/// Compares texts part by part: runs of digits as numbers, what is between them as text.
fn natural(one: &str, two: &str) -> Ordering {
    let (mut one, mut two) = (one, two);
    loop {
        match (one.is_empty(), two.is_empty()) {
            (false, false) => {}
            (one, two) => return two.cmp(&one),
        }
        let (part, rest) = split(one);
        let (other, other_rest) = split(two);
        let order = match (part.parse::<u64>(), other.parse::<u64>()) {
            (Ok(number), Ok(other)) => number.cmp(&other),
            _ => part.cmp(other),
        };
        if order != Ordering::Equal {
            return order;
        }
        (one, two) = (rest, other_rest);
    }
}

/// The first run of digits or of anything else, and the rest.
fn split(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|letter: char| letter.is_ascii_digit());
    let end = text.find(|letter: char| letter.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_ordered_by_value() {
        assert_eq!(natural("a2", "a10"), Ordering::Less);
        assert_eq!(natural("a10b", "a10"), Ordering::Greater);
        assert_eq!(natural("", "a"), Ordering::Less);
        assert_eq!(natural("1.10", "1.9"), Ordering::Greater);
    }
}
