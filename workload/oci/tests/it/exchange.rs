//! Images between registries: this crate's own client, and skopeo.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use tokio::net::TcpListener;
use xebec_oci::{
    Digest, Error, Limits, Reference, Registry, RepositoryName, Selector, Store, Tag,
    client::{Client, ClientOptions, Progress},
    image::{BuildRequest, Descriptor, Index, Platform, Rootfs, RunConfig, build, resolve},
    media_type,
};

struct Side {
    store: Arc<Store>,
    address: String,
    folder: tempfile::TempDir,
}

async fn side() -> Side {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path().join("store"), Limits::default()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(Arc::new(Registry::new(Arc::clone(&store))).serve(listener, std::future::pending()));
    Side { store, address, folder }
}

fn platform(architecture: &str) -> Platform {
    Platform { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: None }
}

impl Side {
    fn build(&self, tag: &str, architecture: &str, bytes: usize) -> Digest {
        let root = self.folder.path().join(tag);
        std::fs::create_dir_all(&root).unwrap();
        // Not compressible, so that it goes in more than one piece.
        let mut state = 1u32;
        let content = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let content: Vec<u8> = content.take(bytes).collect();
        std::fs::write(root.join("content"), content).unwrap();
        let request = BuildRequest {
            rootfs: Rootfs::Directory(root),
            config: RunConfig { cmd: vec![format!("/{architecture}")], ..RunConfig::default() },
            platform: platform(architecture),
        };
        build(&self.store, &name(), &tag.parse().unwrap(), &request).unwrap()
    }

    fn reference(&self, tag: &str) -> Reference {
        Reference::parse(&format!("{}/demo/echo:{tag}", self.address), "unused").unwrap()
    }
}

fn name() -> RepositoryName {
    "demo/echo".parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn assert_same(a: &Side, b: &Side, digest: Digest) {
    let manifests = [a, b].map(|side| side.store.manifest(&name(), &Selector::Digest(digest)).unwrap());
    assert_eq!(manifests[0], manifests[1]);
    let found = xebec_oci::image::Links::parse(&manifests[0].2).unwrap();
    for blob in found.blobs {
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut b.store.open_blob(&name(), blob).unwrap(), &mut content).unwrap();
        assert_eq!(Digest::of(&content), blob);
    }
}

#[tokio::test]
async fn an_image_travels_to_another_registry_and_back() {
    let (here, there, back) = (side().await, side().await, side().await);
    let digest = here.build("v1", "amd64", 9 << 20);
    let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let watched = Arc::clone(&seen);
    let client = Client::with_watcher(
        ClientOptions::default(),
        Arc::new(move |progress| watched.lock().unwrap().push(progress)),
    );
    let selector = Selector::Tag(tag("v1"));
    let sent = client.push(&here.store, &name(), &selector, &there.reference("pushed")).await.unwrap();
    assert_eq!(sent, digest);
    assert_same(&here, &there, digest);
    // Once more: nothing is left to send but the manifest.
    let before = seen.lock().unwrap().len();
    client.push(&here.store, &name(), &selector, &there.reference("again")).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), before + 2);

    let from = there.reference("pushed");
    let pulled = client.pull(&from, &back.store, &name(), Some(&tag("v1")), None).await.unwrap();
    assert_eq!(pulled, digest);
    assert_same(&there, &back, digest);
    let progress = seen.lock().unwrap();
    assert!(progress.iter().any(|seen| seen.bytes > 0 && seen.bytes < seen.total), "{progress:?}");
    assert!(progress.iter().all(|seen| seen.bytes <= seen.total));
}

#[tokio::test]
async fn of_an_index_one_platform_comes_along() {
    let (there, here) = (side().await, side().await);
    let entries = ["amd64", "arm64"].map(|architecture| {
        let digest = there.build(architecture, architecture, 100);
        let size = there.store.manifest(&name(), &Selector::Digest(digest)).unwrap().2.len() as u64;
        Descriptor {
            platform: Some(platform(architecture)),
            ..Descriptor::new(media_type::OCI_MANIFEST, digest, size)
        }
    });
    let index = serde_json::to_vec(&Index::new(entries.to_vec())).unwrap();
    let digest = there.store.put_manifest(&name(), Some(&tag("all")), media_type::OCI_INDEX, &index).unwrap();
    let client = Client::new(ClientOptions::default());
    let (from, wanted) = (there.reference("all"), platform("arm64"));
    let pulled = client.pull(&from, &here.store, &name(), Some(&tag("all")), Some(&wanted)).await.unwrap();
    assert_eq!(pulled, digest);
    let found = resolve(&here.store, &name(), &Selector::Tag(tag("all")), &wanted).unwrap();
    assert_eq!(found.digest, entries[1].digest);
    let other = here.store.manifest(&name(), &Selector::Digest(entries[0].digest));
    assert!(matches!(other, Err(Error::ManifestUnknown { .. })), "{other:?}");
    let absent = client.pull(&from, &here.store, &name(), None, Some(&platform("riscv64"))).await;
    assert!(matches!(absent, Err(Error::NoPlatform { .. })), "{absent:?}");
}

