//! The rules (`x-kubernetes-validations`) of a CustomResourceDefinition's schema: compiled once with their costs, then run
//! over whole objects.
//!
//! [`RuleSet::compile`] takes the `openAPIV3Schema` as JSON and gives the rules with everything that is wrong with them, as
//! Kubernetes words it when the definition is created. [`RuleSet::validate`] runs them over an object (and the one that it
//! replaces) within the budget of one object.

mod compile;
mod field_path;
mod keyed_list;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::program::Program;
use crate::schema::Schema;

pub use compile::{MOST_RULE_COST, MOST_SCHEMA_COST};
pub use field_path::field_path;
pub use keyed_list::KeyedList;

/// The kind of a mistake, as Kubernetes names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A value is wrong.
    Invalid,
    /// A value is not allowed.
    Forbidden,
    /// A value is missing.
    Required,
    /// A value is there twice.
    Duplicate,
    /// A value is none of those that may be.
    Unsupported,
    /// It can not be judged.
    Internal,
}

/// Something wrong with the rules of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: the path that was given for the schema, and below it `properties[spec].x-kubernetes-validations[0].rule`.
    pub path: String,
    /// Of what kind.
    pub reason: Reason,
    /// The wrong value, as errors show it.
    pub value: Option<String>,
    /// What.
    pub detail: String,
}

/// A step from an object to a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// To a property that the schema names.
    Property(&'a str),
    /// To an entry of a map.
    Entry(&'a str),
    /// To an element of a list.
    Element(usize),
    /// To the same value, as a part of `allOf` speaks of it.
    Part,
}

/// Tells whether what these steps lead to is what it was before, so that rules which it breaks are forgiven.
pub type Unchanged<'a> = Option<&'a dyn Fn(&[Step<'_>]) -> bool>;

/// What rules say of an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judgement {
    /// The rules that are broken.
    pub failures: Vec<Failure>,
    /// Those that are broken by what did not change.
    pub forgiven: Vec<Failure>,
    /// What all rules cost together.
    pub cost: u64,
}

/// A rule that an object breaks, or that could not be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Where, below the object: `.spec.ports[0]`; empty for the object itself.
    pub path: String,
    /// Of what kind.
    pub reason: Reason,
    /// The wrong value, where an error shows it: the value itself, or the name of its type.
    pub value: Option<Json>,
    /// What.
    pub detail: String,
}

/// A rule as a schema declares it.
#[derive(Debug, Clone, Default)]
struct Rule {
    rule: String,
    message: String,
    message_expression: String,
    reason: Option<Reason>,
    /// The name of the reason, where one is given.
    reason_name: Option<String>,
    field_path: String,
    optional_old_self: Option<bool>,
}

/// A rule that can be run, or why not.
#[derive(Debug)]
struct Compiled {
    declared: Rule,
    program: Result<Program, String>,
    message: Option<Program>,
    uses_old_self: bool,
    /// Where below the value errors point.
    field_path: Option<String>,
}

/// What a rule was estimated to cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCost {
    /// Where, as in [`Problem::path`].
    pub path: String,
    /// At most, for one value.
    pub cost: u64,
    /// At most, for all values that a request can hold.
    pub total: u64,
}

/// The rules at one place of a schema and below it.
#[derive(Debug)]
struct Place {
    schema: Arc<Schema>,
    /// The `type` of the schema.
    type_name: String,
    rules: Vec<Compiled>,
    properties: BTreeMap<String, Place>,
    /// For the elements of a list or the values of a map.
    items: Option<Box<Place>>,
    all_of: Vec<Place>,
}

impl Place {
    fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.properties.is_empty() && self.items.is_none() && self.all_of.is_empty()
    }
}

/// The rules of a schema.
#[derive(Debug)]
pub struct RuleSet {
    root: Option<Place>,
    costs: Vec<RuleCost>,
}

impl RuleSet {
    /// Compiles the rules of `openapi`, the schema of a whole object, and tells what is wrong with them. `path` is where the
    /// schema stands, for errors.
    pub fn compile(openapi: &Json, path: &str) -> (Self, Vec<Problem>) {
        compile::compile(openapi, path, true)
    }

    /// Like [`Self::compile`] for the schema of any value.
    pub fn compile_part(openapi: &Json, path: &str) -> (Self, Vec<Problem>) {
        compile::compile(openapi, path, false)
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// What the rules were estimated to cost, in the order in which they were compiled.
    pub fn costs(&self) -> &[RuleCost] {
        &self.costs
    }

    /// Runs the rules over `object`, which replaces `old`. A rule that does not compare with the old value is not held
    /// against what `unchanged` calls so.
    pub fn validate(&self, object: &Json, old: Option<&Json>, unchanged: Unchanged<'_>) -> Judgement {
        match &self.root {
            Some(root) => run::run(root, object, old, unchanged),
            None => Judgement::default(),
        }
    }
}
