//! Readies a tree for its evaluation: what depends only on the query's range is calculated, parentheses round arguments
//! are taken off, and what is the same at every step is marked to be evaluated once.

use super::QueryError;
use crate::ast::{At, BinaryOp, DurationExpr, Expr, NumberLiteral, Shift};
use crate::duration::Duration;
use crate::engine::info;

/// The times of the query, in milliseconds; of an instant query, the step is zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueryRange {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) step: i64,
}

/// Functions whose result changes with the time of evaluation even if their arguments do not.
const DEPENDS_ON_TIME: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
];

pub(super) fn prepare(mut expr: Expr, range: QueryRange) -> Result<Expr, QueryError> {
    resolve(&mut expr, range)?;
    mark_statistics(&mut expr, false);
    let (_, wrap) = mark(&mut expr);
    Ok(if wrap { Expr::StepInvariant(Box::new(expr)) } else { expr })
}

fn resolve(expr: &mut Expr, range: QueryRange) -> Result<(), QueryError> {
    match expr {
        Expr::Vector(selector) => resolve_shift(&mut selector.shift, range)?,
        Expr::Matrix(matrix) => {
            if let Some(calculated) = &matrix.range_expr {
                matrix.range = duration(calculated, range, false)?;
            }
            resolve_shift(&mut matrix.selector.shift, range)?;
        }
        Expr::Subquery(subquery) => {
            resolve_shift(&mut subquery.shift, range)?;
            if let Some(calculated) = &subquery.step_expr {
                subquery.step = duration(calculated, range, false)?;
            }
            if let Some(calculated) = &subquery.range_expr {
                subquery.range = duration(calculated, range, false)?;
            }
        }
        Expr::Call(call) => {
            let value = match call.function.name {
                "start" => range.start as f64 / 1000.0,
                "end" => range.end as f64 / 1000.0,
                "range" => (range.end - range.start) as f64 / 1000.0,
                "step" if range.start == range.end => 0.0,
                "step" => range.step as f64 / 1000.0,
                _ => f64::NAN,
            };
            if matches!(call.function.name, "start" | "end" | "range" | "step") {
                *expr = Expr::Number(NumberLiteral { value, is_duration: false, position: call.position });
                return Ok(());
            }
            call.args.iter_mut().for_each(take_off_parens);
        }
        Expr::Aggregate(aggregate) => {
            take_off_parens(&mut aggregate.expr);
            aggregate.param.iter_mut().for_each(take_off_parens);
        }
        _ => {}
    }
    expr.children_mut().into_iter().try_for_each(|child| resolve(child, range))
}

fn take_off_parens(expr: &mut Expr) {
    while let Expr::Paren(paren) = expr {
        let placeholder =
            Expr::Number(NumberLiteral { value: 0.0, is_duration: false, position: paren.position });
        *expr = std::mem::replace(&mut paren.expr, placeholder);
    }
}

fn resolve_shift(shift: &mut Shift, range: QueryRange) -> Result<(), QueryError> {
    if let Some(calculated) = &shift.offset_expr {
        shift.offset = duration(calculated, range, true)?;
    }
    match shift.at {
        Some(At::Start) => shift.at = Some(At::Time(range.start)),
        Some(At::End) => shift.at = Some(At::Time(range.end)),
        _ => {}
    }
    Ok(())
}

fn duration(expr: &DurationExpr, range: QueryRange, may_be_negative: bool) -> Result<Duration, QueryError> {
    let refuse = |reason: &str| {
        let position = expr.position();
        Err(QueryError::Evaluation(format!("{}:{}: {reason}", position.start, position.end)))
    };
    let seconds = calculated(expr, range)?;
    if !seconds.is_finite() {
        return refuse("duration is NaN or infinite");
    }
    if seconds <= 0.0 && !may_be_negative {
        return refuse("duration must be greater than 0");
    }
    if seconds.abs() > (1u64 << 63) as f64 / 1e9 {
        return refuse("duration is out of range");
    }
    Ok(Duration::from_millis((seconds * 1000.0) as i64))
}

fn calculated(expr: &DurationExpr, range: QueryRange) -> Result<f64, QueryError> {
    Ok(match expr {
        DurationExpr::Number(number) => number.value,
        DurationExpr::Step(_) => range.step as f64 / 1000.0,
        DurationExpr::Range(_) => (range.end - range.start) as f64 / 1000.0,
        DurationExpr::Paren(inner, _) => calculated(inner, range)?,
        DurationExpr::Negative(inner, _) => -calculated(inner, range)?,
        DurationExpr::MaxOf(pair) => go_max(calculated(&pair.left, range)?, calculated(&pair.right, range)?),
        DurationExpr::MinOf(pair) => go_min(calculated(&pair.left, range)?, calculated(&pair.right, range)?),
        DurationExpr::Binary(op, sides) => {
            let (left, right) = (calculated(&sides.0, range)?, calculated(&sides.1, range)?);
            let by_zero = |what: &str| {
                let position = expr.position();
                QueryError::Evaluation(format!("{}:{}: {what} by zero", position.start, position.end))
            };
            match op {
                BinaryOp::Add => left + right,
                BinaryOp::Sub => left - right,
                BinaryOp::Mul => left * right,
                BinaryOp::Div if right == 0.0 => return Err(by_zero("division")),
                BinaryOp::Mod if right == 0.0 => return Err(by_zero("modulo")),
                BinaryOp::Div => left / right,
                BinaryOp::Mod => left % right,
                _ => left.powf(right),
            }
        }
    })
}

