//! Binary operators with their modifiers, and what may follow an operand: ranges, `offset`, `@`, borders.

use super::{Parsed, Parser};
use crate::ast::{
    At, Binary, BinaryOp, Borders, Cardinality, DurationExpr, Expr, Matching, MatrixSelector, Shift, Subquery,
};
use crate::duration::Duration;
use crate::position::Position;
use crate::token::{Context, Keyword, Kind, Token};

impl<'q> Parser<'q> {
    /// An expression whose operators bind at least as strongly as `least`.
    pub(super) fn expression(&mut self, least: u8) -> Parsed<Expr> {
        let mut left = self.operand()?;
        left = self.modifiers(left)?;
        let mut height = self.height;
        loop {
            let token = self.peek()?;
            let op = match token.kind {
                Kind::Operator(op) if op.precedence() >= least => op,
                _ => {
                    self.height = height;
                    return Ok(left);
                }
            };
            self.next()?;
            let (return_bool, matching) = self.matching()?;
            let next = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let right = self.nested(|parser| parser.expression(next))?;
            height = height.max(self.height) + 1;
            self.raise(height)?;
            let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
            let binary = Binary { op, left, right, matching: Some(matching), return_bool };
            left = Expr::Binary(Box::new(binary));
            if filled && !self.options.fill_modifiers {
                return self.refuse(left.position(), "binop fill modifiers are experimental and not enabled");
            }
        }
    }

    fn matching(&mut self) -> Parsed<(bool, Matching)> {
        let return_bool = self.next_if(Kind::Keyword(Keyword::Bool))?.is_some();
        let mut matching = Matching {
            cardinality: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let on = self.next_if(Kind::Keyword(Keyword::On))?.is_some();
        if on || self.next_if(Kind::Keyword(Keyword::Ignoring))?.is_some() {
            matching.on = on;
            matching.labels = self.grouping()?;
            let left = self.next_if(Kind::Keyword(Keyword::GroupLeft))?.is_some();
            if left || self.next_if(Kind::Keyword(Keyword::GroupRight))?.is_some() {
                matching.cardinality = if left { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                let token = self.peek()?;
                let fills = matches!(
                    token.kind,
                    Kind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)
                );
                if token.kind == Kind::LeftParen || !(fills || token.begins_expression()) {
                    matching.include = self.grouping()?;
                }
            }
        }
        if self.next_if(Kind::Keyword(Keyword::Fill))?.is_some() {
            let fill = self.fill()?;
            (matching.fill_left, matching.fill_right) = (Some(fill), Some(fill));
        } else if self.next_if(Kind::Keyword(Keyword::FillLeft))?.is_some() {
            matching.fill_left = Some(self.fill()?);
            if self.next_if(Kind::Keyword(Keyword::FillRight))?.is_some() {
                matching.fill_right = Some(self.fill()?);
            }
        } else if self.next_if(Kind::Keyword(Keyword::FillRight))?.is_some() {
            matching.fill_right = Some(self.fill()?);
            if self.next_if(Kind::Keyword(Keyword::FillLeft))?.is_some() {
                matching.fill_left = Some(self.fill()?);
            }
        }
        Ok((return_bool, matching))
    }

    fn fill(&mut self) -> Parsed<f64> {
        self.expect(Kind::LeftParen)?;
        let sign = self.peek()?.kind;
        let signed = matches!(sign, Kind::Operator(BinaryOp::Add | BinaryOp::Sub));
        if signed {
            self.next()?;
        }
        if !matches!(self.peek()?.kind, Kind::Number | Kind::Duration) {
            return Err(self.unexpected("", ""));
        }
        let value = self.number_or_duration()?.value;
        self.expect(Kind::RightParen)?;
        Ok(if sign == Kind::Operator(BinaryOp::Sub) { -value } else { value })
    }

    /// What follows an operand, as long as something does.
    fn modifiers(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            let token = self.peek()?;
            match token.kind {
                Kind::LeftBracket => {
                    let height = self.height + 1;
                    expr = self.range(expr)?;
                    self.raise(height)?;
                }
                Kind::Keyword(Keyword::Offset) => self.offset(&mut expr)?,
                Kind::At => self.at(&mut expr)?,
                Kind::Keyword(Keyword::Anchored) => self.borders(&mut expr, Borders::Anchored)?,
                Kind::Keyword(Keyword::Smoothed) => self.borders(&mut expr, Borders::Smoothed)?,
                _ => return Ok(expr),
            }
        }
    }

    fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.next()?;
        const WHAT: &str = "number, duration, step(), or range()";
        let range = self.positive_duration("subquery or range selector", WHAT)?;
        match self.peek()?.kind {
            Kind::RightBracket => {
                let end = self.next()?.position().end;
                self.matrix(expr, range, open, end)
            }
            Kind::Colon => {
                self.next()?;
                let step = match self.peek()?.kind {
                    Kind::RightBracket => None,
                    _ => Some(self.positive_duration(
                        "subquery selector",
                        "number, duration, step(), range(), or \"]\"",
                    )?),
                };
                let Some(close) = self.next_if(Kind::RightBracket)? else {
                    return Err(self.unexpected("subquery selector", "\"]\""));
                };
                let (range, range_expr) = settled(range);
                let (step, step_expr) = step.map_or((Duration::ZERO, None), settled);
                Ok(Expr::Subquery(Box::new(Subquery {
                    expr,
                    range,
                    range_expr,
                    step,
                    step_expr,
                    shift: Shift::default(),
                    end: close.position().end,
                })))
            }
            _ => Err(self.unexpected("subquery or range", "\":\" or \"]\"")),
        }
    }

    fn matrix(&mut self, expr: Expr, range: DurationExpr, open: Token<'q>, end: usize) -> Parsed<Expr> {
        let brackets = Position::new(open.start, end);
        let Expr::Vector(selector) = expr else {
            return self.refuse(brackets, "ranges only allowed for vector selectors");
        };
        if !selector.shift.offset.is_zero() || selector.shift.offset_expr.is_some() {
            return self.refuse(brackets, "no offset modifiers allowed before range");
        }
        if selector.shift.at.is_some() {
            return self.refuse(brackets, "no @ modifiers allowed before range");
        }
        let (range, range_expr) = settled(range);
        Ok(Expr::Matrix(Box::new(MatrixSelector { selector: *selector, range, range_expr, end })))
    }

    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.next()?;
        let offset = self.offset_duration()?;
        let position = expr.position();
        let end = self.last_closing;
        let Some((shift, expr_end)) = shift_of(expr) else {
            let message = "offset modifier must be preceded by an instant vector selector or range vector selector \
                           or a subquery";
            return self.refuse(position, message);
        };
        if !shift.offset.is_zero() || shift.offset_expr.is_some() {
            return self.refuse(position, "offset may not be set multiple times");
        }
        (shift.offset, shift.offset_expr) = settled(offset);
        *expr_end = end;
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.next()?;
        let token = self.peek()?;
        let at = match token.kind {
            Kind::Number | Kind::Duration | Kind::Operator(BinaryOp::Add | BinaryOp::Sub) => {
                let signed = matches!(token.kind, Kind::Operator(_));
                if signed {
                    self.next()?;
                }
                if !matches!(self.peek()?.kind, Kind::Number | Kind::Duration) {
                    return Err(self.unexpected("@", "timestamp"));
                }
                let value = self.number_or_duration()?.value;
                let seconds = if token.kind == Kind::Operator(BinaryOp::Sub) { -value } else { value };
                if !(seconds > i64::MIN as f64 && seconds < i64::MAX as f64) {
                    let seconds = match seconds.is_finite() {
                        true => format!("{seconds:.6}"),
                        false => crate::number::general(seconds),
                    };
                    let message = format!("timestamp out of bounds for @ modifier: {seconds}");
                    return self.refuse(expr.position(), message);
                }
                At::Time((seconds * 1000.0).round() as i64)
            }
            Kind::Context(context @ (Context::Start | Context::End)) => {
                self.next()?;
                for kind in [Kind::LeftParen, Kind::RightParen] {
                    if self.next_if(kind)?.is_none() {
                        return Err(self.unexpected("@", "timestamp"));
                    }
                }
                if context == Context::Start { At::Start } else { At::End }
            }
            _ => return Err(self.unexpected("@", "timestamp")),
        };
        let position = expr.position();
        let end = self.last_closing;
        let Some((shift, expr_end)) = shift_of(expr) else {
            let message = "@ modifier must be preceded by an instant vector selector or range vector selector or a \
                           subquery";
            return self.refuse(position, message);
        };
        if shift.at.is_some() {
            return self.refuse(position, "@ <timestamp> may not be set multiple times");
        }
        shift.at = Some(at);
        *expr_end = end;
        Ok(())
    }

    fn borders(&mut self, expr: &mut Expr, borders: Borders) -> Parsed<()> {
        self.next()?;
        let name = if borders == Borders::Anchored { "anchored" } else { "smoothed" };
        let position = expr.position();
        if !self.options.extended_range_selectors {
            return self.refuse(position, format!("{name} modifier is experimental and not enabled"));
        }
        let selector = match expr {
            Expr::Vector(selector) => selector,
            Expr::Matrix(matrix) => &mut matrix.selector,
            Expr::Subquery(_) => {
                return self.refuse(position, format!("{name} modifier is not supported for subqueries"));
            }
            _ => return self.refuse(position, format!("{name} modifier not implemented")),
        };
        if selector.borders != Borders::Plain && selector.borders != borders {
            return self.refuse(position, "anchored and smoothed modifiers cannot be used together");
        }
        selector.borders = borders;
        Ok(())
    }
}

/// The duration itself if nothing has to be calculated.
fn settled(duration: DurationExpr) -> (Duration, Option<DurationExpr>) {
    match duration {
        DurationExpr::Number(number) => (Duration::from_seconds(number.value), None),
        calculated => (Duration::ZERO, Some(calculated)),
    }
}

/// Where the `offset` and `@` of an expression are held, and its end.
fn shift_of(expr: &mut Expr) -> Option<(&mut Shift, &mut usize)> {
    match expr {
        Expr::Vector(selector) => Some((&mut selector.shift, &mut selector.position.end)),
        Expr::Matrix(matrix) => Some((&mut matrix.selector.shift, &mut matrix.end)),
        Expr::Subquery(subquery) => Some((&mut subquery.shift, &mut subquery.end)),
        _ => None,
    }
}
