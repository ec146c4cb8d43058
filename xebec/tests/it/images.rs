//! Images by the command line alone: pushed, built and pulled back from a running instance.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::running::{Running, xebec};

const WASM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../workload/wasm/fixtures/hello.wasm");

fn on(data: &Path, args: &[&str]) -> Output {
    xebec().args(args).arg("--data").arg(data).output().expect("the binary starts")
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_pushed_comes_back_byte_for_byte() {
    let data = tempfile::tempdir().unwrap();
    let _running = Running::start(data.path());
    let pushed = on(data.path(), &["push", WASM, "hello:v1"]);
    assert!(pushed.status.success(), "{}", message(&pushed));
    let back = data.path().join("back.wasm");
    let pulled = on(data.path(), &["pull", "localhost/hello:v1", "--output", back.to_str().unwrap()]);
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
    let pulled = on(data.path(), &["pull", "shop:v1", "--output", file.to_str().unwrap()]);
    assert_eq!(pulled.status.code(), Some(1));
    assert!(message(&pulled).contains("is a container image"), "{}", message(&pulled));
}

#[test]
fn failures_say_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let absent = on(data.path(), &["push", WASM, "hello:v1"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(message(&absent).contains("xebec up"), "{}", message(&absent));
    assert_eq!(on(data.path(), &["push", WASM, "Not A Name"]).status.code(), Some(2));
    let unreachable = on(data.path(), &["push", WASM, "127.0.0.1:1/hello:v1"]);
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(message(&unreachable).contains("127.0.0.1:1"), "{}", message(&unreachable));
    let text = data.path().join("text");
    fs::write(&text, "no binary").unwrap();
    let _running = Running::start(data.path());
    let refused = on(data.path(), &["push", text.to_str().unwrap(), "hello:v1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(message(&refused).contains("lacks the header"), "{}", message(&refused));
}
