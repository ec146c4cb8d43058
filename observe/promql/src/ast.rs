//! Queries as trees.

use std::sync::Arc;

use crate::duration::Duration;
use crate::functions::Function;
use crate::matcher::Matcher;
use crate::position::Position;

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// One number at each time.
    Scalar,
    /// One sample of each series at each time.
    Vector,
    /// A range of samples of each series.
    Matrix,
    /// A text.
    String,
}

impl ValueType {
    /// As the HTTP API names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }

    /// As the documentation names it.
    pub fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `1.5`, `5m`
    Number(NumberLiteral),
    /// `"text"`
    String(StringLiteral),
    /// `metric{label="value"}`
    Vector(Box<VectorSelector>),
    /// `metric[5m]`
    Matrix(Box<MatrixSelector>),
    /// `expression[1h:1m]`
    Subquery(Box<Subquery>),
    /// `(expression)`
    Paren(Box<Paren>),
    /// `-expression`
    Unary(Box<Unary>),
    /// `left + right`
    Binary(Box<Binary>),
    /// `sum by (label) (expression)`
    Aggregate(Box<Aggregate>),
    /// `rate(metric[5m])`
    Call(Box<Call>),
    /// An expression with the same result at every step, evaluated once. The parser never makes one.
    StepInvariant(Box<Expr>),
}

/// A number.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberLiteral {
    /// Its value; of a duration, in seconds.
    pub value: f64,
    /// Whether it was written as a duration.
    pub is_duration: bool,
    /// Where it stands.
    pub position: Position,
}

/// A text.
#[derive(Debug, Clone, PartialEq)]
pub struct StringLiteral {
    /// The text, without quotes and escapes; bytes that are no UTF-8 are replaced.
    pub value: Arc<str>,
    /// The bytes, if they are no UTF-8; then it cannot be a label's name.
    pub bytes: Option<Arc<[u8]>>,
    /// Where it stands.
    pub position: Position,
}

/// `@` and the time that a selector is evaluated at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A time in milliseconds since 1970.
    Time(i64),
    /// The query's start.
    Start,
    /// The query's end.
    End,
}

/// `offset` and `@` of a selector or subquery.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shift {
    /// How far back it looks.
    pub offset: Duration,
    /// The calculation that gives the offset.
    pub offset_expr: Option<DurationExpr>,
    /// The time it is fixed at.
    pub at: Option<At>,
}

impl Shift {
    /// The time it is fixed at, once the query's range is known.
    pub fn fixed_at(&self) -> Option<i64> {
        match self.at {
            Some(At::Time(time)) => Some(time),
            _ => None,
        }
    }
}

/// How a selector treats the borders of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Borders {
    /// Samples within the range count.
    #[default]
    Plain,
    /// The sample before the range stands at its start.
    Anchored,
    /// Samples are interpolated at both borders.
    Smoothed,
}

/// A selector of series.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSelector {
    /// The name written before the braces; empty if there is none.
    pub name: Arc<str>,
    /// The matchers; the last one is for the name before the braces, if there is one.
    pub matchers: Vec<Matcher>,
    /// `offset` and `@`.
    pub shift: Shift,
    /// `anchored` or `smoothed`.
    pub borders: Borders,
    /// Whether of histograms only the count and sum are needed. The parser never says so.
    pub statistics_only: bool,
    /// Whether a selector that matches every series is allowed, as in the second argument of `info`.
    pub may_match_all: bool,
    /// Where it stands.
    pub position: Position,
}

/// A selector of ranges of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSelector {
    /// Which series.
    pub selector: VectorSelector,
    /// How long the range is.
    pub range: Duration,
    /// The calculation that gives the range.
    pub range_expr: Option<DurationExpr>,
    /// Where it ends.
    pub end: usize,
}

/// An expression evaluated over a range, step by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// How long the range is.
    pub range: Duration,
    /// The calculation that gives the range.
    pub range_expr: Option<DurationExpr>,
    /// The step; zero for the engine's default.
    pub step: Duration,
    /// The calculation that gives the step.
    pub step_expr: Option<DurationExpr>,
    /// `offset` and `@`.
    pub shift: Shift,
    /// Where it ends.
    pub end: usize,
}

