//! Reads an expression into its tree, expanding macros on the way.
//!
//! The grammar is that of the language definition. Errors are worded as clients of Kubernetes know them, including the
//! single-token repairs after which reading goes on; after any other syntax error it stops.

mod constant;
mod recovery;

use std::sync::Arc;

use crate::lexer::{self, Lexeme, Token};
use crate::macros;
use crate::source::{Issues, Location};
use crate::syntax::{Entry, Expr, Initializer, Kind, Literal, NodeId, Tree, operator};

/// The longest expression, in code points.
pub const LONGEST_EXPRESSION: usize = 100_000;
/// The deepest nesting of an expression.
pub const DEEPEST_NESTING: u32 = 250;

/// The most nodes, macros expanded: a macro that uses its target twice copies it.
const MOST_NODES: usize = 200_000;

/// The deepest tree, macros expanded: a loop is three nodes deep.
const DEEPEST_TREE: u32 = 400;

/// Names that no variable may have.
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// Reading can not go on; why is among the issues.
#[derive(Debug)]
pub(crate) struct Stopped;

type Parsed<T> = Result<T, Stopped>;

/// A node and how deep the tree below it is.
type Deep = (Expr, u32);

/// Parses `source`, in which `cel.bind` is a macro if there are `bindings`.
pub(crate) fn parse(source: &str, bindings: bool) -> Result<Tree, Issues> {
    let mut issues = Issues::new(source);
    let points = source.chars().count();
    if points > LONGEST_EXPRESSION {
        issues.report(
            Location::WHOLE,
            format!("expression code point size exceeds limit: size: {points}, limit {LONGEST_EXPRESSION}"),
        );
        return Err(issues);
    }
    let lexemes = lexer::tokens(source, &mut issues);
    let mut parser = Parser {
        source,
        lexemes,
        at: 0,
        nesting: 0,
        closers: Vec::new(),
        recovering: false,
        nodes: Nodes { positions: Vec::new(), full: false, bindings },
        issues,
    };
    let parsed = parser.whole();
    let Parser { nodes, mut issues, .. } = parser;
    if nodes.full {
        let message =
            format!("expression size exceeds limit once its macros are expanded: limit {MOST_NODES}");
        issues.report(Location::WHOLE, message);
    }
    match parsed {
        Ok(root) if issues.is_empty() => {
            if too_deep(&root) {
                issues.report(Location::WHOLE, "max recursion depth exceeded");
                return Err(issues);
            }
            Ok(Tree { root, positions: nodes.positions })
        }
        _ => Err(issues),
    }
}

/// Whether the tree, its macros expanded, is deeper than what runs on a small stack.
fn too_deep(root: &Expr) -> bool {
    let mut open = vec![(root, 1)];
    while let Some((expr, depth)) = open.pop() {
        if depth > DEEPEST_TREE {
            return true;
        }
        expr.children(&mut |child| open.push((child, depth + 1)));
    }
    false
}

/// Hands out node ids with their places.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub(crate) positions: Vec<u32>,
    /// Whether there are more than may be; what is made then is thrown away.
    pub(crate) full: bool,
    /// Whether `cel.bind` is a macro.
    pub(crate) bindings: bool,
}

impl Nodes {
    pub(crate) fn id(&mut self, position: u32) -> NodeId {
        self.positions.push(position);
        self.full |= self.positions.len() > MOST_NODES;
        NodeId((self.positions.len() - 1) as u32)
    }

    pub(crate) fn make(&mut self, position: u32, kind: Kind) -> Expr {
        Expr { id: self.id(position), kind }
    }
}

struct Parser<'s> {
    source: &'s str,
    lexemes: Vec<Lexeme>,
    at: usize,
    nesting: u32,
    /// What closes the brackets that are open here.
    closers: Vec<Token>,
    /// Whether an error was told and nothing was read since.
    recovering: bool,
    nodes: Nodes,
    issues: Issues,
}

