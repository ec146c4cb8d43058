//! Structural schemas: what a CustomResourceDefinition's `openAPIV3Schema` says, compiled once.
//!
//! [`compile`] checks a schema by the rules of Kubernetes and turns it into a [`Structural`], its rules in CEL with it; that
//! judges, defaults and prunes objects, and gives the merge model ([`Node`]) that patches and server-side apply walk. Every walk goes down the
//! schema, whose depth is limited, so an object can not make it recurse further than its schema.
//!
//! The compiled form is some forty times as large as the text. Most definitions of a cluster have no objects, so one that is
//! stored ([`compile_stored`]) keeps its text alone until the first object asks.

mod compile;
mod correlation;
mod default;
mod formats;
mod judgement;
mod junctor;
mod list_type;
mod merge_model;
mod pattern;
mod prune;
mod scale;
mod source;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Number, Value};
use xebec_expressions::rules::RuleSet;

use crate::field::FieldError;
use crate::resource::Scale;
use crate::schema::{ListType, Node};

pub use compile::{MAX_DEPTH, MAX_NODES, compile, compile_at, compile_stored};
pub use judgement::{Change, Verdict};
pub use merge_model::object_meta;
pub use pattern::{Pattern, compile as compile_pattern};

/// A structural schema that compiles.
#[derive(Debug)]
pub struct Structural {
    parts: LazyLock<Parts, Box<dyn FnOnce() -> Parts + Send + Sync>>,
}

/// What a schema is compiled to.
#[derive(Debug)]
struct Parts {
    root: Schema,
    node: Node,
    rules: Option<RuleSet>,
}

impl Structural {
    /// The compiled schema of the whole object.
    pub fn root(&self) -> &Schema {
        &self.parts.root
    }

    /// The merge model.
    pub fn node(&self) -> &Node {
        &self.parts.node
    }

    /// The rules in CEL (`x-kubernetes-validations`), if there are any.
    pub fn rules(&self) -> Option<&RuleSet> {
        self.parts.rules.as_ref()
    }

    /// Everything that is wrong with a new `object`, as Kubernetes words it; its own metadata is left to
    /// [`crate::metadata`].
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        self.judge(object, Change::Create, None, Vec::new()).errors
    }

    /// Judges an object as it comes to be by `change`. `scale` is where its scale subresource finds its numbers, `errors`
    /// are what is wrong with its metadata: where something is missing there, no rule is run.
    pub fn judge(
        &self,
        object: &Value,
        change: Change<'_>,
        scale: Option<&Scale>,
        errors: Vec<FieldError>,
    ) -> Verdict {
        judgement::judge(self, object, change, scale, errors)
    }

    /// Fills in what the object leaves out and the schema has a default for, and drops nulls where none may be.
    pub fn default(&self, object: &mut Value) {
        default::default(self.root(), object);
    }

    /// The same for an object that was defaulted when it was stored, by a schema that may have had fewer defaults.
    pub fn default_stored(&self, object: &mut Value) {
        let root = self.root();
        if root.fills {
            default::default(root, object);
        }
    }

    /// Removes the fields that the schema does not know and tells their paths.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(self.root(), object, true)
    }

    /// The paths of the fields that the schema does not know.
    pub fn unknown_fields(&self, object: &Value) -> Vec<String> {
        self.prune(&mut object.clone())
    }
}

/// The `type` of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `object`.
    Object,
    /// `array`.
    Array,
    /// `string`.
    String,
    /// `integer`.
    Integer,
    /// `number`.
    Number,
    /// `boolean`.
    Boolean,
}

impl Type {
    /// The name in a schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Object, Self::Array, Self::String, Self::Integer, Self::Number, Self::Boolean]
            .into_iter()
            .find(|known| known.as_str() == name)
    }
}

/// What keys besides `properties` an object may have.
#[derive(Debug, Clone, Default)]
pub enum Additional {
    /// None: they are pruned.
    #[default]
    None,
    /// Any with any value (`additionalProperties: true`).
    Any,
    /// Any with values of this schema.
    Schema(Box<Schema>),
}

/// One node of a structural schema.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// The type; absent where the value may be anything, or an integer or string.
    pub schema_type: Option<Type>,
    /// The schemas of the named fields.
    pub properties: BTreeMap<Box<str>, Schema>,
    /// What other keys may be there.
    pub additional: Additional,
    /// The schema of a list's elements.
    pub items: Option<Box<Schema>>,
    /// `null` is a value of its own.
    pub nullable: bool,
    /// The value that is filled in when there is none.
    pub default: Option<Value>,
    /// Unknown fields are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown: bool,
    /// An integer or a string (`x-kubernetes-int-or-string`).
    pub int_or_string: bool,
    /// A whole object with `apiVersion`, `kind` and `metadata` (`x-kubernetes-embedded-resource`).
    pub embedded: bool,
    /// How apply merges a list (`x-kubernetes-list-type`).
    pub list_type: Option<ListType>,
    /// The object is owned as one value (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// Whether there is a set or a list with keys here or below.
    pub tells_elements: bool,
    /// Whether there is an embedded object here or below.
    pub embeds: bool,
    /// Whether there is a default below.
    pub fills: bool,
    /// The rules on values.
    pub checks: Checks,
}

/// Rules on a value that say nothing about its structure.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    /// Fields that must be there.
    pub required: Vec<Box<str>>,
    /// The only values that may be; empty says nothing.
    pub allowed: Vec<Value>,
    /// The least number, and whether it is itself excluded.
    pub minimum: Option<(Number, bool)>,
    /// The greatest number, and whether it is itself excluded.
    pub maximum: Option<(Number, bool)>,
    /// The number must be a multiple of this.
    pub multiple_of: Option<Number>,
    /// The least count of characters.
    pub min_length: Option<u64>,
    /// The greatest count of characters.
    pub max_length: Option<u64>,
    /// What a string must match.
    pub pattern: Option<Arc<Pattern>>,
    /// The least count of elements.
    pub min_items: Option<u64>,
    /// The greatest count of elements.
    pub max_items: Option<u64>,
    /// The least count of fields.
    pub min_properties: Option<u64>,
    /// The greatest count of fields.
    pub max_properties: Option<u64>,
    /// The format of a string or number; one that is not known says nothing.
    pub format: Option<Box<str>>,
    /// All of these must hold.
    pub all_of: Vec<Junct>,
    /// One or more of these must hold.
    pub any_of: Vec<Junct>,
    /// Exactly one of these must hold.
    pub one_of: Vec<Junct>,
    /// This must not hold.
    pub not: Option<Box<Junct>>,
}

/// A schema within `allOf`, `anyOf`, `oneOf` or `not`: rules on values, here and further down.
#[derive(Debug, Clone, Default)]
pub struct Junct {
    /// A type, which only the two branches of an int-or-string may have.
    pub schema_type: Option<Type>,
    /// Rules on the value.
    pub checks: Checks,
    /// Rules on fields.
    pub properties: BTreeMap<Box<str>, Junct>,
    /// Rules on elements.
    pub items: Option<Box<Junct>>,
}