/// An expression in parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct Paren {
    /// What stands between them.
    pub expr: Expr,
    /// Where it stands.
    pub position: Position,
}

/// An expression with a sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Unary {
    /// Whether the sign is a minus.
    pub negative: bool,
    /// What stands after the sign.
    pub expr: Expr,
    /// Where it begins.
    pub start: usize,
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is named by its symbol, see `BinaryOp::symbol`")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    TrimUpper,
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Greater
                | Self::Less
                | Self::GreaterOrEqual
                | Self::LessOrEqual
        )
    }

    /// Whether it works on sets of series.
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// Whether its result is another metric than its operands.
    pub fn changes_metric(self) -> bool {
        matches!(self, Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Mod | Self::Pow | Self::Atan2)
    }

    /// How strongly it binds; `^` is the only one that binds to the right.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal
            | Self::NotEqual
            | Self::Greater
            | Self::Less
            | Self::GreaterOrEqual
            | Self::LessOrEqual
            | Self::TrimUpper
            | Self::TrimLower => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }
}

/// How many series on either side match each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// One and one.
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// The set operators.
    ManyToMany,
}

/// How the series of two vectors are matched.
#[derive(Debug, Clone, PartialEq)]
pub struct Matching {
    /// How many may match.
    pub cardinality: Cardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<Arc<str>>,
    /// Whether the labels are those of `on`.
    pub on: bool,
    /// The labels of `group_left` or `group_right`.
    pub include: Vec<Arc<str>>,
    /// What stands for a missing left side.
    pub fill_left: Option<f64>,
    /// What stands for a missing right side.
    pub fill_right: Option<f64>,
}

/// A binary operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// The left side.
    pub left: Expr,
    /// The right side.
    pub right: Expr,
    /// How series are matched; only between two vectors.
    pub matching: Option<Matching>,
    /// Whether a comparison yields 0 or 1 and filters nothing.
    pub return_bool: bool,
}

/// An aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is named by its keyword, see `Aggregator::name`")]
pub enum Aggregator {
    Avg,
    Bottomk,
    Count,
    CountValues,
    Group,
    Limitk,
    LimitRatio,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    Topk,
}

impl Aggregator {
    /// All of them.
    pub const ALL: [Aggregator; 14] = [
        Self::Avg,
        Self::Bottomk,
        Self::Count,
        Self::CountValues,
        Self::Group,
        Self::Limitk,
        Self::LimitRatio,
        Self::Max,
        Self::Min,
        Self::Quantile,
        Self::Stddev,
        Self::Stdvar,
        Self::Sum,
        Self::Topk,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Bottomk => "bottomk",
            Self::Count => "count",
            Self::CountValues => "count_values",
            Self::Group => "group",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
            Self::Max => "max",
            Self::Min => "min",
            Self::Quantile => "quantile",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Sum => "sum",
            Self::Topk => "topk",
        }
    }

    /// Whether it takes a parameter before the vector.
    pub fn has_parameter(self) -> bool {
        matches!(
            self,
            Self::Topk | Self::Bottomk | Self::CountValues | Self::Quantile | Self::Limitk | Self::LimitRatio
        )
    }

    /// Whether it has to be switched on.
    pub fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

/// An aggregation of a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Which one.
    pub op: Aggregator,
    /// What is aggregated.
    pub expr: Expr,
    /// The parameter, if it takes one.
    pub param: Option<Expr>,
    /// The labels of `by` or `without`.
    pub grouping: Vec<Arc<str>>,
    /// Whether the labels are those of `without`.
    pub without: bool,
    /// Where it stands.
    pub position: Position,
}

/// A function call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which function.
    pub function: &'static Function,
    /// Its arguments.
    pub args: Vec<Expr>,
    /// Where it stands.
    pub position: Position,
}

