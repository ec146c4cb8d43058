//! Runs rules over an object.

use serde_json::Value as Json;

use super::compile::has_line_break;
use super::{Compiled, Failure, Place, Reason, Rule};
use crate::schema::{ListKind, Shape};
use crate::value::Value;
use crate::{CALL_LIMIT, OBJECT_BUDGET};

/// The longest message that an expression may make.
const LONGEST_MESSAGE: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Runs the rules below `root`; the second is what they cost.
pub(super) fn run(root: &Place, object: &Json, old: Option<&Json>, ratchet: bool) -> (Vec<Failure>, u64) {
    let mut run = Run { budget: OBJECT_BUDGET, failures: Vec::new(), ratchet };
    let at = At { path: String::new(), unchanged: false };
    let finished = run.place(root, object, old, &at);
    let spent = if finished.is_ok() { OBJECT_BUDGET - run.budget } else { OBJECT_BUDGET };
    (run.failures, spent)
}

/// No further rule may be run.
struct Exhausted;

struct At {
    path: String,
    /// Whether the nearest value that can be told from its old one is what it was.
    unchanged: bool,
}

struct Run {
    budget: u64,
    failures: Vec<Failure>,
    ratchet: bool,
}

impl Run {
    fn place(&mut self, place: &Place, object: &Json, old: Option<&Json>, at: &At) -> Result<(), Exhausted> {
        if object.is_null() {
            return Ok(());
        }
        let old = old.filter(|old| !old.is_null());
        let unchanged = old.map_or(at.unchanged, |old| old == object);
        let at = At { path: at.path.clone(), unchanged };
        self.rules(place, object, old, &at)?;
        for part in &place.all_of {
            self.place(part, object, old, &at)?;
        }
        match object {
            Json::Array(items) => self.list(place, items, old, &at),
            Json::Object(map) => {
                for (name, value) in map {
                    let old = old.and_then(|old| old.get(name));
                    if let Some(values) = &place.items {
                        let at = At { path: format!("{}[{name}]", at.path), unchanged };
                        self.place(values, value, old, &at)?;
                    }
                    if let Some(property) = place.properties.get(name) {
                        let at = At { path: format!("{}.{name}", at.path), unchanged };
                        self.place(property, value, old, &at)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn list(&mut self, place: &Place, items: &[Json], old: Option<&Json>, at: &At) -> Result<(), Exhausted> {
        let Some(element) = &place.items else { return Ok(()) };
        let keys = match &place.schema.shape {
            Shape::List(_, ListKind::Map(keys)) if !keys.is_empty() => keys.as_slice(),
            _ => &[],
        };
        let old = old.and_then(Json::as_array).filter(|_| !keys.is_empty());
        for (i, item) in items.iter().enumerate() {
            let old = old.and_then(|old| old.iter().find(|old| same_keys(keys, item, old)));
            let at = At { path: format!("{}[{i}]", at.path), unchanged: at.unchanged };
            self.place(element, item, old, &at)?;
        }
        Ok(())
    }

    fn fail(&mut self, path: &str, value: Option<Json>, detail: String) {
        self.failures.push(Failure { path: path.to_owned(), reason: Reason::Invalid, value, detail });
    }

    fn rules(&mut self, place: &Place, object: &Json, old: Option<&Json>, at: &At) -> Result<(), Exhausted> {
        if place.rules.is_empty() {
            return Ok(());
        }
        let shown = || Some(Json::String(place.type_name.clone()));
        if self.budget == 0 {
            self.fail(&at.path, shown(), OUT_OF_BUDGET.to_owned());
            return Err(Exhausted);
        }
        for rule in &place.rules {
            let program = match &rule.program {
                Ok(program) => program,
                Err(detail) => {
                    self.fail(&at.path, shown(), format!("rule compile error: {detail}"));
                    continue;
                }
            };
            let optional = rule.declared.optional_old_self == Some(true);
            if rule.uses_old_self && old.is_none() && !optional {
                continue;
            }
            let bindings = match bindings(place, object, old, optional) {
                Ok(bindings) => bindings,
                Err(detail) => {
                    self.fail(
                        &at.path,
                        shown(),
                        format!("{detail} evaluating rule: {}", said(&rule.declared)),
                    );
                    continue;
                }
            };
            let evaluation = program.evaluate(&bindings, CALL_LIMIT);
            let Some(left) = self.budget.checked_sub(evaluation.cost) else {
                self.fail(&at.path, shown(), OUT_OF_BUDGET.to_owned());
                return Err(Exhausted);
            };
            self.budget = left;
            match evaluation.result {
                Ok(Value::Bool(true)) => {}
                Ok(_) => self.broken(place, rule, object, &bindings, at)?,
                Err(err) => {
                    let (text, said) = (err.message(), said(&rule.declared));
                    let detail = if err.is_cancelled() {
                        format!(
                            "'{text}': no further validation rules will be run due to call cost exceeds limit for rule: {said}"
                        )
                    } else if text.starts_with("no such overload") {
                        format!(
                            "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {said}"
                        )
                    } else {
                        format!("{text} evaluating rule: {said}")
                    };
                    self.fail(&at.path, shown(), detail);
                    if err.is_cancelled() {
                        return Err(Exhausted);
                    }
                }
            }
        }
        Ok(())
    }

    fn broken<'a>(
        &mut self,
        place: &Place,
        rule: &Compiled,
        object: &Json,
        bindings: &[Option<Value<'a>>],
        at: &At,
    ) -> Result<(), Exhausted> {
        if self.ratchet && at.unchanged && !rule.uses_old_self {
            return Ok(());
        }
        let path = match &rule.field_path {
            Some(below) => format!("{}.{below}", at.path),
            None => at.path.clone(),
        };
        let message = match self.message(rule, bindings) {
            Ok(message) => message,
            Err(detail) => {
                self.fail(&path, Some(Json::String(place.type_name.clone())), detail);
                return Err(Exhausted);
            }
        };
        let detail = message.unwrap_or_else(|| match rule.declared.message.trim() {
            "" if rule.declared.message.is_empty() => format!("failed rule: {}", said(&rule.declared)),
            message => message.to_owned(),
        });
        let value = (!matches!(place.type_name.as_str(), "object" | "array")).then(|| object.clone());
        let reason = rule.declared.reason.unwrap_or(Reason::Invalid);
        // What is there twice needs no words.
        let detail = if reason == Reason::Duplicate { String::new() } else { detail };
        self.failures.push(Failure { path, reason, value, detail });
        Ok(())
    }

    /// The message that an expression makes, if it makes a fitting one; an error where it costs too much.
    fn message(&mut self, rule: &Compiled, bindings: &[Option<Value<'_>>]) -> Result<Option<String>, String> {
        let Some(program) = &rule.message else { return Ok(None) };
        let evaluation = program.evaluate(bindings, CALL_LIMIT);
        self.budget = self.budget.checked_sub(evaluation.cost).ok_or_else(|| {
            "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run"
                .to_owned()
        })?;
        match evaluation.result {
            Err(err) if err.is_cancelled() => Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {:?}",
                rule.declared.message_expression
            )),
            Ok(Value::String(text)) => {
                let text = text.as_str().trim();
                let fits = !text.is_empty() && text.len() <= LONGEST_MESSAGE && !has_line_break(text);
                Ok(fits.then(|| text.to_owned()))
            }
            _ => Ok(None),
        }
    }
}

fn bindings<'a>(
    place: &'a Place,
    object: &'a Json,
    old: Option<&'a Json>,
    optional: bool,
) -> Result<[Option<Value<'a>>; 2], String> {
    let read = |json: &'a Json| Value::typed(json, &place.schema).map_err(|err| err.message().to_owned());
    let old = old.map(read).transpose()?;
    let old = match old {
        Some(old) if optional => Some(Value::some(old)),
        None if optional => Some(Value::Optional(None)),
        other => other,
    };
    Ok([Some(read(object)?), old])
}

fn same_keys(keys: &[String], a: &Json, b: &Json) -> bool {
    keys.iter().all(|key| match (a.get(key), b.get(key)) {
        (Some(a), Some(b)) => a == b && !a.is_object() && !a.is_array() && !a.is_null(),
        _ => false,
    })
}

/// What errors call the rule.
fn said(rule: &Rule) -> &str {
    if rule.message.is_empty() { rule.rule.trim() } else { rule.message.trim() }
}
