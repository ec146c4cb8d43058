//! Templates as trees.

use std::fmt;
use std::sync::Arc;

/// A template by its name.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
}

impl Tree {
    /// Whether it is nothing but white space.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.iter().all(|node| match node {
            Node::Text(text) => text.trim().is_empty(),
            _ => false,
        })
    }
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(Arc<str>),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { at: usize, name: String, pipe: Option<Pipe> },
    Break,
    Continue,
}

#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) list: Vec<Node>,
    pub(super) otherwise: Option<Vec<Node>>,
}

#[derive(Debug, Clone)]
pub(super) struct Pipe {
    pub(super) at: usize,
    pub(super) assigns: bool,
    pub(super) variables: Vec<Arc<str>>,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) at: usize,
    pub(super) operands: Vec<Operand>,
}

#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) term: Term,
}

#[derive(Debug, Clone)]
pub(super) enum Term {
    Bool(bool),
    Dot,
    Nil,
    Number(Number),
    /// As it is written, and what it means.
    Text(String, Arc<str>),
    Field(Vec<Arc<str>>),
    /// A variable and fields of it.
    Variable(Vec<Arc<str>>),
    Function(Arc<str>),
    Chain(Box<Operand>, Vec<Arc<str>>),
    Pipe(Box<Pipe>),
}

/// A number: as it is written, and as what it can be read.
#[derive(Debug, Clone)]
pub(super) struct Number {
    pub(super) text: String,
    pub(super) int: Option<i64>,
    pub(super) is_uint: bool,
    pub(super) float: Option<f64>,
}

impl fmt::Display for Pipe {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(out, "{} {sign} ", self.variables.join(", "))?;
        }
        for (at, command) in self.commands.iter().enumerate() {
            if at > 0 {
                out.write_str(" | ")?;
            }
            write!(out, "{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, operand) in self.operands.iter().enumerate() {
            if at > 0 {
                out.write_str(" ")?;
            }
            match &operand.term {
                Term::Pipe(pipe) => write!(out, "({pipe})")?,
                _ => write!(out, "{operand}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.term {
            Term::Bool(value) => write!(out, "{value}"),
            Term::Dot => out.write_str("."),
            Term::Nil => out.write_str("nil"),
            Term::Number(number) => out.write_str(&number.text),
            Term::Text(written, _) => out.write_str(written),
            Term::Field(names) => names.iter().try_for_each(|name| write!(out, ".{name}")),
            Term::Variable(names) => out.write_str(&names.join(".")),
            Term::Function(name) => out.write_str(name),
            Term::Chain(operand, names) => {
                match &operand.term {
                    Term::Pipe(pipe) => write!(out, "({pipe})")?,
                    _ => write!(out, "{operand}")?,
                }
                names.iter().try_for_each(|name| write!(out, ".{name}"))
            }
            Term::Pipe(pipe) => write!(out, "{pipe}"),
        }
    }
}
