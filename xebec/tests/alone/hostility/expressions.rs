//! Patterns that other engines never come back from, and the dearest rules that a definition may have.

use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};

use super::Attack;
use super::arena::{Arena, refused, send};

const JSON: &str = "application/json";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Defines a kind with this `spec`, and gives the path of its objects once they are served.
async fn defined(arena: &Arena, plural: &str, spec: Value) -> String {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    let version =
        json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let kind = plural.to_uppercase();
    let definition = json!({
        "metadata": {"name": format!("{plural}.hostile.example.com")},
        "spec": {
            "group": "hostile.example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
            "versions": [version],
        },
    });
    arena.make(DEFINITIONS, definition).await;
    let path = format!("/apis/hostile.example.com/v1/namespaces/default/{plural}");
    let served = async {
        while send(&arena.owner, &path, JSON, b"{}".to_vec()).await.0 == 404 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), served).await.expect("the kind is served");
    path
}

fn object(plural: &str, spec: &Value) -> Vec<u8> {
    let kind = plural.to_uppercase();
    let api_version = "hostile.example.com/v1";
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, "spec": spec})
        .to_string()
        .into_bytes()
}

/// Posts the same object again and again, which is refused so.
fn posting(attack: Attack, client: &Client, path: String, body: Vec<u8>, words: &'static str) -> Attack {
    let client = client.clone();
    attack.by(4, Duration::from_millis(10), move |_| {
        let (client, path, body) = (client.clone(), path.clone(), body.clone());
        async move { refused(&client, &path, JSON, body, 422, words).await }
    })
}

/// Texts that nearly match patterns with loops within loops, in the schema and in a rule.
pub(super) async fn patterns(arena: &Arena) -> Attack {
    let rule = json!([{"rule": "self.matches('^(a+)+$')", "message": "no a"}]);
    let spec = json!({"type": "object", "properties": {
        "schema": {"type": "string", "pattern": "^((a+)+)+$"},
        "rule": {"type": "string", "maxLength": 20_000, "x-kubernetes-validations": rule},
    }});
    let path = defined(arena, "patterns", spec).await;
    let given =
        json!({"schema": format!("{}!", "a".repeat(100_000)), "rule": format!("{}!", "a".repeat(19_000))});
    let attack = Attack::new("patterns with loops within loops");
    posting(attack, &arena.attacker, path, object("patterns", &given), "should match '^((a+)+)+$'")
}

/// Rules that cost as much as they may, so that they are cut off when they have cost it.
pub(super) async fn dear(arena: &Arena) -> Attack {
    let item = json!({"type": "string", "maxLength": 5});
    let spec = json!({
        "type": "object",
        "properties": {"tags": {"type": "array", "maxItems": 600, "items": item}},
        "x-kubernetes-validations": [{
            "rule": "self.tags.all(a, self.tags.all(b, a.contains(b) && b.contains(a)))", "message": "all alike",
        }],
    });
    let path = defined(arena, "dears", spec).await;
    let body = object("dears", &json!({"tags": vec!["abc"; 500]}));
    let words = "no further validation rules will be run due to call cost exceeds limit for rule: all alike";
    posting(Attack::new("rules as dear as they may be"), &arena.attacker, path, body, words)
}
