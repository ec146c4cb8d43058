//! The functions of the language: their names and types.

use crate::ast::ValueType;
use crate::ast::ValueType::{Matrix, Scalar, String, Vector};

/// How many arguments a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// As many as it has types.
    Fixed,
    /// The last type may be left out, and may be given up to so many times.
    Optional(usize),
    /// The last type may be left out, and may be given any number of times.
    Endless,
}

/// A function's signature.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// As it is written.
    pub name: &'static str,
    /// The types of its arguments.
    pub args: &'static [ValueType],
    /// How many arguments it takes.
    pub arity: Arity,
    /// What it returns.
    pub returns: ValueType,
    /// Whether it has to be switched on.
    pub experimental: bool,
}

use Arity::{Endless, Fixed, Optional};

const fn stable(
    name: &'static str,
    args: &'static [ValueType],
    arity: Arity,
    returns: ValueType,
) -> Function {
    Function { name, args, arity, returns, experimental: false }
}

const fn experimental(
    name: &'static str,
    args: &'static [ValueType],
    arity: Arity,
    returns: ValueType,
) -> Function {
    Function { name, args, arity, returns, experimental: true }
}

/// All functions, sorted by name.
#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    stable("abs", &[Vector], Fixed, Vector),
    stable("absent", &[Vector], Fixed, Vector),
    stable("absent_over_time", &[Matrix], Fixed, Vector),
    stable("acos", &[Vector], Fixed, Vector),
    stable("acosh", &[Vector], Fixed, Vector),
    stable("asin", &[Vector], Fixed, Vector),
    stable("asinh", &[Vector], Fixed, Vector),
    stable("atan", &[Vector], Fixed, Vector),
    stable("atanh", &[Vector], Fixed, Vector),
    stable("avg_over_time", &[Matrix], Fixed, Vector),
    stable("ceil", &[Vector], Fixed, Vector),
    stable("changes", &[Matrix], Fixed, Vector),
    stable("clamp", &[Vector, Scalar, Scalar], Fixed, Vector),
    stable("clamp_max", &[Vector, Scalar], Fixed, Vector),
    stable("clamp_min", &[Vector, Scalar], Fixed, Vector),
    stable("cos", &[Vector], Fixed, Vector),
    stable("cosh", &[Vector], Fixed, Vector),
    stable("count_over_time", &[Matrix], Fixed, Vector),
    stable("day_of_month", &[Vector], Optional(1), Vector),
    stable("day_of_week", &[Vector], Optional(1), Vector),
    stable("day_of_year", &[Vector], Optional(1), Vector),
    stable("days_in_month", &[Vector], Optional(1), Vector),
    stable("deg", &[Vector], Fixed, Vector),
    stable("delta", &[Matrix], Fixed, Vector),
    stable("deriv", &[Matrix], Fixed, Vector),
    experimental("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Fixed, Vector),
    experimental("end", &[], Fixed, Scalar),
    stable("exp", &[Vector], Fixed, Vector),
    stable("first_over_time", &[Matrix], Fixed, Vector),
    stable("floor", &[Vector], Fixed, Vector),
    stable("histogram_avg", &[Vector], Fixed, Vector),
    stable("histogram_count", &[Vector], Fixed, Vector),
    stable("histogram_fraction", &[Scalar, Scalar, Vector], Fixed, Vector),
    stable("histogram_quantile", &[Scalar, Vector], Fixed, Vector),
    experimental("histogram_quantiles", &[Vector, String, Scalar, Scalar], Optional(9), Vector),
    stable("histogram_stddev", &[Vector], Fixed, Vector),
    stable("histogram_stdvar", &[Vector], Fixed, Vector),
    stable("histogram_sum", &[Vector], Fixed, Vector),
    stable("hour", &[Vector], Optional(1), Vector),
    stable("idelta", &[Matrix], Fixed, Vector),
    stable("increase", &[Matrix], Fixed, Vector),
    experimental("info", &[Vector, Vector], Optional(1), Vector),
    stable("irate", &[Matrix], Fixed, Vector),
    stable("label_join", &[Vector, String, String, String], Endless, Vector),
    stable("label_replace", &[Vector, String, String, String, String], Fixed, Vector),
    stable("last_over_time", &[Matrix], Fixed, Vector),
    stable("ln", &[Vector], Fixed, Vector),
    stable("log10", &[Vector], Fixed, Vector),
    stable("log2", &[Vector], Fixed, Vector),
    experimental("mad_over_time", &[Matrix], Fixed, Vector),
    experimental("max_of", &[Scalar, Scalar], Fixed, Scalar),
    stable("max_over_time", &[Matrix], Fixed, Vector),
    experimental("min_of", &[Scalar, Scalar], Fixed, Scalar),
    stable("min_over_time", &[Matrix], Fixed, Vector),
    stable("minute", &[Vector], Optional(1), Vector),
    stable("month", &[Vector], Optional(1), Vector),
    stable("pi", &[], Fixed, Scalar),
    stable("predict_linear", &[Matrix, Scalar], Fixed, Vector),
    stable("present_over_time", &[Matrix], Fixed, Vector),
    stable("quantile_over_time", &[Scalar, Matrix], Fixed, Vector),
    stable("rad", &[Vector], Fixed, Vector),
    experimental("range", &[], Fixed, Scalar),
    stable("rate", &[Matrix], Fixed, Vector),
    stable("resets", &[Matrix], Fixed, Vector),
    stable("round", &[Vector, Scalar], Optional(1), Vector),
    stable("scalar", &[Vector], Fixed, Scalar),
    stable("sgn", &[Vector], Fixed, Vector),
    stable("sin", &[Vector], Fixed, Vector),
    stable("sinh", &[Vector], Fixed, Vector),
    stable("sort", &[Vector], Fixed, Vector),
    experimental("sort_by_label", &[Vector, String], Endless, Vector),
    experimental("sort_by_label_desc", &[Vector, String], Endless, Vector),
    stable("sort_desc", &[Vector], Fixed, Vector),
    stable("sqrt", &[Vector], Fixed, Vector),
    experimental("start", &[], Fixed, Scalar),
    experimental("start_timestamp", &[Vector], Fixed, Vector),
    stable("stddev_over_time", &[Matrix], Fixed, Vector),
    stable("stdvar_over_time", &[Matrix], Fixed, Vector),
    experimental("step", &[], Fixed, Scalar),
    stable("sum_over_time", &[Matrix], Fixed, Vector),
    stable("tan", &[Vector], Fixed, Vector),
    stable("tanh", &[Vector], Fixed, Vector),
    stable("time", &[], Fixed, Scalar),
    stable("timestamp", &[Vector], Fixed, Vector),
    experimental("ts_of_first_over_time", &[Matrix], Fixed, Vector),
    experimental("ts_of_last_over_time", &[Matrix], Fixed, Vector),
    experimental("ts_of_max_over_time", &[Matrix], Fixed, Vector),
    experimental("ts_of_min_over_time", &[Matrix], Fixed, Vector),
    stable("vector", &[Scalar], Fixed, Vector),
    stable("year", &[Vector], Optional(1), Vector),];

/// The function of a name.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|place| &FUNCTIONS[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_its_name() {
        for known in FUNCTIONS {
            assert!(function(known.name).is_some_and(|found| std::ptr::eq(found, known)), "{}", known.name);
        }
        assert!(function("rates").is_none());
    }
}