#[tokio::test]
async fn what_is_not_there_or_spoiled_is_told_and_not_kept() {
    let (there, here) = (side().await, side().await);
    let client = Client::new(ClientOptions::default());
    let pull = async |reference: &Reference| {
        client.pull(reference, &here.store, &name(), Some(&tag("v1")), None).await.unwrap_err()
    };
    let absent = pull(&there.reference("absent")).await;
    assert!(matches!(absent, Error::Remote { .. }) && absent.to_string().contains("absent"), "{absent}");
    let closed = Reference::parse("127.0.0.1:1/demo/echo:v1", "unused").unwrap();
    let closed = pull(&closed).await;
    assert!(closed.to_string().contains("127.0.0.1:1"), "{closed}");

    let digest = there.build("v1", "amd64", 100);
    let manifest = there.store.manifest(&name(), &Selector::Digest(digest)).unwrap().2;
    let layer = *xebec_oci::image::Links::parse(&manifest).unwrap().blobs.last().unwrap();
    let path = there.folder.path().join("store/blobs/sha256").join(&layer.hex()[..2]).join(layer.hex());
    let mut content = std::fs::read(&path).unwrap();
    content[50] ^= 1;
    std::fs::write(&path, content).unwrap();
    pull(&there.reference("v1")).await;
    assert!(here.store.tags(&name()).unwrap().is_empty());
    assert!(here.store.open_blob(&name(), layer).is_err());
}

#[tokio::test]
async fn skopeo_copies_an_image_in_and_out() {
    let test = "skopeo_copies_an_image_in_and_out";
    if Command::new("skopeo").arg("--version").output().is_err() {
        eprintln!("skipped: {test} needs skopeo (Debian: skopeo)");
        return;
    }
    let side = side().await;
    let digest = side.build("v1", "amd64", 3 << 20);
    let layout = format!("oci:{}:v1", side.folder.path().join("layout").display());
    let registry = format!("docker://{}/demo/echo:v1", side.address);
    let copy = async |from: &str, to: &str| {
        let insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        skopeo(&["--preserve-digests", insecure[0], insecure[1], from, to]).await;
    };
    copy(&registry, &layout).await;
    assert!(side.folder.path().join("layout/blobs/sha256").join(digest.hex()).exists());
    let other = format!("docker://{}/copied/echo:v2", side.address);
    copy(&layout, &other).await;
    let copied: RepositoryName = "copied/echo".parse().unwrap();
    assert_eq!(side.store.manifest(&copied, &Selector::Tag(tag("v2"))).unwrap().0, digest);
    // Layers that skopeo compressed with Zstandard unpack to the same files.
    let plain = format!("dir:{}", side.folder.path().join("plain").display());
    skopeo(&["--dest-decompress", "--src-tls-verify=false", &registry, &plain]).await;
    // Somewhere else, for skopeo would find the layer there that it knows to be the same.
    let elsewhere = self::side().await;
    let zstd = format!("docker://{}/zstd/echo:v1", elsewhere.address);
    skopeo(&["--format=oci", "--dest-compress-format=zstd", "--dest-tls-verify=false", &plain, &zstd]).await;
    let zstd: RepositoryName = "zstd/echo".parse().unwrap();
    let found = resolve(&elsewhere.store, &zstd, &Selector::Tag(tag("v1")), &platform("amd64")).unwrap();
    assert_eq!(found.manifest.layers[0].media_type, media_type::OCI_LAYER_ZSTD);
    let xebec_oci::image::Content::Container(config) = found.content else { panic!("no container") };
    let unpacked = tempfile::tempdir().unwrap();
    let limits = xebec_oci::unpack::UnpackLimits::default();
    xebec_oci::unpack::unpack_merged(
        &elsewhere.store,
        &zstd,
        &found.manifest,
        &config,
        unpacked.path(),
        limits,
    )
    .unwrap();
    let same = |root: &Path| Digest::of(&std::fs::read(root.join("content")).unwrap());
    assert_eq!(same(unpacked.path()), same(&side.folder.path().join("v1")));
    // An archive that skopeo wrote loads under the same digest.
    let archive = side.folder.path().join("archive.tar");
    copy(&registry, &format!("oci-archive:{}:v1", archive.display())).await;
    assert_eq!(load(&side, &archive), digest);
    let archive = side.folder.path().join("docker.tar");
    let docker = format!("docker-archive:{}:demo/echo:v1", archive.display());
    skopeo(&["--src-tls-verify=false", &registry, &docker]).await;
    load(&side, &archive);
    let found =
        resolve(&side.store, &"loaded".parse().unwrap(), &Selector::Tag(tag("v1")), &platform("amd64"));
    let xebec_oci::image::Content::Container(config) = found.unwrap().content else { panic!("no container") };
    assert_eq!(config.config.cmd, ["/amd64"]);
}

async fn skopeo(args: &[&str]) {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "copy"]).args(args);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn load(side: &Side, archive: &Path) -> Digest {
    let limits = xebec_oci::image::LoadLimits::default();
    xebec_oci::image::load(&side.store, &"loaded".parse().unwrap(), &tag("v1"), archive, limits).unwrap()
}
