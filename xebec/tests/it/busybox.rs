//! Images of BusyBox for pods of tests, `localhost/tools/busybox:1`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::cluster::Cluster;
use crate::running::xebec;

/// A root with BusyBox under these names, a `/tmp`, and a `/www` with nothing in it.
pub(crate) fn fill(root: &Path, applets: &[&str]) {
    for folder in ["bin", "www", "tmp"] {
        fs::create_dir(root.join(folder)).expect("a new folder");
    }
    let path = Command::new("sh").args(["-c", "command -v busybox"]).output().expect("a shell");
    let path = String::from_utf8(path.stdout).expect("a path is text");
    fs::copy(path.trim(), root.join("bin/busybox")).expect("BusyBox is copied");
    for applet in applets {
        symlink("busybox", root.join("bin").join(applet)).expect("a link");
    }
}

/// Builds the image of the root in the cluster's registry.
pub(crate) fn build(cluster: &Cluster, root: &Path) {
    let built = xebec()
        .args(["image", "build", "--tag", "tools/busybox:1", "--rootfs"])
        .arg(root)
        .arg("--data")
        .arg(cluster.data())
        .output()
        .expect("the binary starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}