impl<'s> Parser<'s> {
    fn whole(&mut self) -> Parsed<Expr> {
        let (root, _) = self.expression()?;
        self.finish()?;
        Ok(root)
    }

    fn peek(&self) -> Token {
        self.lexemes[self.at].token
    }

    fn peek_second(&self) -> Token {
        self.lexemes.get(self.at + 1).map_or(Token::End, |lexeme| lexeme.token)
    }

    fn advance(&mut self) -> Lexeme {
        let lexeme = self.lexemes[self.at];
        if lexeme.token != Token::End {
            self.at += 1;
            self.recovering = false;
        }
        lexeme
    }

    fn take(&mut self, token: Token) -> Option<Lexeme> {
        (self.peek() == token).then(|| self.advance())
    }

    fn text(&self, lexeme: Lexeme) -> &'s str {
        &self.source[lexeme.start as usize..lexeme.end as usize]
    }

    fn deeper(&mut self, depth: u32) -> Parsed<u32> {
        if depth >= DEEPEST_NESTING {
            self.issues.report(Location::WHOLE, "max recursion depth exceeded");
            return Err(Stopped);
        }
        Ok(depth + 1)
    }

    fn expression(&mut self) -> Parsed<Deep> {
        self.nesting += 1;
        if self.nesting > DEEPEST_NESTING {
            self.issues
                .report(Location::WHOLE, format!("expression recursion limit exceeded: {DEEPEST_NESTING}"));
            return Err(Stopped);
        }
        let first = self.binary(OR)?;
        let whole = if self.peek() == Token::Question { self.conditional(first)? } else { first };
        self.nesting -= 1;
        Ok(whole)
    }

    // What follows a first operand has functions of its own, so that the stack of nested brackets stays small.

    fn conditional(&mut self, (condition, depth): Deep) -> Parsed<Deep> {
        let question = self.advance();
        self.closers.push(Token::Colon);
        let id = self.nodes.id(question.start);
        let (yes, yes_depth) = self.binary(OR)?;
        self.closers.pop();
        self.close(Token::Colon, "':'")?;
        let (no, no_depth) = self.expression()?;
        let depth = self.deeper(depth.max(yes_depth).max(no_depth))?;
        let call = Kind::Call {
            function: operator::CONDITIONAL.into(),
            target: None,
            args: vec![condition, yes, no],
        };
        Ok((Expr { id, kind: call }, depth))
    }

    /// Infix operators that bind at least as strongly as `weakest`.
    fn binary(&mut self, weakest: u8) -> Parsed<Deep> {
        let mut left = self.unary()?;
        while let Some((function, binding)) = infix(self.peek()).filter(|(_, binding)| *binding >= weakest) {
            left = self.infix_call(left, function, binding)?;
        }
        Ok(left)
    }

    fn infix_call(&mut self, (left, depth): Deep, function: &str, binding: u8) -> Parsed<Deep> {
        let op = self.advance();
        let id = self.nodes.id(op.start);
        let (right, right_depth) = self.binary(binding + 1)?;
        let mut depth = depth.max(right_depth);
        let mut args = vec![left, right];
        if matches!(binding, OR | AND) {
            // `a || b || c` is one call with all terms.
            while self.take(op.token).is_some() {
                let (next, next_depth) = self.binary(binding + 1)?;
                depth = depth.max(next_depth);
                args.push(next);
            }
        } else {
            depth = self.deeper(depth)?;
        }
        Ok((Expr { id, kind: Kind::Call { function: function.into(), target: None, args } }, depth))
    }

    fn unary(&mut self) -> Parsed<Deep> {
        if !self.start_operand() {
            return Ok(self.wrong());
        }
        let operator = self.peek();
        let literal_sign =
            operator == Token::Minus && matches!(self.peek_second(), Token::Int | Token::Float);
        if !matches!(operator, Token::Not | Token::Minus) || literal_sign {
            return self.member();
        }
        self.signed()
    }

    fn signed(&mut self) -> Parsed<Deep> {
        let first = self.advance();
        let operator = first.token;
        let mut count = 1;
        while self.take(operator).is_some() {
            count += 1;
        }
        if !self.starts_member() && !self.start_after_sign(first) {
            return Ok(self.wrong());
        }
        let id = self.nodes.id(first.start);
        let (operand, depth) = self.member()?;
        if count % 2 == 0 {
            return Ok((operand, depth));
        }
        let function = if operator == Token::Not { operator::NOT } else { operator::NEGATE };
        Ok((
            Expr { id, kind: Kind::Call { function: function.into(), target: None, args: vec![operand] } },
            depth,
        ))
    }

    fn member(&mut self) -> Parsed<Deep> {
        let mut operand = self.primary()?;
        loop {
            operand = match self.peek() {
                Token::Dot => self.after_dot(operand)?,
                Token::OpenBracket => self.index(operand)?,
                _ => return Ok(operand),
            };
        }
    }

    fn index(&mut self, (operand, depth): Deep) -> Parsed<Deep> {
        let open = self.advance();
        let optional = self.take(Token::Question).is_some();
        let id = self.nodes.id(open.start);
        self.closers.push(Token::CloseBracket);
        if !optional {
            self.start(&[Token::Question]);
        }
        let (index, index_depth) = self.expression()?;
        self.closers.pop();
        self.close(Token::CloseBracket, "']'")?;
        let depth = self.deeper(depth.max(index_depth))?;
        let function = if optional { operator::OPTIONAL_INDEX } else { operator::INDEX };
        let call = Kind::Call { function: function.into(), target: None, args: vec![operand, index] };
        Ok((Expr { id, kind: call }, depth))
    }

    fn after_dot(&mut self, (operand, depth): Deep) -> Parsed<Deep> {
        let dot = self.advance();
        let depth = self.deeper(depth)?;
        let optional = self.take(Token::Question).is_some();
        if let Some(escaped) = self.take(Token::EscapedIdentifier) {
            self.issues.report_at(escaped.start, "unsupported syntax: '`'");
            return Ok((self.nodes.make(escaped.start, Kind::Wrong), depth));
        }
        let Some(name) = self.take(Token::Identifier) else {
            self.no_viable(dot.start);
            return Ok(self.wrong());
        };
        let field: Arc<str> = self.text(name).into();
        if optional {
            let id = self.nodes.id(dot.start);
            let field = self.nodes.make(name.start, Kind::Literal(Literal::String(field)));
            let call = Kind::Call {
                function: operator::OPTIONAL_SELECT.into(),
                target: None,
                args: vec![operand, field],
            };
            return Ok((Expr { id, kind: call }, depth));
        }
        let Some(open) = self.take(Token::OpenParen) else {
            let select = Kind::Select { operand: Box::new(operand), field, test: false };
            return Ok((self.nodes.make(dot.start, select), depth));
        };
        let (args, args_depth) = self.arguments()?;
        Ok((self.call(open.start, field, Some(operand), args), depth.max(args_depth)))
    }

    /// The arguments of a call and its closing parenthesis.
    fn arguments(&mut self) -> Parsed<(Vec<Expr>, u32)> {
        let mut args = Vec::new();
        let mut deepest = 0;
        self.closers.push(Token::CloseParen);
        self.start(&[Token::CloseParen]);
        if self.peek() != Token::CloseParen {
            loop {
                let (arg, depth) = self.expression()?;
                deepest = deepest.max(depth);
                args.push(arg);
                self.between(Token::CloseParen)?;
                if self.take(Token::Comma).is_none() {
                    break;
                }
            }
        }
        self.closers.pop();
        self.close(Token::CloseParen, "')'")?;
        Ok((args, deepest))
    }

    fn call(&mut self, position: u32, function: Arc<str>, target: Option<Expr>, args: Vec<Expr>) -> Expr {
        match macros::expand(&mut self.nodes, position, &function, target, args) {
            macros::Expansion::Call(target, args) => {
                let call = Kind::Call { function, target: target.map(Box::new), args };
                self.nodes.make(position, call)
            }
            macros::Expansion::Expanded(expr) => expr,
            macros::Expansion::Wrong(at, message) => {
                self.issues.report_at(at, message);
                self.nodes.make(at, Kind::Wrong)
            }
        }
    }

    /// Stands for an operand that is not there; reading goes on behind it.
    fn wrong(&mut self) -> Deep {
        let position = self.lexemes[self.at].start;
        self.skip();
        (self.nodes.make(position, Kind::Wrong), 0)
    }

    fn primary(&mut self) -> Parsed<Deep> {
        match self.peek() {
            Token::OpenParen => self.parenthesized(),
            Token::OpenBracket => self.list(),
            Token::OpenBrace => self.map(),
            Token::Dot | Token::Identifier => self.name(),
            _ => self.literal(),
        }
    }

    fn parenthesized(&mut self) -> Parsed<Deep> {
        self.advance();
        self.closers.push(Token::CloseParen);
        let inner = self.expression()?;
        self.closers.pop();
        self.close(Token::CloseParen, "')'")?;
        Ok(inner)
    }

    fn name(&mut self) -> Parsed<Deep> {
        let first = self.advance();
        if first.token == Token::Identifier {
            return self.named(first, false);
        }
        match self.take(Token::Identifier) {
            Some(name) => self.named(name, true),
            None => {
                self.no_viable(first.start);
                Ok(self.wrong())
            }
        }
    }

    /// An identifier, a call or an object, by what follows the name.
    fn named(&mut self, name: Lexeme, leading_dot: bool) -> Parsed<Deep> {
        if let Some(parts) = self.object_name() {
            let mut full = if leading_dot { ".".to_owned() } else { String::new() };
            full.push_str(self.text(name));
            for _ in 0..parts {
                self.advance();
                let part = self.advance();
                full.push('.');
                full.push_str(self.text(part));
            }
            return self.object(full.into());
        }
        let text = self.text(name);
        let open = self.take(Token::OpenParen);
        let reserved = RESERVED.contains(&text);
        let start = if leading_dot { name.start.saturating_sub(1) } else { name.start };
        if reserved {
            self.issues.report_at(start, format!("reserved identifier: {text}"));
        }
        let full: Arc<str> = if leading_dot { format!(".{text}").into() } else { text.into() };
        match open {
            Some(open) => {
                let (args, depth) = self.arguments()?;
                if reserved {
                    return Ok((self.nodes.make(start, Kind::Wrong), 0));
                }
                Ok((self.call(open.start, full, None, args), depth))
            }
            None if reserved => Ok((self.nodes.make(start, Kind::Wrong), 0)),
            None => Ok((self.nodes.make(name.start, Kind::Ident(full)), 0)),
        }
    }

    /// How many `.name` follow before a `{`, if one does.
    fn object_name(&self) -> Option<usize> {
        let mut at = self.at;
        let token = |at: usize| self.lexemes.get(at).map_or(Token::End, |lexeme| lexeme.token);
        while token(at) == Token::Dot && token(at + 1) == Token::Identifier {
            at += 2;
        }
        (token(at) == Token::OpenBrace).then_some((at - self.at) / 2)
    }

    fn object(&mut self, name: Arc<str>) -> Parsed<Deep> {
        let open = self.advance();
        let id = self.nodes.id(open.start);
        let mut fields = Vec::new();
        let mut deepest = 0;
        self.closers.push(Token::CloseBrace);
        while !matches!(self.peek(), Token::CloseBrace | Token::Comma) {
            let optional = self.take(Token::Question).is_some();
            if !matches!(self.peek(), Token::Identifier | Token::EscapedIdentifier) {
                return Err(self.mismatched("{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}"));
            }
            let field = self.advance();
            if field.token == Token::EscapedIdentifier {
                self.issues.report_at(field.start, "unsupported syntax: '`'");
            }
            let colon = self.close(Token::Colon, "':'")?;
            let id = self.nodes.id(colon);
            let (value, depth) = self.expression()?;
            deepest = deepest.max(depth);
            fields.push(Initializer { id, field: self.text(field).into(), value, optional });
            self.between(Token::CloseBrace)?;
            if self.take(Token::Comma).is_none() {
                break;
            }
        }
        self.take(Token::Comma);
        self.closers.pop();
        self.close(Token::CloseBrace, "'}'")?;
        Ok((Expr { id, kind: Kind::Struct { name, fields } }, deepest))
    }

    fn list(&mut self) -> Parsed<Deep> {
        let open = self.advance();
        let id = self.nodes.id(open.start);
        let (mut elements, mut optional, mut deepest) = (Vec::new(), Vec::new(), 0);
        self.closers.push(Token::CloseBracket);
        while !matches!(self.peek(), Token::CloseBracket | Token::Comma) {
            if self.take(Token::Question).is_some() {
                optional.push(elements.len());
            } else {
                self.start(&[Token::CloseBracket, Token::Question, Token::Comma]);
            }
            let (element, depth) = self.expression()?;
            deepest = deepest.max(depth);
            elements.push(element);
            self.between(Token::CloseBracket)?;
            if self.take(Token::Comma).is_none() {
                break;
            }
        }
        if elements.is_empty() {
            self.take(Token::Comma);
        }
        self.closers.pop();
        self.close(Token::CloseBracket, "']'")?;
        Ok((Expr { id, kind: Kind::List { elements, optional } }, deepest))
    }

    fn map(&mut self) -> Parsed<Deep> {
        let open = self.advance();
        let id = self.nodes.id(open.start);
        let (mut entries, mut deepest) = (Vec::new(), 0);
        self.closers.push(Token::CloseBrace);
        while !matches!(self.peek(), Token::CloseBrace | Token::Comma) {
            let optional = self.take(Token::Question).is_some();
            if !optional {
                self.start(&[Token::CloseBrace, Token::Question, Token::Comma]);
            }
            let (key, key_depth) = self.expression()?;
            self.close(Token::Colon, "':'")?;
            let (value, depth) = self.expression()?;
            deepest = deepest.max(depth).max(key_depth);
            entries.push(Entry { key, value, optional });
            self.between(Token::CloseBrace)?;
            if self.take(Token::Comma).is_none() {
                break;
            }
        }
        if entries.is_empty() {
            self.take(Token::Comma);
        }
        self.closers.pop();
        self.close(Token::CloseBrace, "'}'")?;
        Ok((Expr { id, kind: Kind::Map { entries } }, deepest))
    }
}

/// How strongly `||` binds.
const OR: u8 = 0;
/// How strongly `&&` binds.
const AND: u8 = 1;

/// The function of an infix operator and how strongly it binds.
fn infix(token: Token) -> Option<(&'static str, u8)> {
    Some(match token {
        Token::Or => (operator::OR, OR),
        Token::And => (operator::AND, AND),
        Token::Less => (operator::LESS, 2),
        Token::LessEquals => (operator::LESS_EQUALS, 2),
        Token::Greater => (operator::GREATER, 2),
        Token::GreaterEquals => (operator::GREATER_EQUALS, 2),
        Token::Equals => (operator::EQUALS, 2),
        Token::NotEquals => (operator::NOT_EQUALS, 2),
        Token::In => (operator::IN, 2),
        Token::Plus => (operator::ADD, 3),
        Token::Minus => (operator::SUBTRACT, 3),
        Token::Star => (operator::MULTIPLY, 4),
        Token::Slash => (operator::DIVIDE, 4),
        Token::Percent => (operator::MODULO, 4),
        _ => return None,
    })
}
