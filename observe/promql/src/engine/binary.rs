//! Binary operations on vectors and scalars. The series of two vectors are put into groups by the labels they are matched
//! by; each group is then walked over all steps, without looking at labels again.

use std::collections::HashMap;
use std::sync::Arc;

use super::element::{Element, arithmetic, combine};
use super::evaluator::{Evaluated, Evaluation, Evaluator};
use super::{Grid, QueryError};
use crate::annotations::Note;
use crate::ast::{Binary, BinaryOp, Cardinality, Matching};
use crate::labels::{Labels, LabelsBuilder, describes_metric};
use crate::position::Position;
use crate::value::{HistogramPoint, Matrix, Point, Series};

/// Walks over the samples of a series in step with the grid.
#[derive(Debug, Clone, Copy, Default)]
struct Walk {
    float: usize,
    histogram: usize,
}

impl Walk {
    fn at(&mut self, series: &Series, time: i64) -> Option<Element> {
        if let Some(point) = series.floats.get(self.float).filter(|point| point.time == time) {
            self.float += 1;
            return Some(Element::Float(point.value));
        }
        let point = series.histograms.get(self.histogram).filter(|point| point.time == time)?;
        self.histogram += 1;
        Some(Element::Histogram(Arc::clone(&point.histogram)))
    }
}

fn push(series: &mut Series, time: i64, value: Element) {
    match value {
        Element::Float(value) => series.floats.push(Point { time, value }),
        Element::Histogram(histogram) => series.histograms.push(HistogramPoint { time, histogram }),
    }
}

/// The series of both sides that have the same labels to be matched by.
#[derive(Debug, Default)]
struct Group {
    left: Vec<usize>,
    right: Vec<usize>,
}

fn groups(left: &[Series], right: &[Series], matching: &Matching) -> Vec<Group> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(left.len().max(right.len()));
    let mut groups: Vec<Group> = Vec::new();
    for (is_left, side) in [(true, left), (false, right)] {
        for (place, series) in side.iter().enumerate() {
            let signature = series.labels.matching(matching.on, &matching.labels);
            let group = *places.entry(signature).or_insert_with(|| {
                groups.push(Group::default());
                groups.len() - 1
            });
            let members = if is_left { &mut groups[group].left } else { &mut groups[group].right };
            members.push(place);
        }
    }
    groups
}

/// At which steps any of the series has a sample.
fn presence<'s>(series: impl Iterator<Item = &'s Series>, grid: Grid) -> Vec<bool> {
    let mut present = vec![false; grid.len()];
    for series in series {
        let histograms = series.histograms.iter().map(|point| point.time);
        for time in series.floats.iter().map(|point| point.time).chain(histograms) {
            present[((time - grid.start) / grid.step) as usize] = true;
        }
    }
    present
}

fn retain(series: &mut Series, grid: Grid, keep: impl Fn(usize) -> bool) {
    let step = |time: i64| ((time - grid.start) / grid.step) as usize;
    series.floats.retain(|point| keep(step(point.time)));
    series.histograms.retain(|point| keep(step(point.time)));
}

