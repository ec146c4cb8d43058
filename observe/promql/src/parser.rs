//! Reads a query into a tree and checks its types. The first thing that is wrong is reported, in upstream's words.
//!
//! Operands are parsed by descent and operators by precedence. Depth and length are limited, so that hostile queries
//! end in an error and not in an exhausted stack.

mod check;
mod durations;
mod operators;
mod selectors;
mod strings;

use std::sync::Arc;

use crate::ast::{Aggregate, Aggregator, BinaryOp, Call, Expr, NumberLiteral, Paren, StringLiteral, Unary};
use crate::duration::Duration;
use crate::error::ParseError;
use crate::functions::function;
use crate::lexer::Lexer;
use crate::matcher::Matcher;
use crate::number::{self, NumberError, quoted};
use crate::position::Position;
use crate::token::{Context, Keyword, Kind, Token};

pub use strings::unquote;

/// The longest query, in bytes.
pub const MAX_LENGTH: usize = 1 << 20;
/// The deepest nesting.
pub const MAX_DEPTH: usize = 100;
/// The highest tree; chains of operators are trees as high as they are long.
pub const MAX_HEIGHT: usize = 300;

/// Parts of the language that upstream holds behind feature flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParserOptions {
    /// Experimental functions and aggregations.
    pub experimental_functions: bool,
    /// Calculations of durations.
    pub duration_expressions: bool,
    /// The modifiers `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// The modifiers `fill`, `fill_left` and `fill_right`.
    pub fill_modifiers: bool,
}

impl ParserOptions {
    /// All of them.
    pub const EXPERIMENTAL: ParserOptions = ParserOptions {
        experimental_functions: true,
        duration_expressions: true,
        extended_range_selectors: true,
        fill_modifiers: true,
    };
}

/// Reads a query.
///
/// ```
/// use xebec_promql::parser::{ParserOptions, parse};
///
/// let query = parse("sum by (job) (rate(requests_total[5m]))", ParserOptions::default()).unwrap();
/// assert_eq!(query.to_string(), "sum by (job) (rate(requests_total[5m]))");
/// let error = parse("sum(requests_total[5m])", ParserOptions::default()).unwrap_err();
/// let expected = "1:5: parse error: expected type instant vector in aggregation expression, got range vector";
/// assert_eq!(error.to_string(), expected);
/// ```
pub fn parse(query: &str, options: ParserOptions) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(query, options)?;
    if parser.peek()?.kind == Kind::End {
        return Err(ParseError::new(Position::default(), "no expression found in input", query));
    }
    let mut expr = parser.expression(0)?;
    if parser.peek()?.kind != Kind::End {
        return Err(parser.unexpected("", ""));
    }
    check::check(&mut expr, query)?;
    Ok(expr)
}

/// Reads a selector of series, as the HTTP API's `match[]`.
pub fn parse_selector(selector: &str) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(selector, ParserOptions::default())?;
    let token = parser.peek()?;
    let matchers = match token.kind {
        Kind::LeftBrace => parser.vector_selector(None)?.matchers,
        _ if token.names_metric() => {
            parser.next()?;
            parser.vector_selector(Some(token))?.matchers
        }
        _ => return Err(parser.unexpected("", "")),
    };
    match parser.peek()?.kind {
        Kind::End => Ok(matchers),
        _ => Err(parser.unexpected("", "")),
    }
}

type Parsed<T> = Result<T, ParseError>;

struct Parser<'q> {
    query: &'q str,
    lexer: Lexer<'q>,
    options: ParserOptions,
    peeked: Option<Token<'q>>,
    /// The end of the last token that can close an expression.
    last_closing: usize,
    /// How many aggregations are being read; within one, errors say so.
    aggregations: usize,
    depth: usize,
    /// The height of the tree that was read last.
    height: usize,
    duration_operators: usize,
}

impl<'q> Parser<'q> {
    fn new(query: &'q str, options: ParserOptions) -> Parsed<Self> {
        if query.len() > MAX_LENGTH {
            let message = format!("query of {} bytes is longer than {MAX_LENGTH}; shorten it", query.len());
            return Err(ParseError::new(
                Position::new(0, query.len()),
                message,
                &query[..query.floor_char_boundary(64)],
            ));
        }
        Ok(Self {
            query,
            lexer: Lexer::new(query),
            options,
            peeked: None,
            last_closing: 0,
            aggregations: 0,
            depth: 0,
            height: 0,
            duration_operators: 0,
        })
    }

    fn error(&self, position: Position, message: impl Into<String>) -> ParseError {
        ParseError::new(position, message, self.query)
    }

    fn refuse<T>(&self, position: Position, message: impl Into<String>) -> Parsed<T> {
        Err(self.error(position, message))
    }

