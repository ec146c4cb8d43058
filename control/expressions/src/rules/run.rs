//! Runs rules over an object.

use serde_json::Value as Json;

use super::keyed_list::KeyedList;
use super::{Compiled, Failure, Judgement, Place, Reason, Rule, Step, Unchanged};
use crate::schema::{ListKind, Shape};
use crate::value::Value;
use crate::{CALL_LIMIT, OBJECT_BUDGET};

/// The longest message that an expression may make.
const LONGEST_MESSAGE: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Runs the rules below `root`.
pub(super) fn run(root: &Place, object: &Json, old: Option<&Json>, unchanged: Unchanged<'_>) -> Judgement {
    let judgement = Judgement { failures: Vec::new(), forgiven: Vec::new(), cost: OBJECT_BUDGET };
    let mut run = Run { budget: OBJECT_BUDGET, judgement, unchanged };
    if run.place(root, object, old, &At { parent: None, step: Step::Part }).is_ok() {
        run.judgement.cost -= run.budget;
    }
    run.judgement
}

/// No further rule may be run.
struct Exhausted;

/// Where in the object the rules are run. It borrows its parent, so that nothing is allocated until a rule fails.
#[derive(Clone, Copy)]
struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

impl<'a> At<'a> {
    fn below(&'a self, step: Step<'a>) -> Self {
        Self { parent: Some(self), step }
    }

    /// The steps from the object to here.
    fn steps(&self) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        let mut at = *self;
        while let Some(parent) = at.parent {
            steps.push(at.step);
            at = *parent;
        }
        steps.reverse();
        steps
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for step in self.steps() {
            match step {
                Step::Property(name) => path.extend([".", name]),
                Step::Entry(key) => path.extend(["[", key, "]"]),
                Step::Element(index) => path.push_str(&format!("[{index}]")),
                Step::Part => {}
            }
        }
        path
    }
}

struct Run<'u> {
    budget: u64,
    judgement: Judgement,
    unchanged: Unchanged<'u>,
}

