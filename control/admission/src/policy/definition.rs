//! What policies of both sorts say of themselves, and their bindings.

use serde_json::Value;
use xebec_expressions::admission::{Variables as Known, environment};
use xebec_expressions::{Environment, MATCH_CONDITIONS_BUDGET};

use super::parameters::{Parameters, Reference};
use super::variables::Variables;
use crate::expression::{Conditions, Expression, Knowledge};
use crate::matching::Match;
use crate::object;
use crate::request::Kind;

/// A policy without what it judges or changes.
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) meant: Match,
    pub(super) conditions: Conditions,
    pub(super) variables: Variables,
    /// Whether requests are let through where the policy cannot be followed.
    pub(super) fails_open: bool,
    /// The kind of its parameters, where it has any.
    pub(super) kind: Option<Kind>,
}

/// Where a policy holds, and with which parameters.
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) meant: Match,
    pub(super) reference: Option<Reference>,
    /// `Deny`, `Warn`, `Audit`.
    pub(super) actions: Vec<String>,
}

impl Definition {
    pub(super) fn of(policy: &Value) -> Self {
        let spec = policy.get("spec").unwrap_or(&Value::Null);
        let kind = object::at(spec, &["paramKind"]).map(|kind| {
            let api_version = object::text(kind, &["apiVersion"]);
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            Kind::new(group, version, object::text(kind, &["kind"]))
        });
        let known = Known { params: kind.is_some(), authorizer: true, patches: false };
        let patches = object::at(spec, &["mutations"]).is_some();
        let base = environment(Known { patches, ..known });
        Self {
            name: object::name(policy).to_owned(),
            meant: Match::of_resources(object::at(spec, &["matchConstraints"]).unwrap_or(&Value::Null)),
            conditions: Conditions::compile(object::list(spec, &["matchConditions"]), &environment(known)),
            variables: Variables::compile(object::list(spec, &["variables"]), &base),
            fails_open: object::text(spec, &["failurePolicy"]) == "Ignore",
            kind,
        }
    }

    /// What its expressions can mention beside its variables.
    pub(super) fn environment(&self, authorizer: bool, patches: bool) -> Environment {
        let known = Known { params: self.kind.is_some(), authorizer, patches };
        self.variables.declare(environment(known))
    }

    /// Compiles an expression that has to come to one of these types.
    pub(super) fn compile(&self, text: &str, environment: &Environment, types: &[&str]) -> Expression {
        let mut expression = Expression::compile(text, environment);
        if let Ok(program) = &expression.program
            && !types.contains(&program.output_type().name())
            && program.output_type().name() != "dyn"
        {
            expression.program = Err(format!("must evaluate to {}", types.join(" or ")));
        }
        expression
    }

    /// Whether its conditions hold.
    ///
    /// # Errors
    ///
    /// They cannot be judged; the text says why.
    pub(super) fn applies(&self, knowledge: &Knowledge<'_>, params: Option<&Value>) -> Result<bool, String> {
        if self.conditions.all.is_empty() {
            return Ok(true);
        }
        let bindings = knowledge.bindings(params, true, None);
        match self.conditions.hold(&bindings, MATCH_CONDITIONS_BUDGET) {
            Err(_) if self.fails_open => Ok(false),
            judged => judged,
        }
    }

    /// The values of `params` for each run: one run without any where the policy or its binding names none.
    pub(super) fn parameters(&self, binding: &Binding) -> Parameters<'_> {
        Parameters { kind: self.kind.as_ref(), reference: binding.reference.clone() }
    }
}

impl Binding {
    pub(super) fn of(binding: &Value) -> Self {
        let spec = binding.get("spec").unwrap_or(&Value::Null);
        let actions = object::list(spec, &["validationActions"]).iter().filter_map(Value::as_str);
        Self {
            name: object::name(binding).to_owned(),
            meant: Match::of_resources(object::at(spec, &["matchResources"]).unwrap_or(&Value::Null)),
            reference: object::at(spec, &["paramRef"]).map(Reference::of),
            actions: actions.map(str::to_owned).collect(),
        }
    }
}
