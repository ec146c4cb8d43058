//! Compiles the rules of a schema and weighs what they can cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{Compiled, Place, Problem, Reason, Rule, RuleCost, RuleSet, field_path};
use crate::environment::{CompileError, Environment};
use crate::names;
use crate::program::Program;
use crate::schema::Schema;
use crate::types::Type;

/// What one rule may be estimated to cost.
pub const MOST_RULE_COST: u64 = 10_000_000;
/// What all rules of a schema may be estimated to cost together.
pub const MOST_SCHEMA_COST: u64 = 100_000_000;
/// How many of the most expensive rules are named where all together cost too much.
const NAMED_RULES: usize = 4;

/// Compiles the rules of `openapi`.
pub(super) fn compile(openapi: &Json, path: &str, whole: bool) -> (RuleSet, Vec<Problem>) {
    let mut compiler = Compiler { problems: Vec::new(), costs: Vec::new(), misdeclared: 0 };
    let schema = Schema::from_openapi(openapi, whole).map(Arc::new);
    let at = At { path: path.to_owned(), cardinality: Some(1), uncorrelated: None, judged: true };
    let root = compiler.place(openapi, openapi, schema, &at);
    let Compiler { mut problems, costs, .. } = compiler;
    problems.extend(too_much_together(&costs, path));
    (RuleSet { root: root.filter(|root| !root.is_empty()), costs }, problems)
}

/// Where in the schema the compiler is.
#[derive(Clone)]
struct At {
    path: String,
    /// How many such values an object can hold, if that is limited.
    cardinality: Option<u64>,
    /// The schema below which old values can not be told.
    uncorrelated: Option<String>,
    /// Whether expressions are judged and weighed here. Those within `allOf` are only run, as upstream does.
    judged: bool,
}

impl At {
    fn child(&self, step: &str) -> Self {
        let separator = if self.path.is_empty() { "" } else { "." };
        Self { path: format!("{}{separator}{step}", self.path), ..self.clone() }
    }
}

struct Compiler {
    problems: Vec<Problem>,
    costs: Vec<RuleCost>,
    /// How many rules were found to say something wrong besides their expressions.
    misdeclared: usize,
}

impl Compiler {
    fn report(&mut self, path: String, reason: Reason, value: Option<String>, detail: impl Into<String>) {
        self.problems.push(Problem { path, reason, value, detail: detail.into() });
    }

    /// Notes something wrong with a rule besides its expression.
    fn misdeclare(&mut self, path: String, reason: Reason, value: Option<&str>, detail: &str) {
        self.misdeclared += 1;
        self.report(path, reason, value.map(quoted), detail);
    }

