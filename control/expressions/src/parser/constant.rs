//! Constants as the source writes them.

use super::{Deep, Parsed, Parser, Stopped};
use crate::lexer::{Lexeme, Token};
use crate::literal;
use crate::syntax::{Expr, Kind, Literal};

impl Parser<'_> {
    pub(super) fn literal(&mut self) -> Parsed<Deep> {
        let first = self.advance();
        let expr = match first.token {
            Token::True => self.nodes.make(first.start, Kind::Literal(Literal::Bool(true))),
            Token::False => self.nodes.make(first.start, Kind::Literal(Literal::Bool(false))),
            Token::Null => self.nodes.make(first.start, Kind::Literal(Literal::Null)),
            Token::Minus => {
                let number = self.advance();
                self.number(first.start, number, true)
            }
            Token::Int | Token::Uint | Token::Float => self.number(first.start, first, false),
            Token::String | Token::Bytes => self.text_literal(first),
            _ => return Err(Stopped),
        };
        Ok((expr, 0))
    }

    fn number(&mut self, start: u32, token: Lexeme, negative: bool) -> Expr {
        let text = self.text(token);
        let (literal, wrong) = match token.token {
            Token::Int => (literal::int(text, negative).map(Literal::Int), "invalid int literal"),
            Token::Uint => (literal::uint(text).map(Literal::Uint), "invalid uint literal"),
            _ => {
                let value = literal::double(text).map(|value| if negative { -value } else { value });
                (value.map(Literal::Double), "invalid double literal")
            }
        };
        let kind = literal.map_or_else(
            || {
                self.issues.report_at(start, wrong);
                Kind::Wrong
            },
            Kind::Literal,
        );
        self.nodes.make(start, kind)
    }

    fn text_literal(&mut self, token: Lexeme) -> Expr {
        let text = self.text(token);
        let literal = if token.token == Token::String {
            literal::string(text).map(|value| Literal::String(value.into()))
        } else {
            literal::bytes(&text[1..]).map(|value| Literal::Bytes(value.into()))
        };
        let kind = literal.map_or_else(
            |wrong| {
                self.issues.report_at(token.start, wrong);
                Kind::Wrong
            },
            Kind::Literal,
        );
        self.nodes.make(token.start, kind)
    }
}
