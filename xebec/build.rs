//! Compiles the demo's small program on its own: statically linked, so that it runs in an image that holds nothing else.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=demo/hello.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let directory = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = std::env::var("TARGET").expect("cargo sets TARGET");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc)
        .args(["--edition=2024", "--crate-name=hello", "-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols"])
        .args(["-Ctarget-feature=+crt-static", "--target", &target, "demo/hello.rs", "-o"])
        .arg(directory.join("hello"))
        .status()
        .expect("the compiler that builds this crate starts");
    assert!(status.success(), "the demo's program does not compile");
}