    /// The rules that `validation` declares for values of `schema`, which `node` was read to.
    fn place(
        &mut self,
        validation: &Json,
        node: &Json,
        schema: Option<Arc<Schema>>,
        at: &At,
    ) -> Option<Place> {
        let type_name = node.get("type").and_then(Json::as_str).unwrap_or("").to_owned();
        let factor = match type_name.as_str() {
            "object" if node.get("additionalProperties").is_some() => limit(node, "maxProperties"),
            "array" => limit(node, "maxItems"),
            _ => Some(1),
        };
        let cardinality = at.cardinality.zip(factor).map(|(count, factor)| count.saturating_mul(factor));
        let misdeclared = self.misdeclared;
        let mut below = At { cardinality, ..at.clone() };
        let uncorrelated =
            type_name == "array" && node.get("x-kubernetes-list-type").and_then(Json::as_str) != Some("map");
        if uncorrelated && below.uncorrelated.is_none() {
            below.uncorrelated = Some(at.path.clone());
        }
        let mut properties = BTreeMap::new();
        for (name, property) in validation.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let Some(property_node) = node.get("properties").and_then(|properties| properties.get(name))
            else {
                continue;
            };
            let child_schema = match names::escape(name) {
                Some(_) => schema.as_ref().and_then(|schema| schema.property(name).cloned()),
                None => Schema::from_openapi(property_node, embedded(property_node)).map(Arc::new),
            };
            let child_at = below.child(&format!("properties[{name}]"));
            if let Some(child) = self.place(property, property_node, child_schema, &child_at) {
                properties.insert(name.clone(), child);
            }
        }
        let mut items = None;
        for step in ["items", "additionalProperties"] {
            if let (Some(validation @ Json::Object(_)), Some(node @ Json::Object(_))) =
                (validation.get(step), node.get(step))
            {
                let child_schema = schema.as_ref().and_then(|schema| schema.items().cloned());
                items = self.place(validation, node, child_schema, &below.child(step)).map(Box::new);
            }
        }
        let mut all_of = Vec::new();
        for (i, part) in validation.get("allOf").and_then(Json::as_array).into_iter().flatten().enumerate() {
            let at = At { judged: false, ..at.child(&format!("allOf[{i}]")) };
            all_of.extend(self.place(part, node, schema.clone(), &at));
        }
        let declared = declared(validation);
        let rules = self.rules(declared, (schema.as_deref(), node), at, misdeclared);
        let place = Place { schema: schema?, type_name, rules, properties, items, all_of };
        (!place.is_empty()).then_some(place)
    }

    /// Compiles the rules of one place, if nothing was declared wrong there or below, which `misdeclared` were before.
    fn rules(
        &mut self,
        declared: Vec<Rule>,
        (schema, node): (Option<&Schema>, &Json),
        at: &At,
        misdeclared: usize,
    ) -> Vec<Compiled> {
        if declared.is_empty() {
            return Vec::new();
        }
        let Some(schema) = schema else {
            let path = at.child("x-kubernetes-validations").path;
            self.report(
                path,
                Reason::Internal,
                None,
                "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations",
            );
            return Vec::new();
        };
        let schema = schema.renamed("selfType");
        let self_type = schema.cel_type().clone();
        let environment =
            Environment::kubernetes().object_types_of(&self_type).variable("self", self_type.clone());
        let plain = environment.clone().variable("oldSelf", self_type.clone());
        let optional = environment.variable("oldSelf", Type::optional(self_type));
        let places: Vec<At> = (0..declared.len())
            .map(|i| At { path: at.child(&format!("x-kubernetes-validations[{i}]")).path, ..at.clone() })
            .collect();
        for (rule, place) in declared.iter().zip(&places) {
            self.declare(rule, node, place);
        }
        if self.misdeclared > misdeclared {
            return Vec::new();
        }
        let compiled = declared.into_iter().zip(&places).map(|(rule, place)| {
            let environment = if rule.optional_old_self == Some(true) { &optional } else { &plain };
            self.rule(rule, (&schema, node), environment, place)
        });
        compiled.collect()
    }

    /// Judges what a rule says besides its expression.
    fn declare(&mut self, rule: &Rule, node: &Json, at: &At) {
        let path = |name: &str| at.child(name).path;
        let message = rule.message.trim();
        if rule.rule.trim().is_empty() {
            self.misdeclare(path("rule"), Reason::Required, None, "rule is not specified");
        } else if !rule.message.is_empty() && message.is_empty() {
            let told = Some(rule.message.as_str());
            self.misdeclare(path("message"), Reason::Invalid, told, "must be non-empty if specified");
        } else if has_line_break(message) {
            let told = Some(rule.message.as_str());
            self.misdeclare(path("message"), Reason::Invalid, told, "must not contain line breaks");
        } else if has_line_break(rule.rule.trim()) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            self.misdeclare(path("message"), Reason::Required, None, detail);
        }
        if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            self.misdeclare(path("messageExpression"), Reason::Required, None, detail);
        }
        if let (Some(name), None) = (&rule.reason_name, rule.reason) {
            let supported = REASONS.map(|(known, _)| quoted(known)).join(", ");
            let detail = format!("supported values: {supported}");
            self.misdeclare(path("reason"), Reason::Unsupported, Some(name), &detail);
        }
        if !rule.field_path.is_empty() {
            let told = Some(rule.field_path.as_str());
            if rule.field_path.trim().is_empty() {
                self.misdeclare(path("fieldPath"), Reason::Invalid, told, "must be non-empty if specified");
            }
            if has_line_break(&rule.field_path) {
                self.misdeclare(path("fieldPath"), Reason::Invalid, told, "must not contain line breaks");
            }
            if field_path(&rule.field_path, node).is_none() {
                self.misdeclare(path("fieldPath"), Reason::Invalid, told, "must be a valid path");
            }
        }
    }

    fn rule(
        &mut self,
        declared: Rule,
        (schema, node): (&Schema, &Json),
        environment: &Environment,
        at: &At,
    ) -> Compiled {
        let path = at.child("rule").path;
        let program = compile_as(environment, &declared.rule, &Type::Bool);
        let uses_old_self = program.as_ref().is_ok_and(|program| program.mentions("oldSelf"));
        match &program {
            Ok(program) => self.weigh(program, schema, at, &path, "estimated rule cost"),
            Err(detail) if at.judged => {
                self.report(path.clone(), Reason::Invalid, Some(shown(&declared)), detail.clone());
            }
            Err(_) => {}
        }
        let mut message = None;
        if program.is_ok() && !declared.message_expression.trim().is_empty() {
            let path = at.child("messageExpression").path;
            match compile_as(environment, &declared.message_expression, &Type::String) {
                Ok(program) => {
                    self.weigh(&program, schema, at, &path, "estimated messageExpression cost");
                    message = Some(program.without_tree());
                }
                Err(detail) if at.judged => {
                    let detail = format!("messageExpression {detail}");
                    self.report(path, Reason::Invalid, Some(shown(&declared)), detail);
                }
                Err(_) => {}
            }
        }
        if uses_old_self {
            if let (Some(uncorrelated), true) = (&at.uncorrelated, at.judged) {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}"
                );
                self.report(path, Reason::Invalid, Some(quoted(&declared.rule)), detail);
            }
        } else if let (Some(told), true) = (declared.optional_old_self, at.judged) {
            let detail = "may not be set if oldSelf is not used in rule";
            self.report(at.child("optionalOldSelf").path, Reason::Invalid, Some(told.to_string()), detail);
        }
        let field_path = field_path(&declared.field_path, node).filter(|path| !path.is_empty());
        let program = program.map(Program::without_tree);
        Compiled { declared, program, message, uses_old_self, field_path }
    }

    fn weigh(&mut self, program: &Program, schema: &Schema, at: &At, path: &str, name: &str) {
        if !at.judged {
            return;
        }
        let cost = program.estimate(Some(schema)).map_or(0, |estimate| estimate.max);
        let total = cost.saturating_mul(at.cardinality.unwrap_or_else(|| schema.max_cardinality()));
        if total > MOST_RULE_COST {
            let detail = too_much(name, total, MOST_RULE_COST);
            self.report(path.to_owned(), Reason::Forbidden, None, detail);
        }
        self.costs.push(RuleCost { path: path.to_owned(), cost, total });
    }
}

