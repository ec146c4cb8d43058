//! The Common Expression Language as Kubernetes runs it, for validation rules of CustomResourceDefinitions, admission
//! policies and the match conditions of webhooks.
//!
//! An [`Environment`] with variables goes in and compiles the text of an expression to a [`Program`], or tells what is wrong
//! with it in the words that clients of Kubernetes know ([`Issues`]). A program is shared between threads; it evaluates
//! over values that borrow the JSON of an object, described by a [`Schema`] or not, counts what that costs and stops at a
//! limit. [`Program::estimate`] tells beforehand what an evaluation can cost. [`rules`] judges whole objects by the
//! `x-kubernetes-validations` of their schema.
//!
//! The crate knows no Kubernetes client, no server and no clock; who answers questions of authorization is given from
//! outside ([`authorization::Authorizer`]). It follows the [language definition][spec], the libraries and costs of
//! Kubernetes 1.36 and, where the definition leaves room, cel-go 0.26. Parser, checker and interpreter are our own, since
//! the crate `cel` has neither checked types nor costs nor the reference implementation's errors and evaluates by names
//! over copies of its input; what could have been kept of it, the tree of its parser, keeps no positions for macros' errors.
//!
//! [spec]: https://github.com/google/cel-spec/blob/master/doc/langdef.md
//!
//! ```
//! use xebec_expressions::{Environment, Type, Value};
//!
//! let environment = Environment::kubernetes().variable("object", Type::Dyn);
//! let program = environment.compile("object.replicas <= 5 && object.name.startsWith('web')")?;
//! let object = serde_json::json!({"replicas": 3, "name": "web-1"});
//! let evaluation = program.evaluate(&[Some(Value::from_json(&object))], xebec_expressions::CALL_LIMIT);
//! assert!(matches!(evaluation.result, Ok(Value::Bool(true))));
//! # Ok::<(), xebec_expressions::CompileError>(())
//! ```

pub mod admission;
pub mod authorization;
pub mod devices;
pub mod names;
pub mod rules;

mod arithmetic;
mod checker;
mod cost;
mod declaration;
mod duration;
mod effort;
mod environment;
mod estimate;
mod function;
mod interpreter;
mod lexer;
mod library;
mod literal;
mod macros;
mod parser;
mod program;
mod regular;
mod schema;
mod source;
mod syntax;
mod timestamp;
mod types;
mod value;
mod wellknown;

pub use environment::{CompileError, Environment};
pub use estimate::Estimate;
pub use parser::{DEEPEST_NESTING, LONGEST_EXPRESSION};
pub use program::{Evaluation, Program};
pub use schema::{LARGEST_REQUEST, ListKind, Schema};
pub use source::{Issue, Issues, Location};
pub use timestamp::Timestamp;
pub use types::{FieldKnowledge, StructType, Type};
pub use value::{EvaluationError, Fields, Library, List, Map, Text, Value};

/// What one evaluation may cost.
pub const CALL_LIMIT: u64 = 1_000_000;
/// What all rules of one object may cost together.
pub const OBJECT_BUDGET: u64 = 10_000_000;
/// What all match conditions of one webhook or policy may cost together.
pub const MATCH_CONDITIONS_BUDGET: u64 = 2_500_000;