/// The larger of two numbers; not a number if either is none.
pub(super) fn go_max(one: f64, two: f64) -> f64 {
    if one == f64::INFINITY || two == f64::INFINITY {
        return f64::INFINITY;
    }
    if one.is_nan() || two.is_nan() { f64::NAN } else { one.max(two) }
}

/// The smaller of two numbers; not a number if either is none.
pub(super) fn go_min(one: f64, two: f64) -> f64 {
    if one == f64::NEG_INFINITY || two == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    if one.is_nan() || two.is_nan() { f64::NAN } else { one.min(two) }
}

/// Marks the selectors of whose histograms only the count and sum are needed. Within a subquery resets are found by the
/// buckets.
fn mark_statistics(expr: &mut Expr, only: bool) {
    let only = match expr {
        Expr::Vector(selector) => {
            selector.statistics_only = only;
            return;
        }
        Expr::Matrix(matrix) => {
            matrix.selector.statistics_only = only;
            return;
        }
        Expr::Subquery(_) => false,
        Expr::Binary(binary) => only && !matches!(binary.op, BinaryOp::TrimUpper | BinaryOp::TrimLower),
        Expr::Call(call) => match call.function.name {
            "histogram_count" | "histogram_sum" | "histogram_avg" => true,
            "histogram_quantile"
            | "histogram_quantiles"
            | "histogram_fraction"
            | "histogram_stddev"
            | "histogram_stdvar" => false,
            _ => only,
        },
        _ => only,
    };
    expr.children_mut().into_iter().for_each(|child| mark_statistics(child, only));
}

/// Marks the largest parts that are the same at every step. Says whether all of `expr` is, and whether it should be
/// marked itself: ranges are evaluated by the function round them, and constants are not worth it.
fn mark(expr: &mut Expr) -> (bool, bool) {
    match expr {
        Expr::Number(_) | Expr::String(_) => (true, false),
        Expr::Vector(selector) => {
            let fixed = selector.shift.at.is_some();
            (fixed, fixed)
        }
        Expr::Matrix(matrix) => (matrix.selector.shift.at.is_some(), false),
        Expr::Subquery(subquery) => {
            if mark(&mut subquery.expr).0 {
                wrap(&mut subquery.expr);
            }
            (subquery.shift.at.is_some(), false)
        }
        Expr::Paren(paren) => mark(&mut paren.expr),
        Expr::Unary(unary) => mark(&mut unary.expr),
        Expr::StepInvariant(_) => (true, false),
        Expr::Aggregate(aggregate) => {
            let (fixed, wraps) = mark(&mut aggregate.expr);
            let param = aggregate.param.as_mut().map_or((true, false), mark);
            if fixed && param.0 {
                return (true, true);
            }
            if wraps {
                wrap(&mut aggregate.expr);
            }
            (false, false)
        }
        Expr::Binary(binary) => {
            let (left, wrap_left) = mark(&mut binary.left);
            let (right, wrap_right) = mark(&mut binary.right);
            if left && right {
                return (true, true);
            }
            if wrap_left {
                wrap(&mut binary.left);
            }
            if wrap_right {
                wrap(&mut binary.right);
            }
            (false, false)
        }
        Expr::Call(call) => {
            let name = call.function.name;
            let mut fixed = !DEPENDS_ON_TIME.contains(&name);
            let mut timestamp_of_fixed = name == "timestamp";
            let mut wraps = Vec::with_capacity(call.args.len());
            for (place, arg) in call.args.iter_mut().enumerate() {
                let (arg_fixed, wrap_arg) = mark(arg);
                // The second argument of `info` is not evaluated.
                if name == "info" && place == 1 {
                    wraps.push(false);
                    continue;
                }
                wraps.push(wrap_arg);
                fixed &= arg_fixed;
                timestamp_of_fixed &= arg_fixed && matches!(arg, Expr::Vector(_));
            }
            if name == "info" {
                fixed &= call.args.first().is_some_and(info::has_one_reference);
            }
            if fixed || timestamp_of_fixed {
                return (true, true);
            }
            for (arg, wraps) in call.args.iter_mut().zip(wraps) {
                if wraps {
                    wrap(arg);
                }
            }
            (false, false)
        }
    }
}

fn wrap(expr: &mut Expr) {
    if matches!(expr, Expr::StepInvariant(_)) {
        return;
    }
    let position = expr.position();
    let placeholder = Expr::Number(NumberLiteral { value: 0.0, is_duration: false, position });
    *expr = Expr::StepInvariant(Box::new(std::mem::replace(expr, placeholder)));
}