/// A calculation of a duration.
#[derive(Debug, Clone, PartialEq)]
pub enum DurationExpr {
    /// A number of seconds.
    Number(NumberLiteral),
    /// `step()`
    Step(Position),
    /// `range()`
    Range(Position),
    /// `max_of(a, b)`
    MaxOf(Box<DurationPair>),
    /// `min_of(a, b)`
    MinOf(Box<DurationPair>),
    /// `a + b`
    Binary(BinaryOp, Box<(DurationExpr, DurationExpr)>),
    /// `-a`
    Negative(Box<DurationExpr>, usize),
    /// `(a)`
    Paren(Box<DurationExpr>, Position),
}

/// The two durations of `max_of` or `min_of`.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationPair {
    /// The first one.
    pub left: DurationExpr,
    /// The second one.
    pub right: DurationExpr,
    /// Where the call stands.
    pub position: Position,
}

impl DurationExpr {
    /// Where it stands.
    pub fn position(&self) -> Position {
        match self {
            Self::Number(number) => number.position,
            Self::Step(position) | Self::Range(position) => *position,
            // Parentheses count only round a single number.
            Self::Paren(inner, position) => match **inner {
                Self::Number(_) => Position::new(position.start, inner.position().end),
                _ => inner.position(),
            },
            Self::MaxOf(pair) | Self::MinOf(pair) => pair.position,
            Self::Binary(_, sides) => sides.0.position().to(sides.1.position()),
            Self::Negative(inner, start) => Position::new(*start, inner.position().end),
        }
    }
}

impl Expr {
    /// What it evaluates to.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Vector(_) | Self::Aggregate(_) => ValueType::Vector,
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
            Self::Paren(paren) => paren.expr.value_type(),
            Self::Unary(unary) => unary.expr.value_type(),
            Self::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            Self::Call(call) => call.function.returns,
            Self::StepInvariant(inner) => inner.value_type(),
        }
    }

    /// Where it stands in the query.
    pub fn position(&self) -> Position {
        match self {
            Self::Number(number) => number.position,
            Self::String(string) => string.position,
            Self::Vector(selector) => selector.position,
            Self::Matrix(matrix) => Position::new(matrix.selector.position.start, matrix.end),
            Self::Subquery(subquery) => Position::new(subquery.expr.position().start, subquery.end),
            Self::Paren(paren) => paren.position,
            Self::Unary(unary) => Position::new(unary.start, unary.expr.position().end),
            Self::Binary(binary) => binary.left.position().to(binary.right.position()),
            Self::Aggregate(aggregate) => aggregate.position,
            Self::Call(call) => call.position,
            Self::StepInvariant(inner) => inner.position(),
        }
    }

    /// The expressions it is made of.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => Vec::new(),
            Self::Subquery(subquery) => vec![&subquery.expr],
            Self::Paren(paren) => vec![&paren.expr],
            Self::Unary(unary) => vec![&unary.expr],
            Self::Binary(binary) => vec![&binary.left, &binary.right],
            Self::Aggregate(aggregate) => std::iter::once(&aggregate.expr).chain(&aggregate.param).collect(),
            Self::Call(call) => call.args.iter().collect(),
            Self::StepInvariant(inner) => vec![inner],
        }
    }

    /// The expressions it is made of, to change them.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => Vec::new(),
            Self::Subquery(subquery) => vec![&mut subquery.expr],
            Self::Paren(paren) => vec![&mut paren.expr],
            Self::Unary(unary) => vec![&mut unary.expr],
            Self::Binary(binary) => vec![&mut binary.left, &mut binary.right],
            Self::Aggregate(aggregate) => {
                std::iter::once(&mut aggregate.expr).chain(&mut aggregate.param).collect()
            }
            Self::Call(call) => call.args.iter_mut().collect(),
            Self::StepInvariant(inner) => vec![inner],
        }
    }

    /// What stands within any parentheses around it.
    pub fn without_parens(&self) -> &Expr {
        match self {
            Self::Paren(paren) => paren.expr.without_parens(),
            other => other,
        }
    }
}
