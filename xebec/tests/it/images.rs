//! Images by the command line alone: pushed, built and pulled back from a running instance.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::running::{Running, xebec};

mod archives;
mod output;

const WASM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../workload/wasm/fixtures/hello.wasm");

fn on(data: &Path, args: &[&str]) -> Output {
    xebec().args(args).arg("--data").arg(data).output().expect("the binary starts")
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Exit code 1, nothing on stdout, and one line on stderr that holds all of `parts`.
fn fails_in_one_line(output: &Output, parts: &[&str]) {
    let text = message(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(output.stdout.is_empty());
    assert!(text.starts_with("error: ") && text.lines().count() == 1, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}

#[test]
fn what_is_pushed_comes_back_byte_for_byte() {
    let data = tempfile::tempdir().unwrap();
    let _running = Running::start(data.path());
    let pushed = on(data.path(), &["push", WASM, "hello:v1"]);
    assert!(pushed.status.success(), "{}", message(&pushed));
    // By this name a pod finds it too, after a start on another port as well.
    let told = String::from_utf8_lossy(&pushed.stdout).into_owned();
    assert!(told.starts_with("localhost/hello:v1@sha256:"), "{told}");
    let back = data.path().join("back.wasm");
    let pulled = on(data.path(), &["pull", "localhost/hello:v1", "--file", back.to_str().unwrap()]);
    assert!(pulled.status.success(), "{}", message(&pulled));
    assert!(fs::read(back).unwrap() == fs::read(WASM).unwrap());
}

#[test]
fn a_directory_becomes_an_image_that_is_no_webassembly() {
    let data = tempfile::tempdir().unwrap();
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("greeting"), "hello").unwrap();
    let _running = Running::start(data.path());
    let root = root.path().to_str().unwrap();
    let built = on(data.path(), &["image", "build", "--rootfs", root, "--tag", "shop:v1", "--env", "A=b"]);
    assert!(built.status.success(), "{}", message(&built));
    let file = data.path().join("x");
    let pulled = on(data.path(), &["pull", "shop:v1", "--file", file.to_str().unwrap()]);
    assert_eq!(pulled.status.code(), Some(1));
    assert!(message(&pulled).contains("is a container image"), "{}", message(&pulled));
}

#[test]
fn failures_say_what_to_do_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    fails_in_one_line(&on(data.path(), &["push", WASM, "hello:v1"]), &["xebec up"]);
    fails_in_one_line(&on(data.path(), &["pull", "hello:v1"]), &["xebec up"]);
    assert_eq!(on(data.path(), &["push", WASM, "Not A Name"]).status.code(), Some(2));
    fails_in_one_line(&on(data.path(), &["push", WASM, "127.0.0.1:1/hello:v1"]), &["127.0.0.1:1"]);
    let text = data.path().join("text");
    fs::write(&text, "no binary").unwrap();
    let _running = Running::start(data.path());
    let text = text.to_str().unwrap();
    fails_in_one_line(&on(data.path(), &["push", text, "hello:v1"]), &[text, "lacks the header"]);
    let half = data.path().join("half.wasm");
    fs::write(&half, &fs::read(WASM).unwrap()[..1000]).unwrap();
    let half = half.to_str().unwrap();
    fails_in_one_line(&on(data.path(), &["push", half, "hello:v1"]), &[half, "cut off", "build it again"]);
    fails_in_one_line(
        &on(data.path(), &["push", "/no/such.wasm", "hello:v1"]),
        &["/no/such.wasm", "No such file"],
    );
    let absent = ["image", "build", "--rootfs", "/no/such", "--tag", "shop:v1"];
    fails_in_one_line(&on(data.path(), &absent), &["/no/such does not exist", "--rootfs"]);
    fails_in_one_line(&on(data.path(), &["pull", "nothing:v1"]), &["nothing:v1", "push it first"]);
    let digest = format!("nothing@sha256:{}", "0".repeat(64));
    fails_in_one_line(&on(data.path(), &["pull", &digest]), &[&digest, "push it first"]);
    fails_in_one_line(&on(data.path(), &["push", WASM, &digest]), &["under a tag"]);
}

#[test]
fn what_does_not_answer_is_told_with_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(data.path());
    running.end_with("KILL");
    for args in [&["image", "list"][..], &["push", WASM, "hello:v1"], &["status"]] {
        let output = on(data.path(), args);
        let text = message(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.lines().count() == 1 && text.contains("start it again with `xebec up"),
            "{args:?}: {text}"
        );
        assert!(!text.contains("registry does not answer"), "{text}");
    }
}

#[test]
fn content_that_is_not_what_its_digest_says_is_not_taken() {
    let data = tempfile::tempdir().unwrap();
    let _running = Running::start(data.path());
    assert!(on(data.path(), &["push", WASM, "hello:v1"]).status.success());
    let wasm = fs::read(WASM).unwrap();
    let files = files_below(&data.path().join("registry"));
    let layer = files.iter().find(|path| fs::read(path).unwrap() == wasm).expect("the layer's file");
    let mut content = wasm;
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(layer, content).unwrap();
    let back = data.path().join("back.wasm");
    let pulled = on(data.path(), &["pull", "hello:v1", "--file", back.to_str().unwrap()]);
    fails_in_one_line(&pulled, &["hello"]);
    assert!(!back.exists());
}
