//! The variables of a policy: expressions that others mention as `variables.NAME`, worked out when they are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use xebec_expressions::{CALL_LIMIT, Environment, EvaluationError, Fields, Type, Value as Cel};

use crate::expression::Expression;
use crate::object;

/// The most variables that a policy can have here; each may be worked out within the next.
const MOST: usize = 64;
const TYPE: &str = "kubernetes.variables";
/// The name under which expressions know them.
const NAME: &str = "variables";

/// The variables in the order in which they are declared; each may mention those before it.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    all: Vec<(String, Expression)>,
    types: BTreeMap<String, Type>,
}

impl Variables {
    /// Compiles variables, which can mention what the environment has.
    pub(crate) fn compile(list: &[Value], environment: &Environment) -> Self {
        let mut variables = Self::default();
        for variable in list {
            let (name, text) = (object::name_of(variable), object::text(variable, &["expression"]));
            let mut expression = Expression::compile(text, &variables.declare(environment.clone()));
            if variables.all.len() >= MOST {
                expression.program = Err(format!("a policy can have at most {MOST} variables"));
            }
            let of = expression.program.as_ref().map_or(Type::Dyn, |program| program.output_type().clone());
            variables.types.insert(name.to_owned(), of);
            variables.all.push((name.to_owned(), expression));
        }
        variables
    }

    /// Declares them as the last variable of an environment.
    pub(crate) fn declare(&self, environment: Environment) -> Environment {
        environment.variable(NAME, Type::structure(TYPE, self.types.clone()))
    }

    /// What they are worked out from.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.all.iter().map(|(_, expression)| expression)
    }

    /// Runs something with the variables, which see `bindings`. What they cost is added to `spent`.
    pub(super) fn with<R>(
        &self,
        bindings: &[Option<Cel<'_>>],
        spent: &AtomicU64,
        run: impl FnOnce(&dyn Fields) -> R,
    ) -> R {
        let mut run = Some(run);
        let mut answer = None;
        let upto = self.all.len().min(MOST);
        descend(&self.all[..upto], bindings, &Nothing, spent, &mut |fields| {
            answer = run.take().map(|run| run(fields));
        });
        match answer {
            Some(answer) => answer,
            None => unreachable!("the innermost call runs once"),
        }
    }
}

/// No variables.
#[derive(Debug)]
struct Nothing;

impl Fields for Nothing {
    fn field<'v>(&'v self, _name: &str) -> Option<Result<Cel<'v>, EvaluationError>> {
        None
    }

    fn type_name(&self) -> &str {
        TYPE
    }
}

/// One variable and those before it.
struct Frame<'p> {
    before: &'p dyn Fields,
    name: &'p str,
    expression: &'p Expression,
    bindings: &'p [Option<Cel<'p>>],
    spent: &'p AtomicU64,
    value: OnceLock<Result<Cel<'p>, EvaluationError>>,
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Fields for Frame<'_> {
    fn field<'v>(&'v self, name: &str) -> Option<Result<Cel<'v>, EvaluationError>> {
        if name != self.name {
            return self.before.field(name);
        }
        let value = self.value.get_or_init(|| {
            let failed = |why: String| {
                EvaluationError::new(format!("composited variable {:?} fails to evaluate: {why}", self.name))
            };
            let program = self.expression.program.as_ref().map_err(|why| {
                EvaluationError::new(format!("composited variable {:?} fails to compile: {why}", self.name))
            })?;
            let mut bindings = self.bindings.to_vec();
            bindings.push(Some(Cel::Fields(self.before)));
            let evaluation = program.evaluate(&bindings, CALL_LIMIT);
            self.spent.fetch_add(evaluation.cost, Ordering::Relaxed);
            evaluation.result.map_err(|error| failed(error.to_string()))
        });
        Some(value.clone())
    }

    fn type_name(&self) -> &str {
        TYPE
    }
}

fn descend(
    variables: &[(String, Expression)],
    bindings: &[Option<Cel<'_>>],
    before: &dyn Fields,
    spent: &AtomicU64,
    run: &mut dyn FnMut(&dyn Fields),
) {
    match variables.split_first() {
        None => run(before),
        Some(((name, expression), rest)) => {
            let frame = Frame { before, name, expression, bindings, spent, value: OnceLock::new() };
            descend(rest, bindings, &frame, spent, run);
        }
    }
}
