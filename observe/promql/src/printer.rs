//! Writes a tree as a query that reads back as the same tree.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::ast::{
    Aggregate, At, Binary, BinaryOp, Borders, Call, Cardinality, DurationExpr, Expr, Matching,
    MatrixSelector, NumberLiteral, Shift, StringLiteral, Subquery, VectorSelector,
};
use crate::duration::Duration;
use crate::labels::{METRIC_NAME, is_plain_name};
use crate::matcher::MatchOp;
use crate::number::{general, plain, quoted, quoted_bytes};

impl Display for Expr {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Number(number) => number.fmt(out),
            Expr::String(string) => string.fmt(out),
            Expr::Vector(selector) => selector.fmt(out),
            Expr::Matrix(matrix) => matrix.fmt(out),
            Expr::Subquery(subquery) => subquery.fmt(out),
            Expr::Paren(paren) => write!(out, "({})", paren.expr),
            Expr::Unary(unary) => write!(out, "{}{}", if unary.negative { '-' } else { '+' }, unary.expr),
            Expr::Binary(binary) => binary.fmt(out),
            Expr::Aggregate(aggregate) => aggregate.fmt(out),
            Expr::Call(call) => call.fmt(out),
            Expr::StepInvariant(inner) => inner.fmt(out),
        }
    }
}

impl Display for StringLiteral {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(&quoted_bytes(self.bytes.as_deref().unwrap_or(self.value.as_bytes())))
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.is_duration {
            true => Duration::from_seconds(self.value).fmt(out),
            false => out.write_str(&plain(self.value)),
        }
    }
}

impl Display for Call {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}(", self.function.name)?;
        for (place, arg) in self.args.iter().enumerate() {
            write!(out, "{}{arg}", if place > 0 { ", " } else { "" })?;
        }
        out.write_str(")")
    }
}

struct Names<'a>(&'a [Arc<str>]);

impl Display for Names<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str("(")?;
        for (place, name) in self.0.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            match is_plain_name(name) {
                true => write!(out, "{comma}{name}")?,
                false => write!(out, "{comma}{}", quoted(name))?,
            }
        }
        out.write_str(")")
    }
}

/// An aggregation up to what is aggregated.
pub(crate) struct Grouping<'a>(pub(crate) &'a Aggregate);

impl Display for Grouping<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self(aggregate) = self;
        out.write_str(aggregate.op.name())?;
        match (aggregate.without, aggregate.grouping.is_empty()) {
            (true, _) => write!(out, " without {} ", Names(&aggregate.grouping)),
            (false, false) => write!(out, " by {} ", Names(&aggregate.grouping)),
            (false, true) => Ok(()),
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        Grouping(self).fmt(out)?;
        match &self.param {
            Some(param) => write!(out, "({param}, {})", self.expr),
            None => write!(out, "({})", self.expr),
        }
    }
}

/// A binary operator with what it matches by, between its operands.
pub(crate) struct Operator<'a>(pub(crate) &'a Binary);

impl Display for Operator<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self(binary) = self;
        out.write_str(binary.op.symbol())?;
        if binary.return_bool {
            out.write_str(" bool")?;
        }
        binary.matching.as_ref().map_or(Ok(()), |matching| matching.fmt(out))
    }
}

impl Display for Binary {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.left, Operator(self), self.right)
    }
}

impl Display for Matching {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let grouped = matches!(self.cardinality, Cardinality::ManyToOne | Cardinality::OneToMany);
        if !self.labels.is_empty() || self.on || grouped {
            write!(out, " {} {}", if self.on { "on" } else { "ignoring" }, Names(&self.labels))?;
        }
        if grouped {
            let side = if self.cardinality == Cardinality::ManyToOne { "left" } else { "right" };
            write!(out, " group_{side} {}", Names(&self.include))?;
        }
        match (self.fill_left, self.fill_right) {
            (Some(left), Some(right)) if left == right => write!(out, " fill ({})", general(left)),
            (left, right) => {
                if let Some(left) = left {
                    write!(out, " fill_left ({})", general(left))?;
                }
                right.map_or(Ok(()), |right| write!(out, " fill_right ({})", general(right)))
            }
        }
    }
}

/// A duration, calculated or not.
struct Span<'a>(Duration, &'a Option<DurationExpr>);

impl Display for Span<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(calculated) => calculated.fmt(out),
            None => self.0.fmt(out),
        }
    }
}

impl Shift {
    fn write_at(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(At::Time(time)) => write!(out, " @ {:.3}", time as f64 / 1000.0),
            Some(At::Start) => out.write_str(" @ start()"),
            Some(At::End) => out.write_str(" @ end()"),
            None => Ok(()),
        }
    }

    fn write_offset(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.offset_expr.is_some() || !self.offset.is_zero() {
            true => write!(out, " offset {}", Span(self.offset, &self.offset_expr)),
            false => Ok(()),
        }
    }
}

impl Borders {
    fn write(self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Borders::Plain => "",
            Borders::Anchored => " anchored",
            Borders::Smoothed => " smoothed",
        })
    }
}

impl VectorSelector {
    fn write_series(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let is_name = |name: &str, op, value: &str| {
            name == METRIC_NAME && op == MatchOp::Equal && *value == *self.name && !value.is_empty()
        };
        let mut matchers: Vec<String> = self
            .matchers
            .iter()
            .filter(|matcher| !is_name(&matcher.name, matcher.op, &matcher.value))
            .map(ToString::to_string)
            .collect();
        matchers.sort_unstable();
        out.write_str(&self.name)?;
        match matchers.is_empty() && !self.name.is_empty() {
            true => Ok(()),
            false => write!(out, "{{{}}}", matchers.join(",")),
        }
    }
}

impl Display for VectorSelector {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.write_series(out)?;
        self.shift.write_at(out)?;
        self.borders.write(out)?;
        self.shift.write_offset(out)
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.selector.write_series(out)?;
        write!(out, "[{}]", Span(self.range, &self.range_expr))?;
        self.selector.borders.write(out)?;
        self.selector.shift.write_at(out)?;
        self.selector.shift.write_offset(out)
    }
}

/// A subquery behind its expression.
pub(crate) struct SubqueryRange<'a>(pub(crate) &'a Subquery);

impl Display for SubqueryRange<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self(subquery) = self;
        write!(out, "[{}:", Span(subquery.range, &subquery.range_expr))?;
        if !subquery.step.is_zero() || subquery.step_expr.is_some() {
            Span(subquery.step, &subquery.step_expr).fmt(out)?;
        }
        out.write_str("]")?;
        subquery.shift.write_at(out)?;
        subquery.shift.write_offset(out)
    }
}

impl Display for Subquery {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.expr, SubqueryRange(self))
    }
}

impl Display for DurationExpr {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(out),
            Self::Step(_) => out.write_str("step()"),
            Self::Range(_) => out.write_str("range()"),
            Self::MaxOf(pair) => write!(out, "max_of({}, {})", pair.left, pair.right),
            Self::MinOf(pair) => write!(out, "min_of({}, {})", pair.left, pair.right),
            Self::Binary(op, sides) => write!(out, "{} {} {}", sides.0, op.symbol(), sides.1),
            Self::Negative(inner, _) => write!(out, "{}{inner}", BinaryOp::Sub.symbol()),
            Self::Paren(inner, _) => write!(out, "({inner})"),
        }
    }
}
