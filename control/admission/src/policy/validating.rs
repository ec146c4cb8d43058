//! Policies that judge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use xebec_expressions::{Fields, OBJECT_BUDGET, Value as Cel};
use xebec_machinery::status::{Cause, Reason, Status};

use super::definition::{Binding, Definition};
use super::parameters::Fault;
use super::{Bound, Policies};
use crate::expression::{Expression, Failure, Knowledge, OUT_OF_BUDGET, shown_message};
use crate::matching::{Seen, is_exempt};
use crate::object;
use crate::request::Request;
use crate::stage::{Case, Outcome, Validation, later, now};
use crate::webhook::shown;

/// The longest value of an audit annotation.
const LONGEST_ANNOTATION: usize = 10 * 1024;

/// The stage.
pub(crate) struct ValidatingPolicies(Policies<Rules>);

/// What a policy asks for.
pub(crate) struct Rules {
    validations: Vec<Rule>,
    annotations: Vec<(String, Expression)>,
}

struct Rule {
    expression: Expression,
    message: String,
    reason: String,
    message_expression: Option<Expression>,
}

/// A rule that does not hold, or could not be judged.
struct Denial {
    index: usize,
    message: String,
    reason: String,
}

/// What one run of a policy came to.
#[derive(Default)]
struct Run {
    denials: Vec<Denial>,
    annotations: Vec<(String, String)>,
    /// Annotations that could not be worked out; they refuse whatever the binding says.
    broken: Vec<String>,
}

impl Default for ValidatingPolicies {
    fn default() -> Self {
        let (policies, bindings) = ("validatingadmissionpolicies", "validatingadmissionpolicybindings");
        Self(Policies::of(policies, bindings, Rules::compile))
    }
}

impl Rules {
    fn compile(policy: &Value, definition: &Definition) -> Self {
        let (full, plain) = (definition.environment(true, false), definition.environment(false, false));
        let rule = |rule: &Value| {
            let text = |field: &str| object::text(rule, &[field]);
            let message = text("messageExpression");
            Rule {
                expression: definition.compile(text("expression"), &full, &["bool"]),
                message: text("message").trim().to_owned(),
                reason: text("reason").to_owned(),
                message_expression: (!message.is_empty())
                    .then(|| definition.compile(message, &plain, &["string"])),
            }
        };
        let annotation = |annotation: &Value| {
            let text = object::text(annotation, &["valueExpression"]);
            let expression = definition.compile(text, &plain, &["string", "null_type"]);
            (object::text(annotation, &["key"]).to_owned(), expression)
        };
        Self {
            validations: object::list(policy, &["spec", "validations"]).iter().map(rule).collect(),
            annotations: object::list(policy, &["spec", "auditAnnotations"]).iter().map(annotation).collect(),
        }
    }

    /// Runs the policy once.
    fn run(&self, definition: &Definition, knowledge: &Knowledge<'_>, params: Option<&Value>) -> Run {
        let mut run = Run::default();
        let fails = |run: &mut Run, index: usize, message: String| {
            if !definition.fails_open {
                run.denials.push(Denial { index, message, reason: String::new() });
            }
        };
        match definition.applies(knowledge, params) {
            Ok(true) => {}
            Ok(false) => return run,
            Err(why) => {
                fails(&mut run, 0, why);
                return run;
            }
        }
        let (base, plain) = (knowledge.bindings(params, true, None), knowledge.bindings(params, false, None));
        let spent = AtomicU64::new(0);
        definition.variables.with(&base, &spent, |variables| {
            let mut budget = OBJECT_BUDGET;
            for (index, rule) in self.validations.iter().enumerate() {
                let judged = evaluate(&rule.expression, (&base, variables), &spent, &mut budget);
                match judged {
                    Ok(Cel::Bool(true)) => {}
                    Ok(_) => {
                        let message = rule.message(&plain, variables, &spent, &mut budget);
                        run.denials.push(Denial { index, message, reason: rule.reason.clone() });
                    }
                    Err(Failure::Budget) => {
                        run.denials.clear();
                        fails(&mut run, index, OUT_OF_BUDGET.to_owned());
                        return;
                    }
                    Err(Failure::Expression(why)) => fails(&mut run, index, why),
                }
            }
            let mut budget = OBJECT_BUDGET;
            for (key, expression) in &self.annotations {
                match evaluate(expression, (&plain, variables), &spent, &mut budget) {
                    Ok(Cel::Null) => {}
                    Ok(Cel::String(text)) => {
                        let text = text.as_str().trim();
                        let cut = text.floor_char_boundary(LONGEST_ANNOTATION);
                        if !text.is_empty() {
                            run.annotations.push((key.clone(), text[..cut].to_owned()));
                        }
                    }
                    Ok(other) => run.broken.push(format!(
                        "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either \
                         string or null.",
                        expression.text,
                        other.type_name()
                    )),
                    Err(failure) if !definition.fails_open => run.broken.push(failure.to_string()),
                    Err(_) => {}
                }
            }
        });
        run
    }
}