impl Evaluator<'_> {
    pub(super) fn binary(
        &mut self,
        binary: &Binary,
        position: Position,
        grid: Grid,
    ) -> Evaluation<Evaluated> {
        // A binary operation hides what stands round it from the selectors in it.
        let outer = std::mem::take(&mut self.function);
        let left = self.eval(&binary.left, grid)?;
        let right = self.eval(&binary.right, grid)?;
        self.function = outer;
        match (left, right) {
            (Evaluated::Scalar(left), Evaluated::Scalar(right)) => {
                let pairs = left.into_iter().zip(right);
                Ok(Evaluated::Scalar(pairs.map(|(left, right)| arithmetic(binary.op, left, right)).collect()))
            }
            (Evaluated::Matrix(vector), Evaluated::Scalar(scalar)) => {
                self.with_scalar(binary, vector, &scalar, false, position, grid)
            }
            (Evaluated::Scalar(scalar), Evaluated::Matrix(vector)) => {
                self.with_scalar(binary, vector, &scalar, true, position, grid)
            }
            (Evaluated::Matrix(left), Evaluated::Matrix(right)) => {
                let Some(matching) = &binary.matching else {
                    return Err(QueryError::Evaluation("vectors without matching".to_owned()));
                };
                let matrix = match binary.op {
                    BinaryOp::And | BinaryOp::Unless => {
                        restricted(left, &right, matching, binary.op == BinaryOp::And, grid)
                    }
                    BinaryOp::Or => united(left, right, matching, grid),
                    _ => self.matched(binary, matching, (&left, &right), position, grid)?,
                };
                self.settled(matrix, grid).map(Evaluated::Matrix)
            }
            _ => Err(QueryError::Evaluation("binary operators take no texts".to_owned())),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "an operation has two sides, and knows where it stands")]
    fn with_scalar(
        &mut self,
        binary: &Binary,
        mut vector: Matrix,
        scalar: &[f64],
        scalar_is_left: bool,
        position: Position,
        grid: Grid,
    ) -> Evaluation<Evaluated> {
        let op = binary.op;
        let renames = op.changes_metric() || binary.return_bool;
        for series in &mut vector {
            self.tick()?;
            if renames {
                self.rename(series);
            }
            let quick = series.histograms.is_empty() && op.changes_metric();
            let source = std::mem::take(&mut series.floats);
            let histograms = std::mem::take(&mut series.histograms);
            if quick {
                series.floats = source;
                let mut step = 0;
                let mut time = grid.start;
                for point in &mut series.floats {
                    while time < point.time {
                        time += grid.step;
                        step += 1;
                    }
                    point.value = match scalar_is_left {
                        true => arithmetic(op, scalar[step], point.value),
                        false => arithmetic(op, point.value, scalar[step]),
                    };
                }
                continue;
            }
            let step = |time: i64| ((time - grid.start) / grid.step) as usize;
            let samples = source.into_iter().map(|point| (point.time, Element::Float(point.value)));
            let samples = samples
                .chain(histograms.into_iter().map(|point| (point.time, Element::Histogram(point.histogram))));
            for (time, element) in samples {
                let number = Element::Float(scalar[step(time)]);
                let combined = match scalar_is_left {
                    true => combine(op, &number, &element),
                    false => combine(op, &element, &number),
                };
                let combined = match combined {
                    Ok(combined) => combined,
                    Err(note) => {
                        self.notes.add(note, position);
                        continue;
                    }
                };
                if binary.return_bool {
                    push(series, time, Element::Float(f64::from(u8::from(combined.keep))));
                } else if combined.keep {
                    // A comparison keeps the vector's sample, on whichever side it stands.
                    let keeps_right = op.is_comparison() && scalar_is_left;
                    push(series, time, if keeps_right { element } else { combined.value });
                }
            }
        }
        vector.retain(|series| !series.is_empty());
        self.renamed(vector, grid)
    }

    /// Applies an operator to the samples of two vectors that match each other.
    fn matched(
        &mut self,
        binary: &Binary,
        matching: &Matching,
        (left, right): (&[Series], &[Series]),
        position: Position,
        grid: Grid,
    ) -> Evaluation<Matrix> {
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let mut matcher = Matcher {
            binary,
            matching,
            swapped,
            drops_name: op_drops_name(binary, self.options.delayed_name_removal),
            many,
            one,
            grid,
            out: Vec::new(),
            last_steps: Vec::new(),
            notes: Vec::new(),
            both_present: None,
        };
        for group in groups(many, one, matching) {
            self.tick()?;
            matcher.group(self, &group)?;
        }
        for (_, note) in matcher.notes.into_iter().flatten() {
            self.notes.add(note, position);
        }
        let mut out = matcher.out;
        out.sort_by_key(|(order, _)| *order);
        Ok(out.into_iter().map(|(_, series)| series).filter(|series| !series.is_empty()).collect())
    }
}

fn op_drops_name(binary: &Binary, delayed: bool) -> bool {
    binary.op.changes_metric() || (binary.return_bool && !delayed)
}

/// The left series at the steps at which the right side has a match, or has none.
fn restricted(
    mut left: Matrix,
    right: &[Series],
    matching: &Matching,
    with_match: bool,
    grid: Grid,
) -> Matrix {
    for group in groups(&left, right, matching) {
        if group.right.is_empty() && !with_match {
            continue;
        }
        let present = presence(group.right.iter().map(|&place| &right[place]), grid);
        for &place in &group.left {
            retain(&mut left[place], grid, |step| present[step] == with_match);
        }
    }
    left.retain(|series| !series.is_empty());
    left
}