impl Run<'_> {
    fn place(
        &mut self,
        place: &Place,
        object: &Json,
        old: Option<&Json>,
        at: &At<'_>,
    ) -> Result<(), Exhausted> {
        if object.is_null() {
            return Ok(());
        }
        let old = old.filter(|old| !old.is_null());
        self.rules(place, object, old, at)?;
        for part in &place.all_of {
            self.place(part, object, old, &at.below(Step::Part))?;
        }
        match object {
            Json::Array(items) => self.list(place, items, old, at),
            Json::Object(map) => {
                for (name, value) in map {
                    let old = old.and_then(|old| old.get(name));
                    if let Some(values) = &place.items {
                        self.place(values, value, old, &at.below(Step::Entry(name)))?;
                    }
                    if let Some(property) = place.properties.get(name) {
                        self.place(property, value, old, &at.below(Step::Property(name)))?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn list(
        &mut self,
        place: &Place,
        items: &[Json],
        old: Option<&Json>,
        at: &At<'_>,
    ) -> Result<(), Exhausted> {
        let Some(element) = &place.items else { return Ok(()) };
        let keys = match &place.schema.shape {
            Shape::List(_, ListKind::Map(keys)) => keys.as_slice(),
            _ => &[],
        };
        let old = old.and_then(Json::as_array).filter(|_| !keys.is_empty());
        let old = old.map(|old| KeyedList::new(keys, old));
        for (i, item) in items.iter().enumerate() {
            let old = old.as_ref().and_then(|old| old.find(item));
            self.place(element, item, old, &at.below(Step::Element(i)))?;
        }
        Ok(())
    }

    fn fail(&mut self, at: &At<'_>, place: &Place, detail: String) {
        let value = Some(Json::String(place.type_name.clone()));
        let failure = Failure { path: at.path(), reason: Reason::Invalid, value, detail };
        self.judgement.failures.push(failure);
    }

    fn rules(
        &mut self,
        place: &Place,
        object: &Json,
        old: Option<&Json>,
        at: &At<'_>,
    ) -> Result<(), Exhausted> {
        if place.rules.is_empty() {
            return Ok(());
        }
        if self.budget == 0 {
            self.fail(at, place, OUT_OF_BUDGET.to_owned());
            return Err(Exhausted);
        }
        // Where no rule looks at the old value, no message sees it.
        let looks_back = place.rules.iter().any(|rule| rule.uses_old_self);
        let bindings = match bindings(place, object, old.filter(|_| looks_back)) {
            Ok(bindings) => bindings,
            Err(detail) => {
                for rule in &place.rules {
                    self.fail(at, place, format!("{detail} evaluating rule: {}", said(&rule.declared)));
                }
                return Ok(());
            }
        };
        for rule in &place.rules {
            let program = match &rule.program {
                Ok(program) => program,
                Err(detail) => {
                    self.fail(at, place, format!("rule compile error: {detail}"));
                    continue;
                }
            };
            let optional = rule.declared.optional_old_self == Some(true);
            if rule.uses_old_self && old.is_none() && !optional {
                continue;
            }
            let evaluation = match optional {
                true => program.evaluate(&optionally(&bindings), CALL_LIMIT),
                false => program.evaluate(&bindings, CALL_LIMIT),
            };
            let Some(left) = self.budget.checked_sub(evaluation.cost) else {
                self.fail(at, place, OUT_OF_BUDGET.to_owned());
                return Err(Exhausted);
            };
            self.budget = left;
            match evaluation.result {
                Ok(Value::Bool(true)) => {}
                Ok(_) => self.broken(place, rule, object, &bindings, at)?,
                Err(err) => {
                    self.fail(at, place, refusal(err.message(), err.is_cancelled(), said(&rule.declared)));
                    if err.is_cancelled() {
                        return Err(Exhausted);
                    }
                }
            }
        }
        Ok(())
    }

    fn broken(
        &mut self,
        place: &Place,
        rule: &Compiled,
        object: &Json,
        bindings: &[Option<Value<'_>>],
        at: &At<'_>,
    ) -> Result<(), Exhausted> {
        let path = match &rule.field_path {
            Some(below) => format!("{}.{below}", at.path()),
            None => at.path(),
        };
        let (failure, exhausted) = match self.message(rule, bindings) {
            Err(detail) => {
                let value = Some(Json::String(place.type_name.clone()));
                (Failure { path, reason: Reason::Invalid, value, detail }, true)
            }
            Ok(message) => {
                let detail = message.unwrap_or_else(|| match rule.declared.message.trim() {
                    "" if rule.declared.message.is_empty() => {
                        format!("failed rule: {}", said(&rule.declared))
                    }
                    message => message.to_owned(),
                });
                let value = (!matches!(place.type_name.as_str(), "object" | "array")).then(|| object.clone());
                let reason = rule.declared.reason.unwrap_or(Reason::Invalid);
                // What is there twice needs no words.
                let detail = if reason == Reason::Duplicate { String::new() } else { detail };
                (Failure { path, reason, value, detail }, false)
            }
        };
        let unchanged = |unchanged: &dyn Fn(&[Step<'_>]) -> bool| unchanged(&at.steps());
        let forgiven = !rule.uses_old_self && self.unchanged.is_some_and(unchanged);
        let told = if forgiven { &mut self.judgement.forgiven } else { &mut self.judgement.failures };
        told.push(failure);
        if exhausted { Err(Exhausted) } else { Ok(()) }
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
                let fits = !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n');
                Ok(fits.then(|| text.to_owned()))
            }
            _ => Ok(None),
        }
    }
}

/// Why a rule could not be run.
fn refusal(text: &str, cancelled: bool, said: &str) -> String {
    if cancelled {
        format!(
            "'{text}': no further validation rules will be run due to call cost exceeds limit for rule: {said}"
        )
    } else if text.starts_with("no such overload") {
        format!(
            "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {said}"
        )
    } else {
        format!("{text} evaluating rule: {said}")
    }
}

/// `self` and `oldSelf`.
fn bindings<'a>(
    place: &'a Place,
    object: &'a Json,
    old: Option<&'a Json>,
) -> Result<[Option<Value<'a>>; 2], String> {
    let read = |json: &'a Json| Value::typed(json, &place.schema).map_err(|err| err.message().to_owned());
    Ok([Some(read(object)?), old.map(read).transpose()?])
}

/// The same for a rule to which `oldSelf` is optional.
fn optionally<'a>(bindings: &[Option<Value<'a>>; 2]) -> [Option<Value<'a>>; 2] {
    let [object, old] = bindings.clone();
    [object, Some(old.map_or(Value::Optional(None), Value::some))]
}

/// What errors call the rule.
fn said(rule: &Rule) -> &str {
    if rule.message.is_empty() { rule.rule.trim() } else { rule.message.trim() }
}
