//! What the image commands print, for people and for programs.

use serde_json::Value;

use super::*;

fn printed(data: &Path, args: &[&str]) -> String {
    let output = on(data, args);
    assert!(output.status.success(), "{args:?}: {}", message(&output));
    assert!(output.stderr.is_empty(), "no bar is drawn where there is no terminal: {}", message(&output));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn images_are_listed_as_a_table_as_json_and_as_yaml() {
    let data = tempfile::tempdir().unwrap();
    let _running = Running::start(data.path());
    assert_eq!(printed(data.path(), &["image", "list", "-o", "json"]), "[]\n");
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("greeting"), "hello").unwrap();
    let root = root.path().to_str().unwrap();
    let pushed = printed(data.path(), &["push", WASM, "hello:v1", "-o", "json"]);
    let pushed: Value = serde_json::from_str(&pushed).unwrap();
    printed(data.path(), &["image", "build", "--rootfs", root, "--tag", "a/shop:v2"]);

    let json = printed(data.path(), &["image", "list", "-o", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let names: Vec<_> =
        json.as_array().unwrap().iter().map(|one| one["repository"].as_str().unwrap()).collect();
    assert_eq!(names, ["a/shop", "hello"]);
    assert_eq!((&json[0]["kind"], &json[1]["kind"]), (&"container".into(), &"wasm".into()));
    assert_eq!(json[1]["digest"], pushed["digest"]);
    let size = fs::metadata(WASM).unwrap().len();
    assert!(json[1]["bytes"].as_u64().unwrap() > size, "the layer and its configuration");

    let yaml = printed(data.path(), &["image", "list", "--output", "yaml"]);
    assert!(yaml.contains("repository: hello\n") && yaml.contains("tag: v2\n"), "{yaml}");

    let table = printed(data.path(), &["image", "list"]);
    let lines: Vec<_> = table.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("REPOSITORY"), "{table}");
    let column = lines[0].find("DIGEST").unwrap();
    assert!(lines[1..].iter().all(|line| line[column..].starts_with("sha256:")), "{table}");
}

#[test]
fn every_result_is_there_for_programs() {
    let data = tempfile::tempdir().unwrap();
    let _running = Running::start(data.path());
    let read = |args: &[&str]| -> Value { serde_json::from_str(&printed(data.path(), args)).expect("JSON") };
    let pushed = read(&["push", WASM, "hello:v1", "-o", "json"]);
    assert_eq!(pushed["image"], "localhost/hello:v1");
    let pulled = read(&["pull", "hello:v1", "-o", "json"]);
    assert_eq!(pulled["digest"], pushed["digest"]);
    let parts = read(&["status", "-o", "json"]);
    assert!(parts.as_array().unwrap().iter().all(|part| part["serving"] == true), "{parts}");
    let yaml = printed(data.path(), &["status", "-o", "yaml"]);
    assert!(yaml.contains("part: api\n") && yaml.contains("serving: true\n"), "{yaml}");
    assert_eq!(on(data.path(), &["status", "-o", "xml"]).status.code(), Some(2));
}
