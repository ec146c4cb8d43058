//! The text form of label selectors: `key`, `!key`, `key=a`, `key==a`, `key!=a`, `key>1`, `key<1`, `key in (a,b)`,
//! `key notin (a,b)`, joined by commas. An absent value is the empty string.

use super::labels::{Operator, Requirement};
use super::{Error, LENGTH_MAX};
use crate::field::{FieldError, Path};
use crate::label;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    End,
    /// Names, and the words `in` and `notin`, which are operators only between a key and its values.
    Word(&'a str),
    /// `=`, `==`, `!=`, `!`, `<`, `>`, `(`, `)` or `,`.
    Symbol(&'a str),
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::End => "",
            Self::Word(text) | Self::Symbol(text) => text,
        }
    }

    fn unexpected(self, expected: &'static str) -> Error {
        Error::Unexpected { found: self.text().to_owned(), expected }
    }
}

const COMMA: Token<'static> = Token::Symbol(",");
const CLOSE: Token<'static> = Token::Symbol(")");

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> Token<'a> {
        Tokens { rest: self.rest }.next()
    }

    fn next(&mut self) -> Token<'a> {
        let rest = self.rest.trim_start_matches(is_space);
        let (token, length) = if rest.is_empty() {
            (Token::End, 0)
        } else if rest.starts_with("==") || rest.starts_with("!=") {
            (Token::Symbol(&rest[..2]), 2)
        } else if rest.starts_with(is_symbol) {
            (Token::Symbol(&rest[..1]), 1)
        } else {
            let end = rest.find(|c| is_symbol(c) || is_space(c)).unwrap_or(rest.len());
            (Token::Word(&rest[..end]), end)
        };
        self.rest = &rest[length..];
        token
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

/// The requirements in the order of the text.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, Error> {
    if text.len() > LENGTH_MAX {
        return Err(Error::TooLong(text.len()));
    }
    let mut tokens = Tokens { rest: text };
    let mut requirements = Vec::new();
    match tokens.peek() {
        Token::End => return Ok(requirements),
        Token::Word(_) | Token::Symbol("!") => {}
        other => return Err(other.unexpected("!, identifier, or 'end of string'")),
    }
    loop {
        let requirement = requirement(&mut tokens).map_err(|error| Error::Requirement(Box::new(error)))?;
        requirements.push(requirement);
        match tokens.next() {
            Token::End => return Ok(requirements),
            COMMA => match tokens.peek() {
                Token::Word(_) | Token::Symbol("!") => {}
                other => return Err(other.unexpected("identifier after ','")),
            },
            other => return Err(other.unexpected("',' or 'end of string'")),
        }
    }
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, Error> {
    let mut first = tokens.next();
    let absent = first == Token::Symbol("!");
    if absent {
        first = tokens.next();
    }
    let Token::Word(key) = first else { return Err(first.unexpected("identifier")) };
    let problems = label::key_problems(key);
    if !problems.is_empty() {
        return Err(Error::Invalid(vec![FieldError::invalid(&Path::ROOT, key, problems.join("; "))]));
    }
    if absent {
        return Requirement::new(key, Operator::DoesNotExist, NONE);
    }
    if matches!(tokens.peek(), Token::End | COMMA) {
        return Requirement::new(key, Operator::Exists, NONE);
    }
    let operator = match tokens.next() {
        Token::Word("in") => Operator::In,
        Token::Word("notin") => Operator::NotIn,
        Token::Symbol("=") => Operator::Equals,
        Token::Symbol("==") => Operator::DoubleEquals,
        Token::Symbol("!=") => Operator::NotEquals,
        Token::Symbol(">") => Operator::GreaterThan,
        Token::Symbol("<") => Operator::LessThan,
        other => return Err(other.unexpected("in, notin, =, ==, !=, gt, lt")),
    };
    match operator {
        Operator::In | Operator::NotIn => Requirement::new(key, operator, set(tokens)?),
        _ => Requirement::new(key, operator, [exact(tokens)?]),
    }
}

const NONE: [&str; 0] = [];

/// The one value of `key=value`; nothing stands for the empty string.
fn exact<'a>(tokens: &mut Tokens<'a>) -> Result<&'a str, Error> {
    match tokens.peek() {
        Token::End | COMMA => Ok(""),
        _ => match tokens.next() {
            Token::Word(value) => Ok(value),
            other => Err(other.unexpected("identifier")),
        },
    }
}

/// The values of `key in (a,b)`; nothing between commas or parentheses stands for the empty string.
fn set<'a>(tokens: &mut Tokens<'a>) -> Result<Vec<&'a str>, Error> {
    match tokens.next() {
        Token::Symbol("(") => {}
        other => return Err(other.unexpected("'('")),
    }
    let mut values = Vec::new();
    loop {
        match tokens.next() {
            Token::Word(value) => {
                values.push(value);
                match tokens.next() {
                    COMMA => {}
                    CLOSE => return Ok(values),
                    other => return Err(other.unexpected("',' or ')'")),
                }
            }
            COMMA => values.push(""),
            CLOSE => {
                values.push("");
                return Ok(values);
            }
            other => return Err(other.unexpected("',', ')' or identifier")),
        }
    }
}
