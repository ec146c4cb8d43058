//! `info`: adds the labels of info metrics to series, joined by the labels that name an instance.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::evaluator::{Evaluated, Evaluation, Evaluator, same_labels};
use super::selection::Reference;
use super::{Grid, QueryError};
use crate::ast::{Expr, Subquery, ValueType};
use crate::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::matcher::{MatchOp, Matcher};
use crate::value::{HistogramPoint, Matrix, Point, Series, joined};

/// The info metric that is asked if none is named.
const TARGET_INFO: &str = "target_info";
/// The labels that series and info series have in common.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The time a selector looks at: fixed, or relative to the step.
type Looked = (Option<i64>, i64);

/// What the selectors in an expression look at.
#[derive(Default)]
struct References {
    first: Option<Looked>,
    differ: bool,
    /// There is a vector without any selector: it looks at the step itself.
    without_selector: bool,
}

impl References {
    fn inspect<'e>(&mut self, expr: &'e Expr, around: &mut Vec<&'e Subquery>) -> bool {
        if !matches!(expr.value_type(), ValueType::Vector | ValueType::Matrix) {
            return false;
        }
        let selector = match expr {
            Expr::Vector(selector) => selector,
            Expr::Matrix(matrix) => &matrix.selector,
            _ => {
                let inner = match expr {
                    // The second argument is no vector.
                    Expr::Call(call) if call.function.name == "info" => {
                        return call.args.first().is_some_and(|arg| self.inspect(arg, around));
                    }
                    Expr::Subquery(subquery) => Some(&**subquery),
                    _ => None,
                };
                around.extend(inner);
                let mut found = false;
                for child in expr.children() {
                    found |= self.inspect(child, around);
                }
                if inner.is_some() {
                    around.pop();
                }
                self.without_selector |= !found;
                return found;
            }
        };
        let mut looked: Looked = (selector.shift.fixed_at(), selector.shift.offset.millis());
        for subquery in around.iter().rev() {
            if looked.0.is_some() {
                break;
            }
            looked = (subquery.shift.fixed_at(), looked.1 + subquery.shift.offset.millis());
        }
        match self.first {
            None => self.first = Some(looked),
            Some(first) => {
                let same = match (first.0, looked.0) {
                    (Some(one), Some(two)) => one - first.1 == two - looked.1,
                    (None, None) => first.1 == looked.1,
                    _ => false,
                };
                self.differ |= !same;
            }
        }
        true
    }

    fn of(expr: &Expr) -> Self {
        let mut references = Self::default();
        references.inspect(expr, &mut Vec::new());
        references
    }

    fn only(&self) -> Option<Looked> {
        self.first.filter(|_| !self.differ && !self.without_selector)
    }
}

/// Whether all selectors in an expression look at the same time.
pub(super) fn has_one_reference(expr: &Expr) -> bool {
    References::of(expr).only().is_some()
}

/// The matchers of the second argument.
struct Wanted {
    /// For the names of info metrics.
    names: Vec<Matcher>,
    /// For the labels to be added; if there are any, others are not.
    data: Vec<Matcher>,
}

impl Wanted {
    fn new(selector: Option<&Expr>) -> Evaluation<Self> {
        let matchers = match selector {
            Some(Expr::Vector(selector)) => selector.matchers.as_slice(),
            _ => &[],
        };
        let (mut names, data): (Vec<_>, Vec<_>) =
            matchers.iter().cloned().partition(|matcher| *matcher.name == *METRIC_NAME);
        let positive = names.iter().any(|matcher| matches!(matcher.op, MatchOp::Equal | MatchOp::Regex));
        if names.is_empty() {
            names.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
        } else if !positive {
            let any = Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info").map_err(QueryError::Evaluation)?;
            names.insert(0, any);
        }
        Ok(Self { names, data })
    }

    fn is_info(&self, series: &Series) -> bool {
        self.names.iter().all(|matcher| matcher.matches(series.labels.get(METRIC_NAME)))
    }

    fn adds(&self, label: &str) -> bool {
        label != METRIC_NAME
            && (self.data.is_empty() || self.data.iter().any(|matcher| *matcher.name == *label))
    }
}

fn identity(labels: &Labels) -> [Arc<str>; 2] {
    IDENTIFYING.map(|name| labels.value(name).cloned().unwrap_or_default())
}

/// The matchers for the info series of `series`: one set for each combination of identifying labels that are there.
fn identifying_matchers<'s>(series: impl Iterator<Item = &'s Series>) -> Evaluation<Vec<Vec<Matcher>>> {
    let mut values: BTreeMap<[bool; 2], [BTreeSet<Arc<str>>; 2]> = BTreeMap::new();
    for series in series {
        let identity = identity(&series.labels);
        let present = [!identity[0].is_empty(), !identity[1].is_empty()];
        if present == [false, false] {
            continue;
        }
        let values = values.entry(present).or_default();
        for (values, value) in values.iter_mut().zip(identity) {
            values.insert(value);
        }
    }
    let set = |values: [BTreeSet<Arc<str>>; 2]| {
        let matcher = |(name, values): (&str, BTreeSet<Arc<str>>)| {
            let escaped: Vec<String> = values.iter().map(|value| regex::escape(value)).collect();
            match escaped.as_slice() {
                [one] if one.is_empty() => Ok(Matcher::equal(name, "")),
                several => Matcher::new(MatchOp::Regex, name, several.join("|")),
            }
        };
        IDENTIFYING.into_iter().zip(values).map(matcher).collect::<Result<Vec<_>, _>>()
    };
    values.into_values().map(|values| set(values).map_err(QueryError::Evaluation)).collect()
}

