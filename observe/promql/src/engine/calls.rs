//! Function calls on vectors and scalars.

use std::f64::consts::PI;

use super::evaluator::{Evaluated, Evaluation, Evaluator, same_labels};
use super::preparation::{go_max, go_min};
use super::selection::{Cursor, Reference};
use super::{Grid, QueryError};
use crate::annotations::Note;
use crate::ast::{Call, Expr, VectorSelector};
use crate::date::{Date, days_in_month};
use crate::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::matcher::{MatchOp, Matcher};
use crate::value::{Matrix, Point, Series, joined};

impl<'e> Evaluator<'e> {
    pub(super) fn call(&mut self, call: &Call, grid: Grid) -> Evaluation<Evaluated> {
        let name = call.function.name;
        let outer = std::mem::replace(&mut self.function, name);
        let evaluated = self.function_call(call, name, grid);
        self.function = outer;
        evaluated
    }

    fn function_call(&mut self, call: &Call, name: &'static str, grid: Grid) -> Evaluation<Evaluated> {
        if let ("timestamp" | "start_timestamp", [Expr::Vector(selector)]) = (name, call.args.as_slice()) {
            return self.timestamps(selector, name == "start_timestamp", grid);
        }
        if call.args.iter().any(|arg| matches!(arg, Expr::Matrix(_) | Expr::Subquery(_))) {
            return self.range_call(call, grid).map(Evaluated::Matrix);
        }
        if let Some(function) = float_function(name) {
            return self.mapped(&call.args[0], grid, |value, _| function(value));
        }
        if let Some(function) = date_function(name) {
            return match call.args.first() {
                Some(arg) => self.mapped(arg, grid, |value, _| function(Date::from_seconds(value as i64))),
                None => {
                    let of = |time: i64| function(Date::from_seconds(time.div_euclid(1000)));
                    Ok(vector_of(grid.times().map(of), grid))
                }
            };
        }
        match name {
            "time" => Ok(Evaluated::Scalar(grid.times().map(|time| time as f64 / 1000.0).collect())),
            "pi" => Ok(Evaluated::Scalar(vec![PI; grid.len()])),
            "vector" => Ok(vector_of(self.scalars(&call.args[0], grid)?.into_iter(), grid)),
            "scalar" => self.scalar(&call.args[0], grid),
            "max_of" | "min_of" => {
                let one = self.scalars(&call.args[0], grid)?;
                let two = self.scalars(&call.args[1], grid)?;
                let pick = if name == "max_of" { go_max } else { go_min };
                Ok(Evaluated::Scalar(one.into_iter().zip(two).map(|(one, two)| pick(one, two)).collect()))
            }
            "timestamp" => self.evaluated_timestamps(&call.args[0], grid),
            "start_timestamp" => {
                self.eval(&call.args[0], grid)?;
                Ok(Evaluated::Matrix(Matrix::new()))
            }
            "round" => {
                let nearest = call.args.get(1).map(|arg| self.scalars(arg, grid)).transpose()?;
                self.mapped(&call.args[0], grid, |value, step| {
                    let inverse = 1.0 / nearest.as_ref().map_or(1.0, |nearest| nearest[step]);
                    (value * inverse + 0.5).floor() / inverse
                })
            }
            "clamp" | "clamp_min" | "clamp_max" => self.clamp(call, name, grid),
            "absent" => self.absent(&call.args[0], grid),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => self.sort(call, name, grid),
            "label_replace" => self.label_replace(&call.args, grid),
            "label_join" => self.label_join(&call.args, grid),
            "info" => self.info(&call.args, grid),
            _ => self.histogram_call(call, name, grid),
        }
    }

    /// Applies a function to every number of a vector; histograms are left out.
    fn mapped(
        &mut self,
        arg: &Expr,
        grid: Grid,
        function: impl Fn(f64, usize) -> f64,
    ) -> Evaluation<Evaluated> {
        let mut matrix = self.matrix(arg, grid)?;
        for series in &mut matrix {
            self.tick()?;
            self.rename(series);
            series.histograms.clear();
            let mut step = 0;
            let mut time = grid.start;
            for point in &mut series.floats {
                while time < point.time {
                    time += grid.step;
                    step += 1;
                }
                point.value = function(point.value, step);
            }
        }
        matrix.retain(|series| !series.is_empty());
        self.renamed(matrix, grid)
    }

