//! Durations within brackets and after `offset`, which may be calculated.

use super::{Parsed, Parser, is_context};
use crate::ast::{BinaryOp, DurationExpr, DurationPair, NumberLiteral};
use crate::position::Position;
use crate::token::{Context, Kind, Token};

const WHAT: &str = "number, duration, step(), or range()";

/// The largest number of seconds that nanoseconds can hold.
const MAX_SECONDS: f64 = (1u64 << 63) as f64 / 1e9;

impl<'q> Parser<'q> {
    /// A duration within brackets; `context` and `expected` are for errors.
    pub(super) fn positive_duration(&mut self, context: &str, expected: &str) -> Parsed<DurationExpr> {
        let duration = self.duration(0, (context, expected))?;
        match &duration {
            DurationExpr::Number(number) if number.value <= 0.0 => {
                self.refuse(number.position, "duration must be greater than 0")
            }
            _ => Ok(duration),
        }
    }

    /// The duration after `offset`. A binary operator after it belongs to the expression, unless the duration begins
    /// with a parenthesis or with two signs.
    pub(super) fn offset_duration(&mut self) -> Parsed<DurationExpr> {
        let place = ("offset", WHAT);
        let token = self.peek()?;
        match token.kind {
            Kind::Number | Kind::Duration | Kind::Context(_) => self.duration_operand(place),
            Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.next()?;
                match self.peek()?.kind {
                    Kind::Number | Kind::Duration => {
                        let number = self.number_or_duration()?;
                        let number = signed(number, op, token.start);
                        self.in_range(&number, token.position())?;
                        Ok(DurationExpr::Number(number))
                    }
                    Kind::Context(_) => {
                        let sign = token.position();
                        let operand = self.duration_call(place, Some(sign))?;
                        Ok(with_sign(operand, op, token.start))
                    }
                    Kind::LeftParen => {
                        let open = self.next()?;
                        let inner = self.nested(|parser| parser.duration(0, place))?;
                        let close = self.close(Kind::RightParen, place)?;
                        let position = Position::new(open.start, close.position().end);
                        let paren = match inner {
                            DurationExpr::Paren(..) => inner,
                            inner => DurationExpr::Paren(Box::new(inner), position),
                        };
                        Ok(with_sign(paren, op, token.start))
                    }
                    _ => {
                        let inner =
                            self.nested(|parser| parser.duration(BinaryOp::Mul.precedence() + 1, place))?;
                        let signed = self.apply_sign(inner, op, token)?;
                        self.duration_operators(signed, 0, place)
                    }
                }
            }
            _ => self.duration(0, place),
        }
    }

    fn duration(&mut self, least: u8, place: (&str, &str)) -> Parsed<DurationExpr> {
        let left = self.duration_operand(place)?;
        self.duration_operators(left, least, place)
    }

    fn duration_operators(
        &mut self,
        mut left: DurationExpr,
        least: u8,
        place: (&str, &str),
    ) -> Parsed<DurationExpr> {
        loop {
            let token = self.peek()?;
            let op = match token.kind {
                Kind::Operator(op) if !op.is_comparison() && !op.is_set() && op != BinaryOp::Atan2 => op,
                _ => return Ok(left),
            };
            let trims = matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
            if trims || op.precedence() < least {
                return Ok(left);
            }
            self.next()?;
            self.duration_operators += 1;
            if self.duration_operators > super::MAX_HEIGHT {
                return self
                    .refuse(token.position(), "durations are calculated in too many steps; simplify them");
            }
            let next = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let right = self.nested(|parser| parser.duration(next, place))?;
            self.need_duration_expressions(left.position())?;
            let zero = matches!(&right, DurationExpr::Number(number) if number.value == 0.0);
            match op {
                BinaryOp::Div if zero => return self.refuse(token.position(), "division by zero"),
                BinaryOp::Mod if zero => return self.refuse(token.position(), "modulo by zero"),
                _ => {}
            }
            left = DurationExpr::Binary(op, Box::new((left, right)));
        }
    }

    fn duration_operand(&mut self, place: (&str, &str)) -> Parsed<DurationExpr> {
        let token = self.peek()?;
        match token.kind {
            Kind::Number | Kind::Duration => {
                let number = self.number_or_duration()?;
                self.in_range(&number, number.position)?;
                Ok(DurationExpr::Number(number))
            }
            Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.next()?;
                let inner = self.nested(|parser| parser.duration(BinaryOp::Mul.precedence() + 1, place))?;
                self.apply_sign(inner, op, token)
            }
            Kind::Context(_) => self.duration_call(place, None),
            Kind::LeftParen => {
                self.next()?;
                let inner = self.nested(|parser| parser.duration(0, place))?;
                let end = self.close(Kind::RightParen, place)?.position().end;
                self.need_duration_expressions(inner.position())?;
                Ok(match inner {
                    DurationExpr::Paren(..) => inner,
                    inner => DurationExpr::Paren(Box::new(inner), Position::new(token.start, end)),
                })
            }
            _ => Err(self.unexpected(place.0, place.1)),
        }
    }

    /// `step()`, `range()`, `max_of(a, b)` or `min_of(a, b)`; what is wrong is said at the sign before it, if any.
    fn duration_call(&mut self, place: (&str, &str), sign: Option<Position>) -> Parsed<DurationExpr> {
        let token = self.next()?;
        let pair = is_context(token, Context::MaxOf) || is_context(token, Context::MinOf);
        if !pair && !is_context(token, Context::Step) && !is_context(token, Context::Range) {
            self.peeked = Some(token);
            return Err(self.unexpected(place.0, place.1));
        }
        self.close(Kind::LeftParen, place)?;
        if !pair {
            let end = self.close(Kind::RightParen, place)?.position().end;
            let position = Position::new(token.start, end);
            self.need_duration_expressions(sign.unwrap_or(position))?;
            return Ok(match is_context(token, Context::Step) {
                true => DurationExpr::Step(position),
                false => DurationExpr::Range(position),
            });
        }
        let left = self.nested(|parser| parser.duration(0, place))?;
        self.close(Kind::Comma, place)?;
        let right = self.nested(|parser| parser.duration(0, place))?;
        let end = self.close(Kind::RightParen, place)?.position().end;
        self.need_duration_expressions(sign.unwrap_or(left.position().to(right.position())))?;
        let position = Position::new(token.start, end);
        let pair = Box::new(DurationPair { left, right, position });
        Ok(match is_context(token, Context::MaxOf) {
            true => DurationExpr::MaxOf(pair),
            false => DurationExpr::MinOf(pair),
        })
    }

    fn close(&mut self, kind: Kind, place: (&str, &str)) -> Parsed<Token<'q>> {
        match self.next_if(kind)? {
            Some(token) => Ok(token),
            None => Err(self.unexpected(place.0, place.1)),
        }
    }

    fn apply_sign(&self, inner: DurationExpr, op: BinaryOp, sign: Token<'q>) -> Parsed<DurationExpr> {
        match inner {
            DurationExpr::Number(number) => {
                let number = signed(number, op, sign.start);
                self.in_range(&number, sign.position())?;
                Ok(DurationExpr::Number(number))
            }
            inner => Ok(with_sign(inner, op, sign.start)),
        }
    }

    fn in_range(&self, number: &NumberLiteral, position: Position) -> Parsed<()> {
        if number.value.abs() > MAX_SECONDS { self.refuse(position, "duration out of range") } else { Ok(()) }
    }

    fn need_duration_expressions(&self, position: Position) -> Parsed<()> {
        match self.options.duration_expressions {
            true => Ok(()),
            false => self.refuse(position, "experimental duration expression is not enabled"),
        }
    }
}

fn signed(number: NumberLiteral, op: BinaryOp, start: usize) -> NumberLiteral {
    NumberLiteral {
        value: if op == BinaryOp::Sub { -number.value } else { number.value },
        position: Position::new(start, number.position.end),
        ..number
    }
}

fn with_sign(inner: DurationExpr, op: BinaryOp, start: usize) -> DurationExpr {
    match op {
        BinaryOp::Sub => DurationExpr::Negative(Box::new(inner), start),
        _ => inner,
    }
}
