//! What upstream's API server refuses, and in which words: `conformance/refusals` posts these bodies to it and records its
//! answers.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::server::Server;

const MERGE: &str = "application/merge-patch+json";
/// How lines begin that upstream appends to a refused change: how the two objects differ.
const DIFFERENCE: [char; 4] = ['@', ' ', '+', '-'];
/// Before these, a message tells the value that was refused.
const TOLD: [&str; 4] = ["Invalid value: ", "Unsupported value: ", "Duplicate value: ", "Not found: "];

/// Whether a text begins with an identity.
fn is_identity(text: &str) -> bool {
    text.len() >= 36
        && text.bytes().take(36).enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// A message without what cannot be the same: the names of Go's own types and fields, identities, and differences.
fn plain(message: &str, name: &str) -> String {
    let mut lines = message.split('\n');
    let first = lines.next().unwrap_or_default().to_owned();
    let mut text = first + &lines.filter(|line| !line.starts_with(DIFFERENCE)).collect::<String>();
    while let Some((at, _)) = text.char_indices().find(|(at, _)| is_identity(&text[*at..])) {
        text.replace_range(at..at + 36, "UID");
    }
    text = text.replace(name, "x");
    let mut plain = String::new();
    while let Some((at, word)) = TOLD.iter().filter_map(|word| Some((text.find(word)?, word))).min() {
        let end = at + word.len();
        plain.push_str(&text[..end]);
        let rest = text.split_off(end);
        let is_own = rest.starts_with('{') || rest.starts_with("[{");
        let mut values = serde_json::Deserializer::from_str(&rest).into_iter::<Value>();
        let length = match values.next() {
            Some(Ok(_)) if is_own => values.byte_offset(),
            _ => 0,
        };
        if length > 0 {
            plain.push_str("{…}");
        }
        text = rest[length..].to_owned();
    }
    plain + &text
}

/// An answer as it is compared.
fn answer(code: u16, answer: &Value, name: &str, sorted: bool) -> Value {
    if code < 300 {
        return json!({"code": 200});
    }
    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let causes = answer["details"]["causes"].as_array().cloned().unwrap_or_default();
    let mut causes: Vec<[String; 3]> = causes
        .iter()
        .map(|cause| [text(cause, "reason"), text(cause, "field"), plain(&text(cause, "message"), name)])
        .collect();
    let mut message = plain(&text(answer, "message"), name);
    if sorted {
        causes.sort();
        message = String::new();
    }
    json!({"code": code, "reason": answer["reason"], "message": message, "causes": causes})
}

/// What this server answers to a case, as `conformance/refusals` asks upstream's.
async fn ours(server: &Server, bases: &Value, number: usize, case: &Value, sorted: bool) -> Value {
    let base = &bases[case["of"].as_str().expect("a base")];
    let path = base["path"].as_str().expect("a path");
    let mut object = base["object"].clone();
    let given = object["metadata"]["name"].clone();
    let change = case["with"].as_object().cloned().map_or_else(|| json!({}), Value::Object);
    xebec_machinery::patch::merge(&mut object, change).expect("an object");
    let unique = format!("x-{number}");
    if object["metadata"]["name"] == given && given == "x" {
        object["metadata"]["name"] = unique.as_str().into();
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let shown = if name == unique { unique.as_str() } else { "\0" };
    let Some(then) = case.get("then") else {
        let (code, said) = server.create(&format!("{path}?dryRun=All"), &object).await;
        return answer(code, &said, shown, sorted);
    };
    let (code, made) = server.create(path, &object).await;
    assert_eq!(code, 201, "{case}: {made}");
    let one = format!("{path}/{name}");
    if let Some(before) = case.get("before") {
        let (code, made) = server.send(Method::PATCH, &format!("{one}/status"), MERGE, before).await;
        assert_eq!(code, 200, "{case}: {made}");
    }
    let part = case["at"].as_str().map_or_else(|| one.clone(), |part| format!("{one}/{part}"));
    let (code, said) = server.send(Method::PATCH, &format!("{part}?dryRun=All"), MERGE, then).await;
    let found = answer(code, &said, shown, sorted);
    server.send(Method::DELETE, &format!("{one}?gracePeriodSeconds=0"), "application/json", &json!({})).await;
    found
}

#[tokio::test]
async fn objects_are_refused_in_the_words_of_upstream() {
    let server = Server::start().await;
    let bases: Value = serde_json::from_str(include_str!("../data/refusals/bases.json")).unwrap();
    let lines = |text: &'static str| text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let cases: Vec<Value> = lines(include_str!("../data/refusals/cases.jsonl")).collect();
    let recorded: Vec<Value> = lines(include_str!("../data/refusals/expected.jsonl")).collect();
    assert_eq!(cases.len(), recorded.len(), "record the cases with conformance/refusals/run");
    let known: BTreeSet<&str> = include_str!("../data/refusals/known.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    let (mut wrong, mut passed, mut mended) = (Vec::new(), 0, Vec::new());
    for (number, (case, theirs)) in cases.iter().zip(&recorded).enumerate() {
        let name = case["name"].as_str().unwrap();
        assert_eq!(theirs["name"], name, "record the cases with conformance/refusals/run");
        let sorted = theirs["unordered"] == true;
        let code = u16::try_from(theirs["code"].as_u64().unwrap()).unwrap();
        let causes: Vec<Value> = theirs["causes"].as_array().into_iter().flatten().map(cause).collect();
        let status = json!({
            "reason": theirs["reason"], "message": theirs["message"], "details": {"causes": causes},
        });
        let theirs = answer(code, &status, "\0", sorted);
        let ours = ours(&server, &bases, number, case, sorted).await;
        match (ours == theirs, known.contains(name)) {
            (true, false) => passed += 1,
            (true, true) => mended.push(name),
            (false, true) => {}
            (false, false) => wrong.push(format!("{name}\n  ours   {ours}\n  theirs {theirs}")),
        }
    }
    println!("refusals: {} of {} passed", passed + mended.len(), cases.len());
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(mended.is_empty(), "no longer different, strike them from known.txt: {mended:?}");
}

fn cause(recorded: &Value) -> Value {
    json!({"reason": recorded[0], "field": recorded[1], "message": recorded[2]})
}
