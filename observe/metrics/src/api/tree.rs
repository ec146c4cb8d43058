//! Queries as trees, as `parse_query` shows them.

use std::sync::Arc;

use serde_json::{Value, json};
use xebec_promql::ast::{
    At, Binary, BinaryOp, Borders, Cardinality, DurationExpr, Expr, Matching, Shift, VectorSelector,
};
use xebec_promql::functions::Arity;
use xebec_promql::number::plain;

/// A query's tree.
pub(super) fn of(expr: &Expr) -> Value {
    match expr {
        Expr::Number(number) => json!({ "type": "numberLiteral", "val": plain(number.value) }),
        Expr::String(string) => json!({ "type": "stringLiteral", "val": &*string.value }),
        Expr::Paren(paren) => json!({ "type": "parenExpr", "expr": of(&paren.expr) }),
        Expr::StepInvariant(inner) => of(inner),
        Expr::Unary(unary) => json!({
            "type": "unaryExpr",
            "op": if unary.negative { "-" } else { "+" },
            "expr": of(&unary.expr),
        }),
        Expr::Binary(binary) => of_binary(binary),
        Expr::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregate.op.name(),
            "expr": of(&aggregate.expr),
            "param": aggregate.param.as_ref().map(of),
            "grouping": names(&aggregate.grouping),
            "without": aggregate.without,
        }),
        Expr::Call(call) => json!({
            "type": "call",
            "func": {
                "name": call.function.name,
                "argTypes": call.function.args.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
                "variadic": match call.function.arity {
                    Arity::Fixed => 0,
                    Arity::Optional(more) => more as i64,
                    Arity::Endless => -1,
                },
                "returnType": call.function.returns.name(),
            },
            "args": call.args.iter().map(of).collect::<Vec<_>>(),
        }),
        Expr::Vector(selector) => of_selector(selector, "vectorSelector"),
        Expr::Matrix(matrix) => {
            let mut tree = of_selector(&matrix.selector, "matrixSelector");
            tree["range"] = matrix.range.millis().into();
            tree["rangeExpr"] = of_duration(matrix.range_expr.as_ref());
            tree
        }
        Expr::Subquery(subquery) => {
            let mut tree = json!({
                "type": "subquery",
                "expr": of(&subquery.expr),
                "range": subquery.range.millis(),
                "rangeExpr": of_duration(subquery.range_expr.as_ref()),
                "step": subquery.step.millis(),
                "stepExpr": of_duration(subquery.step_expr.as_ref()),
            });
            add_shift(&mut tree, &subquery.shift);
            tree
        }
    }
}

fn names(names: &[Arc<str>]) -> Vec<&str> {
    names.iter().map(|name| &**name).collect()
}

fn of_binary(binary: &Binary) -> Value {
    json!({
        "type": "binaryExpr",
        "op": binary.op.symbol(),
        "lhs": of(&binary.left),
        "rhs": of(&binary.right),
        "matching": binary.matching.as_ref().map(of_matching),
        "bool": binary.return_bool,
    })
}

fn of_matching(matching: &Matching) -> Value {
    json!({
        "card": match matching.cardinality {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        },
        "labels": names(&matching.labels),
        "on": matching.on,
        "include": names(&matching.include),
        "fillValues": { "lhs": matching.fill_left, "rhs": matching.fill_right },
    })
}

fn of_selector(selector: &VectorSelector, kind: &str) -> Value {
    let matchers = selector.matchers.iter().map(
        |matcher| json!({ "name": &*matcher.name, "value": &*matcher.value, "type": matcher.op.symbol() }),
    );
    let mut tree = json!({
        "type": kind,
        "name": &*selector.name,
        "matchers": matchers.collect::<Vec<_>>(),
        "anchored": selector.borders == Borders::Anchored,
        "smoothed": selector.borders == Borders::Smoothed,
    });
    add_shift(&mut tree, &selector.shift);
    tree
}

fn add_shift(tree: &mut Value, shift: &Shift) {
    tree["offset"] = shift.offset.millis().into();
    tree["offsetExpr"] = of_duration(shift.offset_expr.as_ref());
    tree["timestamp"] = shift.fixed_at().into();
    tree["startOrEnd"] = match shift.at {
        Some(At::Start) => "start".into(),
        Some(At::End) => "end".into(),
        _ => Value::Null,
    };
}

fn of_duration(duration: Option<&DurationExpr>) -> Value {
    let operation = |op: &str, left: Value, right: Value, wrapped: bool| json!({ "type": "durationExpr", "op": op, "lhs": left, "rhs": right, "wrapped": wrapped });
    match duration {
        None => Value::Null,
        Some(DurationExpr::Number(number)) => json!({
            "type": "numberLiteral",
            "val": plain(number.value),
            "duration": number.is_duration,
        }),
        Some(DurationExpr::Step(_)) => operation("step", Value::Null, Value::Null, false),
        Some(DurationExpr::Range(_)) => operation("range", Value::Null, Value::Null, false),
        Some(DurationExpr::MaxOf(pair)) => {
            operation("max_of", of_duration(Some(&pair.left)), of_duration(Some(&pair.right)), false)
        }
        Some(DurationExpr::MinOf(pair)) => {
            operation("min_of", of_duration(Some(&pair.left)), of_duration(Some(&pair.right)), false)
        }
        Some(DurationExpr::Binary(op, sides)) => {
            operation(op.symbol(), of_duration(Some(&sides.0)), of_duration(Some(&sides.1)), false)
        }
        Some(DurationExpr::Negative(inner, _)) => {
            operation(BinaryOp::Sub.symbol(), Value::Null, of_duration(Some(inner)), false)
        }
        Some(DurationExpr::Paren(inner, _)) => {
            let mut tree = of_duration(Some(inner));
            if tree["type"] == "durationExpr" {
                tree["wrapped"] = true.into();
            }
            tree
        }
    }
}