    /// The complaint about the token that comes next.
    fn unexpected(&mut self, context: &str, expected: &str) -> ParseError {
        let token = match self.peek() {
            Ok(token) => token,
            Err(error) => return error,
        };
        let context = match (context, self.aggregations) {
            ("", 0) => String::new(),
            ("", _) => " in aggregation".to_owned(),
            (context, _) => format!(" in {context}"),
        };
        let expected = if expected.is_empty() { String::new() } else { format!(", expected {expected}") };
        self.error(token.position(), format!("unexpected {}{context}{expected}", token.description()))
    }

    fn peek(&mut self) -> Parsed<Token<'q>> {
        match self.peeked {
            Some(token) => Ok(token),
            None => {
                let token = self.lexer.next_token()?;
                self.peeked = Some(token);
                Ok(token)
            }
        }
    }

    fn next(&mut self) -> Parsed<Token<'q>> {
        let token = self.peek()?;
        self.peeked = None;
        let closes = matches!(
            token.kind,
            Kind::RightBrace | Kind::RightParen | Kind::RightBracket | Kind::Duration | Kind::Number
        );
        if closes {
            self.last_closing = token.position().end;
        }
        Ok(token)
    }

    fn next_if(&mut self, kind: Kind) -> Parsed<Option<Token<'q>>> {
        if self.peek()?.kind == kind { self.next().map(Some) } else { Ok(None) }
    }

    fn expect(&mut self, kind: Kind) -> Parsed<Token<'q>> {
        match self.next_if(kind)? {
            Some(token) => Ok(token),
            None => Err(self.unexpected("", "")),
        }
    }

    /// Runs `parse` one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            let position = self.peek()?.position();
            return self.refuse(position, format!("query nests deeper than {MAX_DEPTH} levels; simplify it"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Notes the height of a tree that has been put together.
    fn raise(&mut self, height: usize) -> Parsed<()> {
        self.height = height;
        if height <= MAX_HEIGHT {
            return Ok(());
        }
        let position = self.peek()?.position();
        self.refuse(position, format!("query chains more than {MAX_HEIGHT} operations; simplify it"))
    }

    fn operand(&mut self) -> Parsed<Expr> {
        let token = self.peek()?;
        self.height = 1;
        match token.kind {
            Kind::Number | Kind::Duration => Ok(Expr::Number(self.number_or_duration()?)),
            Kind::String => self.string(token),
            Kind::LeftParen => self.nested(Self::paren),
            Kind::LeftBrace => Ok(Expr::Vector(Box::new(self.vector_selector(None)?))),
            Kind::Operator(BinaryOp::Add | BinaryOp::Sub) => self.nested(Self::signed),
            Kind::Aggregator(aggregator) => {
                self.next()?;
                match self.peek()?.kind {
                    Kind::LeftParen | Kind::Keyword(Keyword::By | Keyword::Without) => {
                        self.aggregations += 1;
                        let aggregate = self.nested(|parser| parser.aggregate(token, aggregator));
                        self.aggregations -= 1;
                        aggregate
                    }
                    _ => Ok(Expr::Vector(Box::new(self.vector_selector(Some(token))?))),
                }
            }
            Kind::Identifier | Kind::Context(_) => {
                self.next()?;
                match self.peek()?.kind {
                    Kind::LeftParen => self.nested(|parser| parser.call(token)),
                    _ => Ok(Expr::Vector(Box::new(self.vector_selector(Some(token))?))),
                }
            }
            _ if token.names_metric() => {
                self.next()?;
                Ok(Expr::Vector(Box::new(self.vector_selector(Some(token))?)))
            }
            _ => Err(self.unexpected("", "")),
        }
    }

    fn string(&mut self, token: Token<'q>) -> Parsed<Expr> {
        self.next()?;
        let value = self.unquoted(token)?;
        let bytes = strings::unquote_bytes(token.text).unwrap_or_default();
        let bytes = (bytes != value.as_bytes()).then(|| bytes.into());
        Ok(Expr::String(StringLiteral { value, bytes, position: token.position() }))
    }

    fn paren(&mut self) -> Parsed<Expr> {
        let start = self.next()?.start;
        let expr = self.expression(0)?;
        self.raise(self.height + 1)?;
        let end = self.expect(Kind::RightParen)?.position().end;
        Ok(Expr::Paren(Box::new(Paren { expr, position: Position::new(start, end) })))
    }

    fn signed(&mut self) -> Parsed<Expr> {
        let sign = self.next()?;
        let negative = sign.kind == Kind::Operator(BinaryOp::Sub);
        // Signs bind as multiplication does.
        let expr = self.expression(BinaryOp::Mul.precedence() + 1)?;
        if let Expr::Number(number) = expr {
            return Ok(Expr::Number(NumberLiteral {
                value: if negative { -number.value } else { number.value },
                position: Position::new(sign.start, number.position.end),
                ..number
            }));
        }
        self.raise(self.height + 1)?;
        Ok(Expr::Unary(Box::new(Unary { negative, expr, start: sign.start })))
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        self.expect(Kind::LeftParen)?;
        let mut arguments = Vec::new();
        let mut height = 1;
        self.height = height;
        if self.next_if(Kind::RightParen)?.is_some() {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(0)?);
            height = height.max(self.height + 1);
            if self.next_if(Kind::RightParen)?.is_some() {
                self.raise(height)?;
                return Ok(arguments);
            }
            let comma = self.expect(Kind::Comma)?;
            if !self.peek()?.begins_expression() {
                return self.refuse(comma.position(), "trailing commas not allowed in function call args");
            }
        }
    }

    fn call(&mut self, name: Token<'q>) -> Parsed<Expr> {
        let args = self.arguments()?;
        // Words of the query's context are functions in lower case only, as all others.
        let Some(function) = function(name.text) else {
            return self.refuse(name.position(), format!("unknown function with name {}", quoted(name.text)));
        };
        if function.experimental && !self.options.experimental_functions {
            return self.refuse(name.position(), format!("function {} is not enabled", quoted(name.text)));
        }
        Ok(Expr::Call(Box::new(Call {
            function,
            args,
            position: Position::new(name.start, self.last_closing),
        })))
    }

    fn aggregate(&mut self, name: Token<'q>, op: Aggregator) -> Parsed<Expr> {
        let mut modifier = self.aggregate_modifier()?;
        let mut args = self.arguments()?;
        if modifier.is_none() {
            modifier = self.aggregate_modifier()?;
        }
        let (without, grouping) = modifier.unwrap_or_default();
        let position = Position::new(name.start, self.last_closing);
        if args.is_empty() {
            return self.refuse(position, "no arguments for aggregate expression provided");
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let message = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.name()
            );
            return self.refuse(position, message);
        }
        let expected = if op.has_parameter() { 2 } else { 1 };
        let given = args.len();
        match (args.pop(), args.pop()) {
            (Some(expr), param) if given == expected => {
                Ok(Expr::Aggregate(Box::new(Aggregate { op, expr, param, grouping, without, position })))
            }
            _ => {
                let message = format!(
                    "wrong number of arguments for aggregate expression provided, expected {expected}, got {given}"
                );
                self.refuse(position, message)
            }
        }
    }

    fn aggregate_modifier(&mut self) -> Parsed<Option<(bool, Vec<Arc<str>>)>> {
        let without = match self.peek()?.kind {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.next()?;
        Ok(Some((without, self.grouping()?)))
    }

    /// A list of labels in parentheses.
    fn grouping(&mut self) -> Parsed<Vec<Arc<str>>> {
        if self.next_if(Kind::LeftParen)?.is_none() {
            return Err(self.unexpected("grouping opts", "\"(\""));
        }
        let mut names = Vec::new();
        loop {
            if self.next_if(Kind::RightParen)?.is_some() {
                return Ok(names);
            }
            let token = self.peek()?;
            let name: Arc<str> = match token.kind {
                Kind::String => self.unquoted(token)?,
                _ if token.names_label() => token.text.into(),
                _ => return Err(self.unexpected("grouping opts", "label")),
            };
            if name.is_empty() {
                let name = quoted(&name);
                return self.refuse(token.position(), format!("invalid label name for grouping: {name}"));
            }
            self.next()?;
            names.push(name);
            match self.peek()?.kind {
                Kind::Comma => {
                    self.next()?;
                }
                Kind::RightParen => {}
                _ => return Err(self.unexpected("grouping opts", "\",\" or \")\"")),
            }
        }
    }

    fn number_or_duration(&mut self) -> Parsed<NumberLiteral> {
        let token = self.next()?;
        let position = token.position();
        match token.kind {
            Kind::Duration => {
                let duration =
                    Duration::parse(token.text).map_err(|message| self.error(position, message))?;
                Ok(NumberLiteral { value: duration.seconds(), is_duration: true, position })
            }
            _ => Ok(NumberLiteral { value: self.number(token)?, is_duration: false, position }),
        }
    }

    fn number(&self, token: Token<'q>) -> Parsed<f64> {
        number::parse(token.text).map_err(|error| {
            let reason = match error {
                NumberError::Syntax => "invalid syntax",
                NumberError::Range => "value out of range",
            };
            let text = quoted(token.text);
            let message = format!("error parsing number: strconv.ParseFloat: parsing {text}: {reason}");
            self.error(token.position(), message)
        })
    }

    fn unquoted(&self, token: Token<'q>) -> Parsed<Arc<str>> {
        match unquote(token.text) {
            Some(text) => Ok(text.into()),
            None => {
                let message = format!("error unquoting string {}: invalid syntax", quoted(token.text));
                self.refuse(token.position(), message)
            }
        }
    }
}

/// Whether a word names something of the query's context.
fn is_context(token: Token<'_>, context: Context) -> bool {
    token.kind == Kind::Context(context)
}
