//! Writes a tree over several lines where it is long, as Prometheus' `format_query` does.

use std::fmt::{self, Display, Formatter};

use crate::ast::{Aggregate, Binary, Expr, Subquery};
use crate::printer::{Grouping, Operator, SubqueryRange};

/// Longer expressions are written over several lines.
const WIDTH: usize = 100;

/// Begins a line.
struct Indent(usize);

impl Display for Indent {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        (0..self.0).try_for_each(|_| out.write_str("  "))
    }
}

impl Expr {
    /// The query over several lines where it is long.
    ///
    /// ```
    /// use xebec_promql::parser::{ParserOptions, parse};
    ///
    /// let query = format!("sum(rate({}[5m]))", "a".repeat(90));
    /// let pretty = parse(&query, ParserOptions::default()).unwrap().pretty();
    /// assert_eq!(pretty, format!("sum(\n  rate({}[5m])\n)", "a".repeat(90)));
    /// ```
    pub fn pretty(&self) -> String {
        self.pretty_at(0)
    }

    fn pretty_at(&self, level: usize) -> String {
        let whole = self.to_string();
        let indent = Indent(level);
        let is_short = whole.chars().count() <= WIDTH;
        match self {
            Self::StepInvariant(inner) => inner.pretty_at(level),
            Self::Unary(unary) => {
                let sign = if unary.negative { '-' } else { '+' };
                format!("{indent}{sign}{}", unary.expr.pretty_at(level).trim())
            }
            Self::Subquery(_) if is_short => whole,
            Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => {
                format!("{indent}{whole}")
            }
            _ if is_short => format!("{indent}{whole}"),
            Self::Subquery(subquery) => pretty_subquery(subquery, level),
            Self::Paren(paren) => format!("{indent}(\n{}\n{indent})", paren.expr.pretty_at(level + 1)),
            Self::Binary(binary) => pretty_binary(binary, level),
            Self::Aggregate(aggregate) => pretty_aggregate(aggregate, level),
            Self::Call(call) => {
                let args: Vec<String> = call.args.iter().map(|arg| arg.pretty_at(level + 1)).collect();
                format!("{indent}{}(\n{}\n{indent})", call.function.name, args.join(",\n"))
            }
        }
    }
}

fn pretty_subquery(subquery: &Subquery, level: usize) -> String {
    format!("{}{}", subquery.expr.pretty_at(level), SubqueryRange(subquery))
}

fn pretty_binary(binary: &Binary, level: usize) -> String {
    let (left, right) = (binary.left.pretty_at(level + 1), binary.right.pretty_at(level + 1));
    format!("{left}\n{}{}\n{right}", Indent(level), Operator(binary))
}

fn pretty_aggregate(aggregate: &Aggregate, level: usize) -> String {
    let indent = Indent(level);
    let param = aggregate.param.as_ref().map(|param| param.pretty_at(level + 1) + ",\n").unwrap_or_default();
    let expr = aggregate.expr.pretty_at(level + 1);
    format!("{indent}{}(\n{param}{expr}\n{indent})", Grouping(aggregate))
}
