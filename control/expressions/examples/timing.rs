//! How long Gateway API's rules take to compile and to run: `cargo run --release -p xebec-expressions --example timing
//! FOLDER`, where the folder holds the definitions of one channel.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use xebec_expressions::rules::{Judgement, RuleSet};
use xebec_expressions::{CALL_LIMIT, Environment, Schema, Value};

/// For how long each thing is timed.
const SPAN: Duration = Duration::from_millis(200);

/// The microseconds that `run` takes.
fn micros(mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut rounds = 0u32;
    while start.elapsed() < SPAN {
        run();
        rounds += 1;
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
}

fn route() -> Json {
    let rule = |n: u32| {
        json!({"name": format!("r{n}"),
            "matches": [{"path": {"type": "PathPrefix", "value": format!("/api/v{n}")}, "method": "GET"}],
            "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": "y"}]}}],
            "backendRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 9}],
            "timeouts": {"request": "10s", "backendRequest": "2s"}})
    };
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web"},
        "spec": {"parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"}],
            "hostnames": ["a.example"], "rules": [rule(1), rule(2), rule(3), rule(4)]}})
}

fn rules_below<'s>(schema: &'s Json, found: &mut BTreeMap<String, &'s Json>) {
    for rule in schema.get("x-kubernetes-validations").and_then(Json::as_array).into_iter().flatten() {
        if let Some(text) = rule["rule"].as_str() {
            found.insert(text.to_owned(), schema);
        }
    }
    for property in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        rules_below(property.1, found);
    }
    for step in ["items", "additionalProperties"] {
        if let Some(below) = schema.get(step) {
            rules_below(below, found);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("give the folder with the definitions")?;
    for entry in std::fs::read_dir(folder)? {
        let text = std::fs::read_to_string(entry?.path())?;
        for definition in serde_saphyr::from_multiple::<Json>(&text)? {
            let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or("?").to_owned();
            for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
                let schema = &version["schema"]["openAPIV3Schema"];
                let compile = micros(|| drop(RuleSet::compile(schema, "")));
                let rules = RuleSet::compile(schema, "").0.costs().len();
                println!("{kind}: {rules} rules compile in {compile:.0} µs");
                if kind == "HTTPRoute" {
                    time_route(schema);
                }
            }
        }
    }
    Ok(())
}

fn time_route(schema: &Json) {
    let (set, _) = RuleSet::compile(schema, "");
    let route = route();
    let Judgement { failures, cost, .. } = set.validate(&route, None, None);
    let whole = micros(|| drop(set.validate(&route, None, None)));
    println!("  a route with 4 rules is judged in {whole:.1} µs ({} failures, cost {cost})", failures.len());
    let mut found = BTreeMap::new();
    rules_below(schema, &mut found);
    let rule = &route["spec"]["rules"][0];
    for (text, schema) in found {
        let Some(schema) = Schema::from_openapi(schema, false) else { continue };
        let environment = Environment::kubernetes().variable("self", schema.cel_type().clone());
        let Ok(program) = environment.compile(&text) else { continue };
        let candidates =
            [rule, &rule["matches"][0]["path"], &rule["filters"][0], &rule["timeouts"], &rule["filters"]];
        let fitting = candidates.iter().find_map(|json| {
            let value = Value::typed(json, &schema).ok()?;
            program.evaluate(&[Some(value.clone())], CALL_LIMIT).result.ok()?;
            Some(value)
        });
        if let Some(value) = fitting {
            let bindings = [Some(value)];
            let time = micros(|| drop(program.evaluate(&bindings, CALL_LIMIT)));
            println!("  {time:6.2} µs  {}", text.chars().take(90).collect::<String>());
        }
    }
}