    /// The result of a function that makes another metric of each series.
    pub(super) fn renamed(&self, matrix: Matrix, grid: Grid) -> Evaluation<Evaluated> {
        match self.options.delayed_name_removal {
            true => Ok(Evaluated::Matrix(matrix)),
            false => self.settled(matrix, grid).map(Evaluated::Matrix),
        }
    }

    fn clamp(&mut self, call: &Call, name: &str, grid: Grid) -> Evaluation<Evaluated> {
        let steps = grid.len();
        let mut bound = |place: usize| self.scalars(&call.args[place], grid);
        let (least, most) = match name {
            "clamp" => (bound(1)?, bound(2)?),
            "clamp_min" => (bound(1)?, vec![f64::INFINITY; steps]),
            _ => (vec![f64::NEG_INFINITY; steps], bound(1)?),
        };
        let evaluated =
            self.mapped(&call.args[0], grid, |value, step| go_max(least[step], go_min(most[step], value)))?;
        let Evaluated::Matrix(mut matrix) = evaluated else { return Ok(evaluated) };
        // Where the bounds cross there is no result.
        if least.iter().zip(&most).any(|(least, most)| most < least) {
            for series in &mut matrix {
                series.floats.retain(|point| {
                    let step = ((point.time - grid.start) / grid.step) as usize;
                    most[step] >= least[step] || most[step].is_nan() || least[step].is_nan()
                });
            }
            matrix.retain(|series| !series.is_empty());
        }
        Ok(Evaluated::Matrix(matrix))
    }

    fn scalar(&mut self, arg: &Expr, grid: Grid) -> Evaluation<Evaluated> {
        let matrix = self.matrix(arg, grid)?;
        let mut found: Vec<Option<f64>> = vec![None; grid.len()];
        for series in &matrix {
            self.tick()?;
            for point in &series.floats {
                let value = &mut found[((point.time - grid.start) / grid.step) as usize];
                *value = Some(if value.is_some() { f64::NAN } else { point.value });
            }
        }
        Ok(Evaluated::Scalar(found.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect()))
    }

    fn absent(&mut self, arg: &Expr, grid: Grid) -> Evaluation<Evaluated> {
        let matrix = self.matrix(arg, grid)?;
        Ok(Evaluated::Matrix(absence(&matrix, arg, grid, false)))
    }

    /// When the samples of a selector were taken, or when their counters began.
    fn timestamps(&mut self, selector: &VectorSelector, starts: bool, grid: Grid) -> Evaluation<Evaluated> {
        let reference = Reference::new(&selector.shift);
        let selected = self.select(&selector.matchers, grid, reference, (self.lookback(), 0), 0)?;
        if starts && !self.options.start_timestamps {
            return Ok(Evaluated::Matrix(Matrix::new()));
        }
        let mut matrix = Matrix::with_capacity(selected.len());
        for stored in &selected {
            self.tick()?;
            let mut cursor = Cursor::new(stored.samples(), self.lookback());
            let mut series = Series::new(stored.labels().clone(), false);
            self.rename(&mut series);
            for step in grid.times() {
                self.tick()?;
                if let Some(sample) = cursor.at(reference.at(step))? {
                    let time = if starts { sample.start_time } else { sample.time };
                    self.hold(1)?;
                    series.floats.push(Point { time: step, value: time as f64 / 1000.0 });
                }
            }
            if !series.is_empty() {
                matrix.push(series);
            }
        }
        self.renamed(matrix, grid)
    }

    fn evaluated_timestamps(&mut self, arg: &Expr, grid: Grid) -> Evaluation<Evaluated> {
        let mut matrix = self.matrix(arg, grid)?;
        for series in &mut matrix {
            self.rename(series);
            let of_histograms = std::mem::take(&mut series.histograms);
            let times = of_histograms.iter().map(|point| point.time);
            series.floats.extend(times.map(|time| Point { time, value: 0.0 }));
            series.floats.sort_by_key(|point| point.time);
            series.floats.iter_mut().for_each(|point| point.value = point.time as f64 / 1000.0);
        }
        self.renamed(matrix, grid)
    }