/// Runs an expression with a policy's variables; what they cost counts too.
pub(super) fn evaluate<'a>(
    expression: &Expression,
    (base, variables): (&[Option<Cel<'a>>], &'a dyn Fields),
    spent: &AtomicU64,
    budget: &mut u64,
) -> Result<Cel<'a>, Failure> {
    let mut bindings = base.to_vec();
    bindings.push(Some(Cel::Fields(variables)));
    let value = expression.run(&bindings, budget);
    match budget.checked_sub(spent.swap(0, Ordering::Relaxed)) {
        Some(rest) => *budget = rest,
        None => {
            *budget = 0;
            return Err(Failure::Budget);
        }
    }
    value
}

impl Rule {
    /// What is said where the rule does not hold.
    fn message(
        &self,
        bindings: &[Option<Cel<'_>>],
        variables: &dyn Fields,
        spent: &AtomicU64,
        budget: &mut u64,
    ) -> String {
        let made = self.message_expression.as_ref().and_then(|expression| {
            let value = evaluate(expression, (bindings, variables), spent, budget);
            value.ok().and_then(|value| shown_message(&value))
        });
        match made {
            Some(made) => made,
            None if !self.message.is_empty() => self.message.clone(),
            None => format!("failed expression: {}", self.expression.text.trim()),
        }
    }
}

impl Validation for ValidatingPolicies {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, request: &Request) -> bool {
        !is_exempt(request)
    }

    fn validate<'a>(&'a self, case: Case<'a>, object: &'a Value) -> Outcome<'a> {
        match self.0.now(case.world) {
            Ok(bound) if bound.is_empty() => now(Ok(())),
            Ok(bound) => later(async move { judge(case, &bound, object).await }),
            Err(status) => now(Err(status)),
        }
    }
}

async fn judge(case: Case<'_>, bound: &[Bound<Rules>], object: &Value) -> Result<(), Status> {
    let mut judgement = Judgement { case, object, denied: None };
    for policy in bound {
        judgement.hear(policy).await?;
    }
    match judgement.denied {
        None => Ok(()),
        Some((message, reason)) => Err(refusal(case, object, message, &reason)),
    }
}

/// The judgement of one request by all policies.
struct Judgement<'a> {
    case: Case<'a>,
    object: &'a Value,
    /// The message and reason of the first denial.
    denied: Option<(String, String)>,
}

