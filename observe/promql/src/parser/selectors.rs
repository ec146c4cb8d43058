//! Selectors of series.

use super::{Parsed, Parser};
use crate::ast::{BinaryOp, Borders, Shift, VectorSelector};
use crate::labels::METRIC_NAME;
use crate::matcher::{MatchOp, Matcher};
use crate::position::Position;
use crate::token::{Kind, Token};

impl<'q> Parser<'q> {
    /// A selector; its name has been read if it stands before the braces.
    pub(super) fn vector_selector(&mut self, name: Option<Token<'q>>) -> Parsed<VectorSelector> {
        let mut position = name.map(|name| name.position());
        let mut matchers = Vec::new();
        if self.peek()?.kind == Kind::LeftBrace {
            let (found, braces) = self.matchers()?;
            matchers = found;
            position = Some(position.map_or(braces, |name| name.to(braces)));
        }
        let name = name.map_or("", |name| name.text);
        if !name.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        Ok(VectorSelector {
            name: name.into(),
            matchers,
            shift: Shift::default(),
            borders: Borders::Plain,
            statistics_only: false,
            may_match_all: false,
            position: position.unwrap_or_default(),
        })
    }

    fn matchers(&mut self) -> Parsed<(Vec<Matcher>, Position)> {
        let open = self.next()?;
        let mut matchers = Vec::new();
        loop {
            if let Some(close) = self.next_if(Kind::RightBrace)? {
                return Ok((matchers, open.position().to(close.position())));
            }
            matchers.push(self.matcher()?);
            match self.peek()?.kind {
                Kind::Comma => {
                    self.next()?;
                }
                Kind::RightBrace => {}
                _ => return Err(self.unexpected("label matching", "\",\" or \"}\"")),
            }
        }
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let token = self.peek()?;
        if !matches!(token.kind, Kind::Identifier | Kind::String) {
            return Err(self.unexpected("label matching", "identifier or \"}\""));
        }
        self.next()?;
        let name = match token.kind {
            Kind::String => self.unquoted(token)?,
            _ => token.text.into(),
        };
        let op = match self.peek()?.kind {
            Kind::Equals => MatchOp::Equal,
            Kind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
            Kind::MatchesRegex => MatchOp::Regex,
            Kind::MatchesNotRegex => MatchOp::NotRegex,
            // A name in quotes alone is the metric's.
            _ if token.kind == Kind::String => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return Err(self.unexpected("label matching", "label matching operator")),
        };
        self.next()?;
        let value = self.peek()?;
        if value.kind != Kind::String {
            return Err(self.unexpected("label matching", "string"));
        }
        self.next()?;
        let position = token.position().to(value.position());
        Matcher::new(op, name, self.unquoted(value)?).map_err(|message| self.error(position, message))
    }
}