    fn sort(&mut self, call: &Call, name: &str, grid: Grid) -> Evaluation<Evaluated> {
        if !grid.is_instant() {
            self.notes.add(Note::SortInRangeQuery, call.position);
        }
        let mut matrix = self.matrix(&call.args[0], grid)?;
        let by_label = name.starts_with("sort_by_label");
        if !by_label {
            matrix.iter_mut().for_each(|series| series.histograms.clear());
            matrix.retain(|series| !series.is_empty());
        }
        if grid.is_instant() {
            let descending = name.ends_with("_desc");
            if by_label {
                let names = call.args[1..].iter().filter_map(text).collect::<Vec<_>>();
                super::label_calls::sort_by_labels(&mut matrix, &names, descending);
            } else {
                let value = |series: &Series| series.floats.first().map_or(f64::NAN, |point| point.value);
                matrix.sort_by(|one, two| {
                    let (one, two) = (value(one), value(two));
                    // Whatever the direction, what is no number comes last.
                    match (one.is_nan(), two.is_nan(), descending) {
                        (false, false, false) => one.total_cmp(&two),
                        (false, false, true) => two.total_cmp(&one),
                        (one, two, _) => one.cmp(&two),
                    }
                });
            }
        }
        if !self.options.delayed_name_removal && joined(matrix.clone()).is_none() {
            return Err(same_labels());
        }
        Ok(Evaluated::Matrix(matrix))
    }
}

/// The text of an argument that is one.
pub(super) fn text(arg: &Expr) -> Option<&std::sync::Arc<str>> {
    match arg.without_parens() {
        Expr::String(string) => Some(&string.value),
        _ => None,
    }
}

/// An argument that is the name of a label, and whether it can be one.
pub(super) fn label_name(arg: Option<&Expr>) -> (std::sync::Arc<str>, bool) {
    match arg.map(Expr::without_parens) {
        Some(Expr::String(string)) => {
            (string.value.clone(), string.bytes.is_none() && !string.value.is_empty())
        }
        _ => ("".into(), false),
    }
}

/// A vector of one series without labels.
fn vector_of(values: impl Iterator<Item = f64>, grid: Grid) -> Evaluated {
    let floats = grid.times().zip(values).map(|(time, value)| Point { time, value }).collect();
    Evaluated::Matrix(vec![Series { floats, ..Series::new(Labels::default(), false) }])
}

/// One wherever no series has a sample, with the labels that the argument says its series would have.
pub(super) fn absence(matrix: &[Series], arg: &Expr, grid: Grid, drop_name: bool) -> Matrix {
    let mut present = vec![false; grid.len()];
    for series in matrix {
        let histograms = series.histograms.iter().map(|point| point.time);
        for time in series.floats.iter().map(|point| point.time).chain(histograms) {
            present[((time - grid.start) / grid.step) as usize] = true;
        }
    }
    let absent = grid.times().zip(present).filter(|(_, present)| !present);
    let floats: Vec<Point> = absent.map(|(time, _)| Point { time, value: 1.0 }).collect();
    match floats.is_empty() {
        true => Matrix::new(),
        false => vec![Series { floats, ..Series::new(labels_of_absent(arg), drop_name) }],
    }
}

/// The labels that a selector compares with exactly one value.
fn labels_of_absent(arg: &Expr) -> Labels {
    let matchers: &[Matcher] = match arg {
        Expr::Vector(selector) => &selector.matchers,
        Expr::Matrix(matrix) => &matrix.selector.matchers,
        _ => &[],
    };
    let mut labels = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| *matcher.name != *METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&&*matcher.name) {
            labels.set(matcher.name.clone(), matcher.value.clone());
            seen.push(&matcher.name);
        } else {
            labels.remove(&matcher.name);
        }
    }
    labels.build()
}

/// Functions of one number.
fn float_function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |degrees| degrees * PI / 180.0,
        "deg" => |radians| radians * 180.0 / PI,
        "sgn" => |value| match value {
            value if value < 0.0 => -1.0,
            value if value > 0.0 => 1.0,
            value => value,
        },
        _ => return None,
    })
}

/// Functions of a date.
fn date_function(name: &str) -> Option<fn(Date) -> f64> {
    Some(match name {
        "days_in_month" => |date| days_in_month(date.year, date.month) as f64,
        "day_of_month" => |date| date.day as f64,
        "day_of_week" => |date| date.weekday as f64,
        "day_of_year" => |date| date.day_of_year as f64,
        "hour" => |date| date.hour as f64,
        "minute" => |date| date.minute as f64,
        "month" => |date| date.month as f64,
        "year" => |date| date.year as f64,
        _ => return None,
    })
}

/// The error about a call that the parser should not have let through.
pub(super) fn misplaced(name: &str) -> QueryError {
    QueryError::Evaluation(format!("function {name} cannot be evaluated with these arguments"))
}