impl Judgement<'_> {
    fn deny(&mut self, policy: &Definition, binding: Option<&Binding>, message: &str, reason: &str) {
        let by = binding.map(|binding| format!(" with binding '{}'", binding.name)).unwrap_or_default();
        let whole = || format!("ValidatingAdmissionPolicy '{}'{by} denied request: {message}", policy.name);
        self.denied.get_or_insert_with(|| (whole(), reason.to_owned()));
    }

    fn misconfigured(&mut self, policy: &Definition, binding: Option<&Binding>, why: &str) {
        if !policy.fails_open {
            let what = if binding.is_some() { "binding" } else { "policy" };
            self.deny(policy, binding, &format!("failed to configure {what}: {why}"), "");
        }
    }

    async fn hear(&mut self, policy: &Bound<Rules>) -> Result<(), Status> {
        let definition = &policy.definition;
        let seen = match definition.meant.find(self.case, self.object, false) {
            Ok(Some(seen)) => seen,
            Ok(None) => return Ok(()),
            Err(status) => {
                self.misconfigured(definition, None, &status.message);
                return Ok(());
            }
        };
        let mut annotations = BTreeMap::new();
        for binding in &policy.bindings {
            match binding.meant.find(self.case, self.object, true) {
                Ok(Some(_)) => {}
                Ok(None) => continue,
                Err(status) => {
                    self.misconfigured(definition, Some(binding), &status.message);
                    continue;
                }
            }
            match definition.parameters(binding).find(self.case).await {
                Ok(params) => {
                    for run in run_all(self.case, policy, &seen, &params, self.object).await? {
                        self.weigh(definition, binding, run, &mut annotations);
                    }
                }
                Err(Fault::Policy(why)) => self.misconfigured(definition, None, &why),
                Err(Fault::Binding(why)) => self.misconfigured(definition, Some(binding), &why),
            }
        }
        for (key, values) in annotations {
            self.case.notes.annotate(format!("{}/{key}", definition.name), values.join(", "));
        }
        Ok(())
    }

    /// Does with what a run came to what the binding asks for.
    fn weigh(
        &mut self,
        policy: &Definition,
        binding: &Binding,
        run: Run,
        annotations: &mut BTreeMap<String, Vec<String>>,
    ) {
        for denial in &run.denials {
            for action in &binding.actions {
                match action.as_str() {
                    "Deny" => self.deny(policy, Some(binding), &denial.message, &denial.reason),
                    "Warn" => self.case.notes.warn(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                        policy.name, binding.name, denial.message
                    )),
                    "Audit" => self.case.notes.annotate(
                        "validation.policy.admission.k8s.io/validation_failure",
                        failure(policy, binding, denial).to_string(),
                    ),
                    _ => {}
                }
            }
        }
        for why in &run.broken {
            self.deny(policy, Some(binding), why, "");
        }
        for (key, value) in run.annotations {
            let values = annotations.entry(key).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
}

async fn run_all(
    case: Case<'_>,
    policy: &Bound<Rules>,
    seen: &Seen,
    params: &[Option<Arc<Value>>],
    object: &Value,
) -> Result<Vec<Run>, Status> {
    if params.is_empty() {
        return Ok(Vec::new());
    }
    let (new, old) = shown(case, seen, object).await?;
    let knowledge = Knowledge::gather(case, seen, &new, &old)?;
    let has_kind = policy.definition.kind.is_some();
    let run = |param: &Option<Arc<Value>>| {
        let param = param.as_deref().unwrap_or(&Value::Null);
        policy.rules.run(&policy.definition, &knowledge, has_kind.then_some(param))
    };
    Ok(params.iter().map(run).collect())
}

fn failure(policy: &Definition, binding: &Binding, denial: &Denial) -> Value {
    json!([{
        "message": denial.message,
        "policy": policy.name,
        "binding": binding.name,
        "expressionIndex": denial.index,
        "validationActions": binding.actions,
    }])
}

fn refusal(case: Case<'_>, object: &Value, message: String, reason: &str) -> Status {
    let mut status = case.forbidden(object, &message);
    status.reason = match reason {
        "Forbidden" => Reason::Forbidden,
        "Unauthorized" => Reason::Unauthorized,
        "RequestEntityTooLarge" => Reason::RequestEntityTooLarge,
        _ => Reason::Invalid,
    };
    if let Some(details) = &mut status.details {
        details.causes.push(Cause { message, ..Cause::default() });
    }
    status
}
