//! Binary operations on two samples.

use std::sync::Arc;

use crate::annotations::{HistogramOperation, Note};
use crate::ast::BinaryOp;
use crate::histogram::{CounterReset, Histogram};

/// A sample's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Element {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Element {
    fn kind(&self) -> &'static str {
        match self {
            Self::Float(_) => "float",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What a binary operation yields.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Combination {
    pub(super) value: Element,
    /// Whether a comparison holds; always, of other operators.
    pub(super) keep: bool,
    /// What is to be known about it.
    pub(super) note: Option<Note>,
}

fn kept(value: Element, keep: bool) -> Combination {
    Combination { value, keep, note: None }
}

/// Applies an arithmetic operator or comparison to numbers; a comparison yields one or zero.
pub(super) fn arithmetic(op: BinaryOp, left: f64, right: f64) -> f64 {
    let truth = |holds: bool| f64::from(u8::from(holds));
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        BinaryOp::Equal => truth(left == right),
        BinaryOp::NotEqual => truth(left != right),
        BinaryOp::Greater => truth(left > right),
        BinaryOp::Less => truth(left < right),
        BinaryOp::GreaterOrEqual => truth(left >= right),
        BinaryOp::LessOrEqual => truth(left <= right),
        // The parser lets the others stand between vectors only.
        BinaryOp::TrimUpper | BinaryOp::TrimLower | BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => {
            f64::NAN
        }
    }
}

/// Applies an operator to two samples. A comparison yields its left side. Where there is no result, a note says why.
pub(super) fn combine(op: BinaryOp, left: &Element, right: &Element) -> Result<Combination, Note> {
    let refused =
        || Err(Note::IncompatibleTypes { operator: op.symbol(), left: left.kind(), right: right.kind() });
    match (left, right) {
        (Element::Float(_), Element::Float(_)) if matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) => {
            refused()
        }
        (&Element::Float(left), &Element::Float(right)) => {
            let value = arithmetic(op, left, right);
            Ok(match op.is_comparison() {
                true => kept(Element::Float(left), value != 0.0),
                false => kept(Element::Float(value), true),
            })
        }
        (&Element::Float(factor), Element::Histogram(histogram)) => match op {
            BinaryOp::Mul => Ok(changed(histogram, |histogram| histogram.multiply(factor).compact())),
            _ => refused(),
        },
        (Element::Histogram(histogram), &Element::Float(number)) => match op {
            BinaryOp::Mul => Ok(changed(histogram, |histogram| histogram.multiply(number).compact())),
            BinaryOp::Div => Ok(changed(histogram, |histogram| histogram.divide(number).compact())),
            BinaryOp::TrimUpper => Ok(changed(histogram, |histogram| histogram.trim(number, true))),
            BinaryOp::TrimLower => Ok(changed(histogram, |histogram| histogram.trim(number, false))),
            _ => refused(),
        },
        (Element::Histogram(one), Element::Histogram(two)) => match op {
            BinaryOp::Add => added(op, one, two),
            BinaryOp::Sub => added(op, one, two),
            BinaryOp::Equal => Ok(kept(left.clone(), one.same(two))),
            BinaryOp::NotEqual => Ok(kept(left.clone(), !one.same(two))),
            _ => refused(),
        },
    }
}

fn changed(histogram: &Arc<Histogram>, change: impl Fn(&mut Histogram) -> &mut Histogram) -> Combination {
    let mut histogram = (**histogram).clone();
    change(&mut histogram);
    kept(Element::Histogram(Arc::new(histogram)), true)
}

fn added(op: BinaryOp, one: &Histogram, two: &Histogram) -> Result<Combination, Note> {
    let mut result = one.clone();
    let (combined, operation) = match op {
        BinaryOp::Add => (result.add(two), HistogramOperation::Addition),
        _ => (result.subtract(two), HistogramOperation::Subtraction),
    };
    let Ok(combined) = combined else {
        return Err(Note::IncompatibleBucketLayout(op.symbol()));
    };
    if op == BinaryOp::Sub {
        result.hint = CounterReset::Gauge;
    }
    result.compact();
    let value = Element::Histogram(Arc::new(result));
    if combined.reset_collision {
        return Err(Note::HistogramCounterResetCollision(operation));
    }
    let note = combined.bounds_reconciled.then_some(Note::MismatchedCustomBuckets(operation));
    Ok(Combination { value, keep: true, note })
}