impl Evaluator<'_> {
    pub(super) fn info(&mut self, args: &[Expr], grid: Grid) -> Evaluation<Evaluated> {
        let looked = References::of(&args[0]).only().unwrap_or_default();
        let base = self.matrix(&args[0], grid)?;
        let wanted = Wanted::new(args.get(1))?;
        let ignored: HashSet<usize> = base
            .iter()
            .enumerate()
            .filter(|(_, series)| wanted.is_info(series))
            .map(|(place, _)| place)
            .collect();
        let enriched = base.iter().enumerate().filter(|(place, _)| !ignored.contains(place));
        let reference = Reference::fixed_or_offset(looked.0, looked.1);
        let mut info = Matrix::new();
        for mut matchers in identifying_matchers(enriched.map(|(_, series)| series))? {
            matchers.extend(wanted.data.iter().chain(&wanted.names).cloned());
            let selected = self.select(&matchers, grid, reference, (self.lookback(), 0), 0)?;
            info.extend(self.instant_series(&selected, grid, reference, true)?);
        }
        let combined = self.with_info(&base, &info, &ignored, &wanted, grid)?;
        joined(combined).map(Evaluated::Matrix).ok_or_else(same_labels)
    }

    fn with_info(
        &mut self,
        base: &[Series],
        info: &[Series],
        ignored: &HashSet<usize>,
        wanted: &Wanted,
        grid: Grid,
    ) -> Evaluation<Matrix> {
        let mut of_identity: HashMap<[Arc<str>; 2], Vec<usize>> = HashMap::new();
        for (place, series) in info.iter().enumerate() {
            of_identity.entry(identity(&series.labels)).or_default().push(place);
        }
        let keeps_unmatched = wanted.data.iter().all(|matcher| matcher.matches(""));
        let mut out: Matrix = Vec::new();
        for (place, series) in base.iter().enumerate() {
            self.check_time()?;
            if ignored.contains(&place) {
                out.push(series.clone());
                continue;
            }
            let candidates =
                of_identity.get(&identity(&series.labels)).map(Vec::as_slice).unwrap_or_default();
            let mut walks = vec![0usize; candidates.len()];
            let (mut float, mut histogram) = (0, 0);
            let mut results: HashMap<Vec<usize>, Option<usize>> = HashMap::new();
            for time in grid.times() {
                self.tick()?;
                let newest = newest_info(info, candidates, &mut walks, time)?;
                let number = series.floats.get(float).filter(|point| point.time == time);
                let sample = series.histograms.get(histogram).filter(|point| point.time == time);
                if number.is_none() && sample.is_none() {
                    continue;
                }
                let result = match results.get(&newest) {
                    Some(result) => *result,
                    None => {
                        let kept = !newest.is_empty() || keeps_unmatched;
                        let result = match kept {
                            true => {
                                let labels = enriched_labels(&series.labels, info, &newest, wanted)?;
                                out.push(Series::new(labels, series.drop_name));
                                Some(out.len() - 1)
                            }
                            false => None,
                        };
                        results.insert(newest, result);
                        result
                    }
                };
                let to = result.map(|result| &mut out[result]);
                if let Some(&Point { value, .. }) = number {
                    float += 1;
                    if let Some(to) = to {
                        to.floats.push(Point { time, value });
                    }
                } else if let Some(point) = sample {
                    histogram += 1;
                    if let Some(to) = to {
                        to.histograms.push(HistogramPoint { time, histogram: point.histogram.clone() });
                    }
                }
            }
        }
        out.retain(|series| !series.is_empty());
        Ok(out)
    }
}

/// Of the info series with a sample at a time, the newest one of each info metric.
fn newest_info(
    info: &[Series],
    candidates: &[usize],
    walks: &mut [usize],
    time: i64,
) -> Evaluation<Vec<usize>> {
    let mut newest: Vec<(usize, f64)> = Vec::new();
    for (walk, &place) in walks.iter_mut().zip(candidates) {
        // The value is the time at which the sample was taken.
        let Some(point) = info[place].floats.get(*walk).filter(|point| point.time == time) else { continue };
        *walk += 1;
        let name = info[place].labels.get(METRIC_NAME);
        match newest.iter_mut().find(|(other, _)| info[*other].labels.get(METRIC_NAME) == name) {
            None => newest.push((place, point.value)),
            Some((other, taken)) if *taken == point.value => {
                let (existing, new) = (&info[*other].labels, &info[place].labels);
                let at = point.value as i64;
                return Err(QueryError::Evaluation(format!(
                    "found duplicate series for info metric: existing {existing} @ {at}, new {new} @ {at}"
                )));
            }
            Some(known) if known.1 < point.value => *known = (place, point.value),
            Some(_) => {}
        }
    }
    Ok(newest.into_iter().map(|(place, _)| place).collect())
}

fn enriched_labels(base: &Labels, info: &[Series], from: &[usize], wanted: &Wanted) -> Evaluation<Labels> {
    let mut added = LabelsBuilder::default();
    let mut labels = LabelsBuilder::from(base);
    for &place in from {
        for label in info[place].labels.iter().filter(|label| wanted.adds(&label.name)) {
            let known = added.get(&label.name);
            if !known.is_empty() && *known != *label.value {
                return Err(QueryError::Evaluation(format!("conflicting label: {}", label.name)));
            }
            if base.value(&label.name).is_none() {
                added.set(label.name.clone(), label.value.clone());
                labels.set(label.name.clone(), label.value.clone());
            }
        }
    }
    Ok(labels.build())
}