/// The left series, and the right ones at the steps at which the left side has no match.
fn united(left: Matrix, mut right: Matrix, matching: &Matching, grid: Grid) -> Matrix {
    for group in groups(&left, &right, matching) {
        if group.left.is_empty() {
            continue;
        }
        let present = presence(group.left.iter().map(|&place| &left[place]), grid);
        for &place in &group.right {
            retain(&mut right[place], grid, |step| !present[step]);
        }
    }
    right.retain(|series| !series.is_empty());
    left.into_iter().chain(right).collect()
}

/// Applies an operator group by group. On the side of `one` there is one sample of a group at a time.
struct Matcher<'m> {
    binary: &'m Binary,
    matching: &'m Matching,
    swapped: bool,
    drops_name: bool,
    many: &'m [Series],
    one: &'m [Series],
    grid: Grid,
    /// The results, with what they are ordered by.
    out: Vec<(usize, Series)>,
    /// The step at which each result last had a sample.
    last_steps: Vec<Option<usize>>,
    /// At each step, the note of the last series that had one.
    notes: Vec<Option<(usize, Note)>>,
    /// At which steps both sides have any sample.
    both_present: Option<Vec<bool>>,
}

/// A pair of series: the places of both, unless one is filled in.
type Pair = (Option<usize>, Option<usize>);

/// The results of a group: where the result of each pair of series is.
#[derive(Default)]
struct GroupResults {
    pairs: HashMap<Pair, usize>,
    places: HashMap<Labels, usize>,
    /// The result of the last pair of each series on the side of many: mostly there is only one.
    last: Vec<Option<(Pair, usize)>>,
    /// Of one-to-one matching: the step that last had a sample.
    last_step: Option<usize>,
}