/// The reasons that a rule may give.
const REASONS: [(&str, Reason); 4] = [
    ("FieldValueDuplicate", Reason::Duplicate),
    ("FieldValueForbidden", Reason::Forbidden),
    ("FieldValueInvalid", Reason::Invalid),
    ("FieldValueRequired", Reason::Required),
];

fn declared(validation: &Json) -> Vec<Rule> {
    let text = |rule: &Json, name: &str| rule.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let rules = validation.get("x-kubernetes-validations").and_then(Json::as_array);
    let read = |rule: &Json| Rule {
        rule: text(rule, "rule"),
        message: text(rule, "message"),
        message_expression: text(rule, "messageExpression"),
        reason: REASONS.iter().find(|(known, _)| text(rule, "reason") == *known).map(|(_, reason)| *reason),
        reason_name: rule.get("reason").and_then(Json::as_str).map(str::to_owned),
        field_path: text(rule, "fieldPath"),
        optional_old_self: rule.get("optionalOldSelf").and_then(Json::as_bool),
    };
    rules.into_iter().flatten().map(read).collect()
}

fn compile_as(environment: &Environment, expression: &str, wanted: &Type) -> Result<Program, String> {
    let unwanted = || match wanted {
        Type::Bool => "cel expression must evaluate to a bool".to_owned(),
        _ => "must evaluate to a string".to_owned(),
    };
    let program = environment.compile(expression).map_err(|err| match err {
        CompileError::Issues(issues) => format!("compilation failed: {issues}"),
        CompileError::Program { output, .. } if output != *wanted => unwanted(),
        CompileError::Program { reason, .. } if *wanted == Type::Bool => {
            format!("program instantiation failed: {reason}")
        }
        CompileError::Program { reason, .. } => format!("instantiation failed: {reason}"),
    })?;
    if program.output_type() != wanted {
        return Err(unwanted());
    }
    Ok(program)
}

fn too_much(name: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

fn too_much_together(costs: &[RuleCost], path: &str) -> Vec<Problem> {
    let total = costs.iter().fold(0u64, |sum, rule| sum.saturating_add(rule.total));
    if total <= MOST_SCHEMA_COST {
        return Vec::new();
    }
    let mut expensive: Vec<&RuleCost> =
        costs.iter().filter(|rule| rule.total >= MOST_SCHEMA_COST / 100).collect();
    expensive.sort_by_key(|rule| std::cmp::Reverse(rule.total));
    let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
    let mut problems: Vec<Problem> = expensive
        .into_iter()
        .take(NAMED_RULES)
        .map(|rule| forbidden(&rule.path, detail.to_owned()))
        .collect();
    let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
    let detail = too_much(name, total, MOST_SCHEMA_COST);
    problems.push(forbidden(path, detail));
    problems
}

fn forbidden(path: &str, detail: String) -> Problem {
    Problem { path: path.to_owned(), reason: Reason::Forbidden, value: None, detail }
}

/// A text as errors show it.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// A rule as errors show it: upstream writes its own structure as JSON in which nothing is taken for markup.
fn shown(rule: &Rule) -> String {
    let text =
        |text: &str| quoted(text).replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let reason = rule.reason_name.as_deref().map_or("null".to_owned(), text);
    let optional = rule.optional_old_self.map_or("null".to_owned(), |optional| optional.to_string());
    format!(
        r#"{{"Rule":{},"Message":{},"MessageExpression":{},"Reason":{reason},"FieldPath":{},"OptionalOldSelf":{optional}}}"#,
        text(&rule.rule),
        text(&rule.message),
        text(&rule.message_expression),
        text(&rule.field_path),
    )
}

fn embedded(schema: &Json) -> bool {
    schema.get("x-kubernetes-embedded-resource").and_then(Json::as_bool).unwrap_or(false)
}

fn limit(schema: &Json, name: &str) -> Option<u64> {
    let limit = schema.get(name)?;
    limit.as_u64().or_else(|| limit.as_i64().map(|_| 0))
}

pub(super) fn has_line_break(text: &str) -> bool {
    text.contains(['\n', '\r'])
}
