//! Checks the types of an expression, and what else the grammar cannot say.

use crate::ast::{Aggregator, Binary, BinaryOp, Call, Cardinality, Expr, ValueType, VectorSelector};
use crate::error::ParseError;
use crate::functions::Arity;
use crate::labels::METRIC_NAME;
use crate::number::quoted;
use crate::position::Position;

type Checked<T> = Result<T, ParseError>;

/// Checks an expression and everything in it.
pub(super) fn check(expr: &mut Expr, query: &str) -> Checked<()> {
    Checker { query }.check(expr).map(|_| ())
}

struct Checker<'q> {
    query: &'q str,
}

impl Checker<'_> {
    fn refuse<T>(&self, position: Position, message: impl Into<String>) -> Checked<T> {
        Err(ParseError::new(position, message, self.query))
    }

    fn expect(&self, expr: &mut Expr, wanted: ValueType, context: &str) -> Checked<()> {
        let found = self.check(expr)?;
        if found == wanted {
            return Ok(());
        }
        let (wanted, found) = (wanted.documented(), found.documented());
        self.refuse(expr.position(), format!("expected type {wanted} in {context}, got {found}"))
    }

    fn check(&self, expr: &mut Expr) -> Checked<ValueType> {
        let position = expr.position();
        match expr {
            Expr::Number(_) | Expr::String(_) => {}
            Expr::Aggregate(aggregate) => {
                self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression")?;
                if let Some(param) = &mut aggregate.param {
                    let wanted = match aggregate.op {
                        Aggregator::CountValues => ValueType::String,
                        _ => ValueType::Scalar,
                    };
                    self.expect(param, wanted, "aggregation parameter")?;
                }
            }
            Expr::Binary(binary) => self.binary(binary, position)?,
            Expr::Call(call) => self.call(call)?,
            Expr::Paren(paren) => {
                self.check(&mut paren.expr)?;
            }
            Expr::StepInvariant(inner) => {
                self.check(inner)?;
            }
            Expr::Unary(unary) => {
                let found = self.check(&mut unary.expr)?;
                if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                    let found = quoted(found.documented());
                    let message = format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {found}"
                    );
                    return self.refuse(position, message);
                }
            }
            Expr::Subquery(subquery) => {
                let found = self.check(&mut subquery.expr)?;
                if found != ValueType::Vector {
                    let found = found.name();
                    let message = format!("subquery is only allowed on instant vector, got {found} instead");
                    return self.refuse(position, message);
                }
            }
            Expr::Matrix(matrix) => self.selector(&matrix.selector)?,
            Expr::Vector(selector) => self.selector(selector)?,
        }
        Ok(expr.value_type())
    }

    fn selector(&self, selector: &VectorSelector) -> Checked<()> {
        if !selector.name.is_empty() {
            let others = &selector.matchers[..selector.matchers.len().saturating_sub(1)];
            if let Some(twice) = others.iter().find(|matcher| *matcher.name == *METRIC_NAME) {
                let (name, other) = (quoted(&selector.name), quoted(&twice.value));
                let message = format!("metric name must not be set twice: {name} or {other}");
                return self.refuse(selector.position, message);
            }
            return Ok(());
        }
        if !selector.may_match_all && selector.matchers.iter().all(|matcher| matcher.matches("")) {
            let message = "vector selector must contain at least one non-empty matcher";
            return self.refuse(selector.position, message);
        }
        Ok(())
    }

    fn call(&self, call: &mut Call) -> Checked<()> {
        let (function, given) = (call.function, call.args.len());
        let (types, name) = (function.args, quoted(function.name));
        let least = if function.arity == Arity::Fixed { types.len() } else { types.len() - 1 };
        match function.arity {
            Arity::Fixed if given != least => {
                let message = format!("expected {least} argument(s) in call to {name}, got {given}");
                return self.refuse(call.position, message);
            }
            Arity::Optional(_) | Arity::Endless if given < least => {
                let message = format!("expected at least {least} argument(s) in call to {name}, got {given}");
                return self.refuse(call.position, message);
            }
            Arity::Optional(more) if given > least + more => {
                let most = least + more;
                let message = format!("expected at most {most} argument(s) in call to {name}, got {given}");
                return self.refuse(call.position, message);
            }
            _ => {}
        }
        if function.name == "info" && given > 1 {
            self.info_selector(call)?;
        }
        for (place, arg) in call.args.iter_mut().enumerate() {
            let Some(&wanted) = types.get(place).or(types.last()) else { break };
            let found = self.check(arg)?;
            if found != wanted {
                let (wanted, found) = (wanted.documented(), found.documented());
                let message = format!("expected type {wanted} in call to function {name}, got {found}");
                return self.refuse(arg.position(), message);
            }
        }
        Ok(())
    }

    /// The second argument of `info` is no vector but a list of matchers.
    fn info_selector(&self, call: &mut Call) -> Checked<()> {
        let arg = &mut call.args[1];
        let found = arg.value_type();
        if found != ValueType::Vector {
            let found = found.documented();
            let message = format!("expected type instant vector in call to function \"info\", got {found}");
            return self.refuse(call.position, message);
        }
        let position = arg.position();
        match arg {
            Expr::Vector(selector) if selector.name.is_empty() => {
                selector.may_match_all = true;
                Ok(())
            }
            Expr::Vector(_) => {
                self.refuse(position, "expected label selectors only, got vector selector instead")
            }
            _ => self.refuse(position, "expected label selectors only"),
        }
    }

    fn binary(&self, binary: &mut Binary, position: Position) -> Checked<()> {
        let left = self.check(&mut binary.left)?;
        let right = self.check(&mut binary.right)?;
        let op = binary.op;
        let operator = || self.between(binary.left.position(), binary.right.position());
        if binary.return_bool && !op.is_comparison() {
            return self.refuse(operator(), "bool modifier can only be used on comparison operators");
        }
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        if op.is_comparison() && !binary.return_bool && scalars {
            return self.refuse(operator(), "comparisons between scalars must use BOOL modifier");
        }
        if let Some(matching) = &binary.matching {
            let twice = matching.labels.iter().find(|label| matching.include.contains(label));
            if let Some(twice) = twice.filter(|_| matching.on) {
                let label = quoted(twice);
                let message = format!("label {label} must not occur in ON and GROUP clause at once");
                return self.refuse(operator(), message);
            }
        }
        for (found, side) in [(left, &binary.left), (right, &binary.right)] {
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return self.refuse(side.position(), message);
            }
        }
        let Some(matching) = &mut binary.matching else { return Ok(()) };
        let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        if left != ValueType::Vector || right != ValueType::Vector {
            if !matching.labels.is_empty() {
                return self.refuse(position, "vector matching only allowed between instant vectors");
            }
            if filled {
                return self
                    .refuse(position, "filling in missing series only allowed between instant vectors");
            }
            binary.matching = None;
        } else if op.is_set() {
            if matching.cardinality != Cardinality::OneToOne {
                let op = quoted(op.symbol());
                return self.refuse(position, format!("no grouping allowed for {op} operation"));
            }
            if filled {
                return self.refuse(position, "filling in missing series not allowed for set operators");
            }
            matching.cardinality = Cardinality::ManyToMany;
        }
        self.scalar_operator(op, (left, right), position)
    }

    fn scalar_operator(
        &self,
        op: BinaryOp,
        sides: (ValueType, ValueType),
        position: Position,
    ) -> Checked<()> {
        if op.is_set() && (sides.0 == ValueType::Scalar || sides.1 == ValueType::Scalar) {
            let op = quoted(op.symbol());
            let message = format!("set operator {op} not allowed in binary scalar expression");
            return self.refuse(position, message);
        }
        Ok(())
    }

    /// What stands between two operands, without the space around it.
    fn between(&self, left: Position, right: Position) -> Position {
        let text = self.query.get(left.end..right.start).unwrap_or_default();
        let space = |letter: char| matches!(letter, ' ' | '\t' | '\n' | '\r');
        let start = left.end + (text.len() - text.trim_start_matches(space).len());
        Position::new(start, right.start - (text.len() - text.trim_end_matches(space).len()))
    }
}