impl Matcher<'_> {
    fn group(&mut self, evaluator: &mut Evaluator<'_>, group: &Group) -> Evaluation<()> {
        let (fill_one, fill_many) = (self.matching.fill_right, self.matching.fill_left);
        if (group.left.is_empty() && fill_many.is_none()) || (group.right.is_empty() && fill_one.is_none()) {
            // Nothing matches, but duplicates are an error all the same.
            return if group.right.len() > 1 { self.find_duplicates(group) } else { Ok(()) };
        }
        if group.right.len() > 1 {
            self.find_duplicates(group)?;
        }
        let mut many_walks = vec![Walk::default(); group.left.len()];
        let mut one_walks = vec![Walk::default(); group.right.len()];
        let mut results = GroupResults { last: vec![None; group.left.len() + 1], ..GroupResults::default() };
        for (step, time) in self.grid.times().enumerate() {
            evaluator.tick()?;
            let mut one_sample: Option<(usize, Element)> = None;
            for (walk, &place) in one_walks.iter_mut().zip(&group.right) {
                if let Some(element) = walk.at(&self.one[place], time) {
                    one_sample = Some((place, element));
                }
            }
            let mut matched = false;
            for (member, (walk, &place)) in many_walks.iter_mut().zip(&group.left).enumerate() {
                let Some(element) = walk.at(&self.many[place], time) else { continue };
                let (partner, other) = match (&one_sample, fill_one) {
                    (Some((partner, other)), _) => (Some(*partner), other.clone()),
                    (None, Some(fill)) => (None, Element::Float(fill)),
                    (None, None) => continue,
                };
                let pair = (Some(place), partner);
                matched |=
                    self.apply(evaluator, &mut results, (member, pair), (element, other), (step, time))?;
            }
            if let (Some((place, element)), Some(fill), false) = (one_sample, fill_many, matched) {
                let pair = (None, Some(place));
                let member = group.left.len();
                self.apply(
                    evaluator,
                    &mut results,
                    (member, pair),
                    (Element::Float(fill), element),
                    (step, time),
                )?;
            }
        }
        Ok(())
    }

    /// Applies the operator to a pair; whether that counts as a match.
    fn apply(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        results: &mut GroupResults,
        (member, pair): (usize, Pair),
        (many, one): (Element, Element),
        (step, time): (usize, i64),
    ) -> Evaluation<bool> {
        let order = pair.0.unwrap_or_else(|| self.many.len() + pair.1.unwrap_or(0));
        let (left, right) = if self.swapped { (&one, &many) } else { (&many, &one) };
        let combined = match combine(self.binary.op, left, right) {
            Ok(combined) => combined,
            Err(note) => {
                self.note(step, order, note);
                return Ok(false);
            }
        };
        if let Some(note) = combined.note {
            self.note(step, order, note);
        }
        let result = match results.last[member] {
            Some((last, result)) if last == pair => result,
            _ => {
                let result = self.result_of(results, pair, order);
                results.last[member] = Some((pair, result));
                result
            }
        };
        let one_to_one = self.matching.cardinality == Cardinality::OneToOne;
        let last_step = if one_to_one { &mut results.last_step } else { &mut self.last_steps[result] };
        if last_step.replace(step) == Some(step) {
            let message = match one_to_one {
                true => {
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                }
                false => "multiple matches for labels: grouping labels must ensure unique matches",
            };
            return Err(QueryError::Evaluation(message.to_owned()));
        }
        let series = &mut self.out[result].1;
        if self.binary.return_bool {
            evaluator.hold(1)?;
            push(series, time, Element::Float(f64::from(u8::from(combined.keep))));
        } else if combined.keep {
            evaluator.hold(1)?;
            push(series, time, combined.value);
        }
        Ok(true)
    }

    /// The place of the result of a pair.
    fn result_of(&mut self, results: &mut GroupResults, pair: Pair, order: usize) -> usize {
        if let Some(&result) = results.pairs.get(&pair) {
            return result;
        }
        let labels = self.result_labels(pair);
        let (out, last_steps, return_bool) = (&mut self.out, &mut self.last_steps, self.binary.return_bool);
        let result = *results.places.entry(labels).or_insert_with_key(|labels| {
            out.push((order, Series::new(labels.clone(), return_bool)));
            last_steps.push(None);
            out.len() - 1
        });
        results.pairs.insert(pair, result);
        result
    }

    fn note(&mut self, step: usize, order: usize, note: Note) {
        if self.notes.is_empty() {
            self.notes = vec![None; self.grid.len()];
        }
        let known = &mut self.notes[step];
        if known.as_ref().is_none_or(|(other, _)| *other <= order) {
            *known = Some((order, note));
        }
    }

    fn result_labels(&self, (many, one): Pair) -> Labels {
        let matching = self.matching;
        let (many, one) =
            (many.map(|place| &self.many[place].labels), one.map(|place| &self.one[place].labels));
        let filled = |labels: &Labels| labels.matching(matching.on, &matching.labels);
        let (base, other) = match (many, one) {
            (Some(many), Some(one)) => (many.clone(), one.clone()),
            (Some(many), None) => (many.clone(), filled(many)),
            (None, Some(one)) => (filled(one), one.clone()),
            (None, None) => return Labels::default(),
        };
        let mut labels = LabelsBuilder::from(&base);
        if self.drops_name {
            labels.retain(|name| !describes_metric(name));
        }
        if matching.cardinality == Cardinality::OneToOne {
            labels.retain(|name| matching.labels.iter().any(|label| **label == *name) == matching.on);
        }
        for name in &matching.include {
            labels.set(name.clone(), other.get(name));
        }
        labels.build()
    }

    /// Finds two samples of a group on the side where there must be one.
    fn find_duplicates(&mut self, group: &Group) -> Evaluation<()> {
        let grid = self.grid;
        let (many, one) = (self.many, self.one);
        let filled = self.matching.fill_left.is_some() || self.matching.fill_right.is_some();
        let both = self.both_present.get_or_insert_with(|| {
            let many = presence(many.iter(), grid);
            presence(one.iter(), grid).into_iter().zip(many).map(|(one, many)| one && many).collect()
        });
        let mut seen: Vec<Option<usize>> = vec![None; grid.len()];
        for &place in &group.right {
            let series = &one[place];
            let histograms = series.histograms.iter().map(|point| point.time);
            for time in series.floats.iter().map(|point| point.time).chain(histograms) {
                let step = ((time - grid.start) / grid.step) as usize;
                if !both[step] && !filled {
                    continue;
                }
                if let Some(other) = seen[step].replace(place) {
                    return Err(duplicates(self.matching, &series.labels, &one[other].labels));
                }
            }
        }
        Ok(())
    }
}

fn duplicates(matching: &Matching, one: &Labels, two: &Labels) -> QueryError {
    let side = if matching.cardinality == Cardinality::OneToMany { "left" } else { "right" };
    let group = one.matching(matching.on, &matching.labels);
    let mut both = [one.to_string(), two.to_string()];
    both.sort_unstable();
    let [one, two] = both;
    QueryError::Evaluation(format!(
        "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{one}, {two}];\
         many-to-many matching not allowed: matching labels must be unique on one side"
    ))
}
