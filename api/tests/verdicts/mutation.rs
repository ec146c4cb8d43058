//! Objects made from others by small changes: a part dropped, doubled, put in from what the schema knows, or made
//! something else.

use serde_json::{Map, Value, json};

/// Texts that one or another format takes or refuses.
const TEXTS: &[&str] = &[
    "",
    " ",
    "a b",
    "a",
    "A",
    "a.b",
    "a-",
    "-a",
    ".a",
    "a.",
    "a..b",
    "a_b",
    "1.2.3.4",
    "::1",
    "*",
    "*.",
    "*.a",
    "a.*.b",
    "*a.b",
    "x\r\ny",
    "é",
    "/",
    "//",
    "/a//b",
    "/a/./b",
    "/a/../b",
    "/a/.",
    "/a/..",
    "/...",
    "/.a",
    "/a%2fb",
    "/a%2Fb",
    "/a%zz",
    "/a#b",
    "/a?b",
    "nopath",
    "/ü",
    "0s",
    "1s",
    "1x",
    "1.5s",
    "999999s",
    "1h1m1s1ms",
    "1h1m1s1ms1h",
    "24h",
    "a/b",
    "example.com/path",
    "example.com/",
    "/path",
    "a.b/c/d",
    "http://a",
    "https://*.a:80",
    "ftp://a",
    "https://",
    "System",
    "spiffe://a/b",
    "urn:a",
    "no-scheme",
    "HTTP",
    "HTTPS",
    "TLS",
    "TCP",
    "UDP",
    "Service",
    "Gateway",
    "IPAddress",
    "Hostname",
    "NamedAddress",
    "x-IPAddress-x",
    "Exact",
    "RegularExpression",
    "PathPrefix",
    "Terminate",
    "Passthrough",
    "GET",
    "FOO",
    "URI",
    "Selector",
    "True",
    "1a",
    "a.1b",
    ".a.b",
    "_a",
    "web",
    "443",
    "gateway.networking.k8s.io",
    "2026-07-01T08:00:00Z",
    "2026-07-01",
];

/// Numbers about the limits.
const NUMBERS: &[i64] = &[-1, 0, 1, 80, 100, 101, 301, 302, 304, 999, 65_535, 65_536, 1_000_000, 1_000_001];

/// Values that are seldom of the type that is asked for.
const SHAPELESS: &[&str] = &["null", "[]", "{}", "true", "7", "\"text\"", "[null]"];

/// A number after the other, the same at every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

/// The JSON pointers of everything below `value` that a definition speaks of.
pub(crate) fn places(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for part in ["spec", "status"] {
        if let Some(value) = value.get(part) {
            collect(value, &format!("/{part}"), &mut found);
        }
    }
    found
}

fn collect(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                collect(inner, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                collect(inner, &format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// One small change.
pub(crate) enum Change {
    Put(Value),
    Drop,
    Double,
}

/// Every change at `place`.
pub(crate) fn changes(object: &Value, place: &str, schema: &Value) -> Vec<Change> {
    let value = object.pointer(place).unwrap();
    let new = replacements(value, schema_at(schema, object, place)).into_iter().map(Change::Put);
    [Change::Drop, Change::Double].into_iter().chain(new).collect()
}

/// The object that a change at `place` makes.
pub(crate) fn changed(object: &Value, place: &str, change: &Change) -> Value {
    let mut object = object.clone();
    let (parent, name) = place.rsplit_once('/').unwrap();
    match (change, object.pointer_mut(parent).unwrap()) {
        (Change::Put(value), _) => object.pointer_mut(place).unwrap().clone_from(value),
        (Change::Drop, Value::Object(fields)) => {
            fields.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        (Change::Drop, Value::Array(items)) => {
            items.remove(name.parse().unwrap());
        }
        (Change::Double, Value::Array(items)) => items.push(items[name.parse::<usize>().unwrap()].clone()),
        _ => {}
    }
    object
}

/// What may stand in the place of a value.
fn replacements(value: &Value, schema: &Value) -> Vec<Value> {
    let long = |length: usize| Value::from("a".repeat(length));
    let mut made =
        vec![Value::Null, json!([]), json!({}), json!(true), json!(7), json!("text"), json!([null])];
    match value {
        Value::String(_) => {
            made.extend(TEXTS.iter().map(|text| json!(text)));
            made.extend([63, 64, 128, 253, 254, 256, 257, 1025, 4097].map(long));
            made.extend(schema["enum"].as_array().into_iter().flatten().cloned());
        }
        Value::Number(_) => made.extend(NUMBERS.iter().map(|number| json!(number))),
        Value::Array(items) => {
            let most = schema["maxItems"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(2);
            for many in [2, most, most + 1] {
                made.extend(items.first().map(|one| Value::Array(vec![one.clone(); many])));
            }
        }
        Value::Object(fields) => {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                let mut more = fields.clone();
                if more.insert(name.clone(), sample(field)).is_none() {
                    made.push(more.into());
                }
            }
            if schema["additionalProperties"].is_object() {
                for key in
                    ["a", "", "a b", "a/b", "A/b", "a/b/c", "-"].into_iter().map(str::to_owned).chain([
                        "a".repeat(64),
                        format!("{}/b", "a".repeat(252)),
                        format!("{}/b", "a".repeat(253)),
                    ])
                {
                    let mut more = fields.clone();
                    more.insert(key, json!("a"));
                    made.push(more.into());
                }
                let many: Map<_, _> = (0..17).map(|n| (format!("a{n}"), json!("a"))).collect();
                made.push(many.into());
            }
        }
        _ => {}
    }
    made
}

/// The schema of a place.
fn schema_at<'a>(schema: &'a Value, object: &Value, place: &str) -> &'a Value {
    let mut at = (schema, object);
    for name in place.split('/').skip(1) {
        let plain = name.replace("~1", "/").replace("~0", "~");
        at = match at.1 {
            Value::Array(items) => (&at.0["items"], &items[plain.parse::<usize>().unwrap()]),
            fields if at.0["properties"].is_object() => (&at.0["properties"][&plain], &fields[&plain]),
            fields => (&at.0["additionalProperties"], &fields[&plain]),
        };
    }
    at.0
}

/// A value of a schema.
fn sample(schema: &Value) -> Value {
    if let Some(one) = schema.get("default").or_else(|| schema["enum"].get(0)) {
        return one.clone();
    }
    match schema["type"].as_str().unwrap_or_default() {
        "array" => json!([sample(&schema["items"])]),
        "object" => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required.map(|name| (name.to_owned(), sample(&schema["properties"][name]))).collect()
        }
        "integer" => json!(schema["minimum"].as_i64().unwrap_or(1)),
        "boolean" => json!(true),
        _ => json!("a"),
    }
}

/// An object that some changes make, one after the other.
pub(crate) fn several(object: &Value, schema: &Value, numbers: &mut Numbers) -> Value {
    let mut object = object.clone();
    for _ in 0..2 + numbers.below(3) {
        let places = places(&object);
        let place = &places[numbers.below(places.len())];
        let mut all = changes(&object, place, schema);
        // What keeps its shape leads further than what does not.
        all.retain(|change| !matches!(change, Change::Put(new) if SHAPELESS.contains(&&*new.to_string())));
        object = changed(&object, place, &all[numbers.below(all.len())]);
        if !object["spec"].is_object() {
            break;
        }
    }
    object
}
