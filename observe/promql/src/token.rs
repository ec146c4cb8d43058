//! What a query is made of, before it is parsed.

use crate::ast::{Aggregator, BinaryOp};
use crate::number::quoted;
use crate::position::Position;

/// Words that modify an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Ignoring,
    Offset,
    Smoothed,
    Anchored,
    On,
    Without,
}

/// Words that name something of the query: its start, end, step, range; and the larger or smaller of two durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    End,
    Comma,
    Colon,
    Equals,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    LeftParen,
    RightParen,
    Identifier,
    /// An identifier with a colon.
    MetricIdentifier,
    Number,
    Duration,
    String,
    Operator(BinaryOp),
    MatchesRegex,
    MatchesNotRegex,
    At,
    Aggregator(Aggregator),
    Keyword(Keyword),
    Context(Context),
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'q> {
    pub(crate) kind: Kind,
    pub(crate) text: &'q str,
    pub(crate) start: usize,
}

impl Token<'_> {
    pub(crate) fn position(&self) -> Position {
        Position::new(self.start, self.start + self.text.len())
    }

    /// As errors name it.
    pub(crate) fn description(&self) -> String {
        let shortened = || match self.text.len() > 10 {
            true => format!("{}...", quoted(&self.text.chars().take(10).collect::<String>())),
            false => quoted(self.text),
        };
        match self.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Identifier => format!("identifier {}", quoted(self.text)),
            Kind::MetricIdentifier => format!("metric identifier {}", quoted(self.text)),
            Kind::String => format!("string {}", shortened()),
            Kind::Number => format!("number {}", shortened()),
            Kind::Duration => format!("duration {}", shortened()),
            Kind::Operator(_) | Kind::MatchesRegex | Kind::MatchesNotRegex | Kind::At => {
                format!("<op:{}>", self.text)
            }
            Kind::Keyword(_) => format!("<{}>", self.text),
            Kind::Aggregator(_) => format!("<aggr:{}>", self.text),
            _ => shortened(),
        }
    }

    /// Whether it can be the name of a metric.
    pub(crate) fn names_metric(&self) -> bool {
        match self.kind {
            Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregator(_) | Kind::Context(_) => true,
            Kind::Operator(op) => op.is_set(),
            Kind::Keyword(keyword) => matches!(
                keyword,
                Keyword::By
                    | Keyword::Without
                    | Keyword::Offset
                    | Keyword::Fill
                    | Keyword::FillLeft
                    | Keyword::FillRight
                    | Keyword::Smoothed
                    | Keyword::Anchored
            ),
            _ => false,
        }
    }

    /// Whether an expression can begin with it.
    pub(crate) fn begins_expression(&self) -> bool {
        use Kind::{Duration, LeftBrace, LeftParen, Number, Operator, String};
        self.names_metric()
            || matches!(self.kind, Number | Duration | String | LeftParen | LeftBrace)
            || matches!(self.kind, Operator(BinaryOp::Add | BinaryOp::Sub))
    }

    /// Whether it can be the name of a label in a list of labels.
    pub(crate) fn names_label(&self) -> bool {
        match self.kind {
            Kind::Keyword(keyword) => keyword != Keyword::Without,
            Kind::Operator(BinaryOp::Atan2) => true,
            _ => self.names_metric(),
        }
    }
}

/// What a word means, whatever its case.
pub(crate) fn word(text: &str) -> Option<Kind> {
    let lower = text.to_ascii_lowercase();
    if let Some(aggregator) = Aggregator::ALL.into_iter().find(|aggregator| aggregator.name() == lower) {
        return Some(Kind::Aggregator(aggregator));
    }
    Some(match lower.as_str() {
        "and" => Kind::Operator(BinaryOp::And),
        "or" => Kind::Operator(BinaryOp::Or),
        "unless" => Kind::Operator(BinaryOp::Unless),
        "atan2" => Kind::Operator(BinaryOp::Atan2),
        "offset" => Kind::Keyword(Keyword::Offset),
        "smoothed" => Kind::Keyword(Keyword::Smoothed),
        "anchored" => Kind::Keyword(Keyword::Anchored),
        "by" => Kind::Keyword(Keyword::By),
        "without" => Kind::Keyword(Keyword::Without),
        "on" => Kind::Keyword(Keyword::On),
        "ignoring" => Kind::Keyword(Keyword::Ignoring),
        "group_left" => Kind::Keyword(Keyword::GroupLeft),
        "group_right" => Kind::Keyword(Keyword::GroupRight),
        "fill" => Kind::Keyword(Keyword::Fill),
        "fill_left" => Kind::Keyword(Keyword::FillLeft),
        "fill_right" => Kind::Keyword(Keyword::FillRight),
        "bool" => Kind::Keyword(Keyword::Bool),
        "start" => Kind::Context(Context::Start),
        "end" => Kind::Context(Context::End),
        "inf" | "nan" => Kind::Number,
        _ => return duration_word(&lower),
    })
}

/// What a word means within brackets.
pub(crate) fn duration_word(lower: &str) -> Option<Kind> {
    Some(Kind::Context(match lower {
        "step" => Context::Step,
        "range" => Context::Range,
        "max_of" => Context::MaxOf,
        "min_of" => Context::MinOf,
        _ => return None,
    }))
}
