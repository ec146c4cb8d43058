//! Rules of schemas that were made from chance, over objects that were too.

use serde_json::{Map, Value as Json, json};
use xebec_dice::{Dice, rounds};
use xebec_expressions::OBJECT_BUDGET;
use xebec_expressions::rules::RuleSet;

use crate::grammar::Grammar as _;

/// A schema with rules here and there; some of it makes no sense.
fn schema(dice: &mut Dice, depth: usize) -> Json {
    let mut schema = match dice.below(if depth == 0 { 4 } else { 7 }) {
        0 => json!({"type": "string", "maxLength": dice.below(50)}),
        1 => json!({"type": *dice.pick(&["integer", "number", "boolean", "nothing"])}),
        2 => json!({"x-kubernetes-int-or-string": true}),
        3 => json!({"type": "string", "format": *dice.pick(&["date-time", "duration", "byte", "odd"])}),
        4 => {
            let kind = *dice.pick(&["atomic", "set", "map", "odd"]);
            let items = schema(dice, depth - 1);
            json!({
                "type": "array", "items": items, "maxItems": dice.below(8),
                "x-kubernetes-list-type": kind, "x-kubernetes-list-map-keys": ["a"],
            })
        }
        5 => {
            json!({"type": "object", "additionalProperties": schema(dice, depth - 1), "maxProperties": dice.below(8)})
        }
        _ => {
            let names = ["a", "b", "a.b", "namespace", "é"];
            let properties: Map<String, Json> =
                names.iter().map(|name| ((*name).to_owned(), schema(dice, depth - 1))).collect();
            json!({"type": "object", "properties": properties})
        }
    };
    if dice.once_in(2) {
        let rules: Vec<Json> = (0..=dice.below(2)).map(|_| rule(dice)).collect();
        schema["x-kubernetes-validations"] = rules.into();
    }
    if dice.once_in(20) {
        let (key, odd) = (*dice.pick(&["type", "items", "properties", "allOf", "maxItems"]), dice.object(1));
        schema[key] = odd;
    }
    schema
}

fn rule(dice: &mut Dice) -> Json {
    let odd = dice.expression(3);
    let body = match dice.below(6) {
        0 => odd,
        1 => "self.a == oldSelf.a".to_owned(),
        2 => "self.all(i, self.exists(j, i == j))".to_owned(),
        3 => format!("self == self && dyn({odd}) != self"),
        4 => format!("has(self.a) || size(self) > {}", dice.below(4)),
        _ => format!("oldSelf.hasValue() ? {odd} == {odd} : true"),
    };
    let mut rule = json!({"rule": body});
    if dice.once_in(3) {
        rule["message"] = "no".into();
    }
    if dice.once_in(3) {
        rule["messageExpression"] = dice.expression(2).into();
    }
    if dice.once_in(4) {
        rule["optionalOldSelf"] = dice.once_in(2).into();
    }
    if dice.once_in(4) {
        rule["fieldPath"] = (*dice.pick(&[".a", ".a.b", "['a.b']", ".nothing", "a", "..", ".é", "["])).into();
    }
    rule
}

#[test]
fn fuzz_rules() {
    let (mut compiled, mut judged) = (0, 0);
    rounds("rules", |dice| {
        let schema = schema(dice, 3);
        let (rules, problems) = if dice.once_in(2) {
            RuleSet::compile(&schema, "at")
        } else {
            RuleSet::compile_part(&schema, "at")
        };
        assert!(problems.iter().all(|problem| problem.path.starts_with("at")), "{problems:?}");
        compiled += usize::from(problems.is_empty());
        for _ in 0..4 {
            let (object, old) = (fitting(dice, &schema), fitting(dice, &schema));
            let old = (!dice.once_in(3)).then_some(&old);
            let judgement = rules.validate(&object, old, None);
            assert!(judgement.cost <= OBJECT_BUDGET, "{} of {OBJECT_BUDGET}: {schema}", judgement.cost);
            assert_eq!(rules.validate(&object, old, None), judgement, "the same again: {schema}, {object}");
            judged += usize::from(judgement.cost > 0);
        }
    });
    assert!(
        compiled > 0 && judged > 0,
        "of all schemas {compiled} compiled, and {judged} objects met a rule"
    );
}

/// An object in the shape of the schema, which is odd in some places.
fn fitting(dice: &mut Dice, schema: &Json) -> Json {
    if dice.once_in(12) {
        return dice.object(2);
    }
    match schema["type"].as_str() {
        Some("string") => "a".repeat(dice.below(20)).into(),
        Some("integer") => (dice.below(9) as i64 - 4).into(),
        Some("number") => json!(dice.below(9) as f64 / 2.0),
        Some("boolean") => dice.once_in(2).into(),
        Some("array") => (0..dice.below(6)).map(|_| fitting(dice, &schema["items"])).collect(),
        Some("object") => match schema["properties"].as_object() {
            Some(properties) => {
                let kept = properties.iter().filter(|_| !dice.once_in(4)).collect::<Vec<_>>();
                kept.into_iter().map(|(name, below)| (name.clone(), fitting(dice, below))).collect()
            }
            None => {
                let names = ["a", "k", ""];
                let value = |dice: &mut Dice| fitting(dice, &schema["additionalProperties"]);
                Json::Object(
                    names[..dice.below(4)].iter().map(|name| ((*name).to_owned(), value(dice))).collect(),
                )
            }
        },
        _ => dice.object(1),
    }
}
