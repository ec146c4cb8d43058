//! The program that tests run in containers, and what an image of it holds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Lays out a root file system: the program, and who may be whom.
pub(crate) fn lay_out(root: &Path) {
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::copy(guest(), root.join("guest")).unwrap();
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:\napp:x:1234:1234::/home/app:\n").unwrap();
}

/// The program, compiled once for all tests.
fn guest() -> &'static Path {
    static GUEST: OnceLock<PathBuf> = OnceLock::new();
    GUEST.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (source, program) = (folder.join("guest.rs"), folder.join("guest"));
        std::fs::write(&source, include_str!("../guest.rs.txt")).unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let built = Command::new(rustc)
            .args(["--edition=2021", "-C", "target-feature=+crt-static", "-C", "opt-level=1", "-o"])
            .args([&program, &source])
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        program
    })
}
