//! Images between the registry and the field's own tool, skopeo, and out of its archives.

use std::path::PathBuf;

use crate::cluster::{Cluster, ask, until};
use crate::demo::runs_containers;
use crate::running::installed;

use super::*;

/// The demo's second version: a static program, which is all that its image needs.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

fn skopeo(args: &[&str]) -> String {
    let output = std::process::Command::new("skopeo").args(args).output().expect("skopeo starts");
    assert!(output.status.success(), "skopeo {args:?}: {}", message(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A running instance whose registry holds `shop:v1`, a container image, and a folder for archives.
struct Shop {
    cluster: Cluster,
    registry: String,
    folder: tempfile::TempDir,
}

impl Shop {
    fn open() -> Option<Self> {
        if !installed("skopeo") {
            return None;
        }
        let cluster = Cluster::without_kubectl();
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir(&root).expect("a root");
        fs::write(root.join("hello"), PROGRAM).expect("a program");
        let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(root.join("hello"), runs).expect("permissions");
        let (root, command) = (root.to_str().expect("text"), "/hello");
        succeeded(
            &cluster,
            &["image", "build", "--rootfs", root, "--tag", "shop:v1", "--entrypoint", command],
        );
        let registry = cluster.running().endpoint("registry");
        Some(Self { cluster, registry, folder })
    }

    fn at(&self, image: &str) -> String {
        format!("docker://{}/{image}", self.registry)
    }

    fn digest(&self, image: &str) -> String {
        skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &self.at(image)])
    }

    fn archive(&self, kind: &str) -> PathBuf {
        let path = self.folder.path().join(kind);
        let name = if kind == "docker-archive" { "shop:v1" } else { "v1" };
        let to = format!("{kind}:{}:{name}", path.display());
        skopeo(&["copy", "--src-tls-verify=false", &self.at("shop:v1"), &to]);
        path
    }
}

fn succeeded(cluster: &Cluster, args: &[&str]) {
    let output = on(cluster.data(), args);
    assert!(output.status.success(), "{args:?}: {}", message(&output));
}

#[test]
fn skopeo_copies_out_and_in_and_the_digest_stays() {
    let Some(shop) = Shop::open() else { return };
    let digest = shop.digest("shop:v1");
    let layout = format!("oci:{}:v1", shop.folder.path().join("layout").display());
    skopeo(&["copy", "--src-tls-verify=false", &shop.at("shop:v1"), &layout]);
    assert_eq!(skopeo(&["inspect", "--format", "{{.Digest}}", &layout]), digest);
    skopeo(&["copy", "--dest-tls-verify=false", &layout, &shop.at("again/shop:v2")]);
    assert_eq!(shop.digest("again/shop:v2"), digest);
    let tags = skopeo(&["list-tags", "--tls-verify=false", &shop.at("again/shop")]);
    assert!(tags.contains("\"v2\""), "{tags}");
    skopeo(&["delete", "--tls-verify=false", &shop.at("again/shop:v2")]);
    let gone = on(shop.cluster.data(), &["pull", "again/shop:v2"]);
    assert_eq!(gone.status.code(), Some(1), "{}", message(&gone));
    assert_eq!(shop.digest("shop:v1"), digest);
}

#[test]
fn images_of_both_kinds_of_archive_run_as_pods() {
    let Some(shop) = Shop::open() else { return };
    if !installed("kubectl") {
        return;
    }
    for kind in ["oci-archive", "docker-archive"] {
        let archive = shop.archive(kind);
        succeeded(
            &shop.cluster,
            &["image", "load", archive.to_str().unwrap(), "--tag", &format!("from/{kind}:v1")],
        );
    }
    assert_eq!(shop.digest("from/oci-archive:v1"), shop.digest("shop:v1"));
    if !runs_containers(&shop.cluster) {
        return;
    }
    for kind in ["oci-archive", "docker-archive"] {
        shop.cluster.kubectl(&format!(
            "run {kind} --image=localhost/from/{kind}:v1 --port=8080 --env=GREETING=out-of --env=VERSION={kind}"
        ));
        shop.cluster.kubectl(&format!("wait pod/{kind} --for=condition=Ready --timeout=120s"));
        let answer = until("an answer", || {
            let pod = shop.cluster.get(&format!("pod {kind}"));
            let listening = shop.cluster.kubectl(&format!("logs {kind}")).contains("listening");
            listening.then(|| ask(&pod))
        });
        assert!(answer.contains(&format!("out-of {kind}")), "{answer}");
    }
}

#[test]
fn damaged_archives_are_refused_in_one_line_and_leave_no_image() {
    let Some(shop) = Shop::open() else { return };
    for kind in ["oci-archive", "docker-archive"] {
        let archive = shop.archive(kind);
        let whole = fs::read(&archive).unwrap();
        let mut flipped = whole.clone();
        // The layer is by far the largest part.
        flipped[whole.len() / 2] ^= 0xFF;
        for (damaged, complaint) in [
            (&flipped[..], "send it again or correct the digest"),
            (&whole[..whole.len() / 2], "write it again"),
            (b"no archive at all".as_slice(), "write it again"),
        ] {
            fs::write(&archive, damaged).unwrap();
            let refused =
                on(shop.cluster.data(), &["image", "load", archive.to_str().unwrap(), "--tag", "bad:v1"]);
            fails_in_one_line(&refused, &[complaint, archive.to_str().unwrap()]);
        }
    }
    assert_eq!(on(shop.cluster.data(), &["pull", "bad:v1"]).status.code(), Some(1));
}
