//! The form of an expression that is run: names are numbers, constants are worked out, patterns are compiled.

mod planner;

pub(crate) use planner::list_index;

use std::sync::Arc;

use regex::Regex;

use crate::checker::Checked;
use crate::cost::Cost;
use crate::declaration::Declaration;
use crate::estimate::{self, Estimate};
use crate::function::Function;
use crate::interpreter;
use crate::schema::Schema;
use crate::types::Type;
use crate::value::{EvaluationError, Value};

/// A compiled expression. It can be shared between threads; each evaluation keeps its state to itself.
#[derive(Debug)]
pub struct Program {
    pub(crate) root: Node,
    pub(crate) variables: Vec<String>,
    pub(crate) slots: usize,
    output: Type,
    read: Vec<bool>,
    checked: Option<Checked>,
}

/// What an evaluation came to.
#[derive(Debug, Clone)]
pub struct Evaluation<'a> {
    /// The value, or why there is none.
    pub result: Result<Value<'a>, EvaluationError>,
    /// What it cost.
    pub cost: u64,
}

impl Program {
    pub(crate) fn plan(checked: Checked, variables: Vec<String>) -> Result<Self, String> {
        let (root, slots) = planner::plan(&checked)?;
        let output = checked.type_of(&checked.tree.root).clone();
        let read = (0..variables.len()).map(|variable| checked.reads(variable)).collect();
        Ok(Self { root, variables, slots, output, read, checked: Some(checked) })
    }

    /// The type that the checker found.
    pub fn output_type(&self) -> &Type {
        &self.output
    }

    /// Whether the expression mentions the variable `name`.
    pub fn mentions(&self, name: &str) -> bool {
        self.variables.iter().zip(&self.read).any(|(variable, read)| *read && variable == name)
    }

    /// What an evaluation can cost, if the first name of every path means something that `root` describes. Nothing is
    /// known of sizes without it. None after [`Self::without_tree`].
    pub fn estimate(&self, root: Option<&Schema>) -> Option<Estimate> {
        self.checked.as_ref().map(|checked| estimate::estimate(checked, root))
    }

    /// Drops what only estimates need.
    #[must_use]
    pub fn without_tree(mut self) -> Self {
        self.checked = None;
        self
    }

    /// Evaluates the expression. `bindings` are the variables in the order of their declaration; evaluation stops when it
    /// costs more than `limit`.
    pub fn evaluate<'a>(&self, bindings: &[Option<Value<'a>>], limit: u64) -> Evaluation<'a> {
        interpreter::evaluate(self, bindings, limit)
    }
}

/// A step.
#[derive(Debug)]
pub(crate) enum Node {
    Constant(Value<'static>),
    Attribute(Box<Attribute>),
    /// An accumulator that its loop will not read again.
    Take(usize),
    And(Vec<Node>),
    Or(Vec<Node>),
    Call(Box<Call>),
    /// Whether a value is in a constant list.
    InSet(Box<Node>, Value<'static>),
    OptionalOr(Box<(Node, Node)>),
    OptionalOrValue(Box<(Node, Node)>),
    List {
        elements: Vec<Node>,
        optional: Vec<bool>,
    },
    Map {
        entries: Vec<(Node, Node, bool)>,
    },
    Struct {
        name: Arc<str>,
        fields: Vec<(Arc<str>, Node, bool)>,
    },
    Fold(Box<Fold>),
}

/// A call of a function whose arguments are all evaluated first.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: Function,
    pub(crate) declaration: &'static Declaration,
    /// The overload that is meant, where the checker left but one.
    pub(crate) overload: Option<&'static str>,
    pub(crate) args: Vec<Node>,
    pub(crate) cost: Cost,
    pub(crate) pattern: Option<Regex>,
    /// Whether the first argument without a value ends the call before the others are looked at.
    pub(crate) one_by_one: bool,
}

/// Something with fields or elements picked from it.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) root: Root,
    pub(crate) qualifiers: Vec<Qualifier>,
    /// Whether the last qualifier is only asked to be there.
    pub(crate) test: bool,
}

/// Where an attribute begins.
#[derive(Debug)]
pub(crate) enum Root {
    Variable(usize),
    Local(usize),
    Relative(Node),
    Conditional(Box<(Node, Attribute, Attribute)>),
}

/// A field or element that is picked.
#[derive(Debug)]
pub(crate) struct Qualifier {
    pub(crate) index: Index,
    pub(crate) optional: bool,
}

/// Which field or element.
#[derive(Debug)]
pub(crate) enum Index {
    Field(Arc<str>),
    Constant(Value<'static>),
    Attribute(Box<Attribute>),
    Computed(Node),
}

/// A loop.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) range: Node,
    pub(crate) initial: Node,
    pub(crate) condition: Node,
    pub(crate) step: Node,
    pub(crate) result: Node,
    pub(crate) accumulator: usize,
    pub(crate) variable: usize,
    pub(crate) second: Option<usize>,
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Program>();
};
