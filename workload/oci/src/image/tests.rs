use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

use super::*;
use crate::Limits;

struct House {
    folder: tempfile::TempDir,
    store: Store,
    name: RepositoryName,
    tag: Tag,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store"), Limits::default()).unwrap();
    House { folder, store, name: "demo/echo".parse().unwrap(), tag: "v1".parse().unwrap() }
}

fn rootfs(parent: &Path) -> BuildRequest {
    let root = parent.join("rootfs");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::write(root.join("bin/hello"), "#!hello").unwrap();
    fs::set_permissions(root.join("bin/hello"), fs::Permissions::from_mode(0o755)).unwrap();
    let _ = std::os::unix::fs::symlink("hello", root.join("bin/hi"));
    let _ = fs::hard_link(root.join("bin/hello"), root.join("bin/hullo"));
    BuildRequest {
        rootfs: Rootfs::Directory(root),
        config: RunConfig { entrypoint: vec!["/bin/hello".to_owned()], ..RunConfig::default() },
        platform: Platform::host(),
    }
}

fn layer_entries(house: &House, layer: &Descriptor) -> Vec<(String, tar::EntryType, u32, u64)> {
    let file = house.store.open_blob(&house.name, layer.digest).unwrap();
    let mut tar = tar::Archive::new(build::decompressed(file).unwrap());
    let entries = tar.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (0, 0));
        (path, entry.header().entry_type(), entry.header().mode().unwrap(), entry.header().mtime().unwrap())
    });
    entries.collect()
}

fn tar_of(path: &Path, entries: &[(&str, &[u8])]) {
    let mut tar = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.finish().unwrap();
}

#[test]
fn a_directory_becomes_the_same_image_every_time() {
    let house = house();
    let request = rootfs(house.folder.path());
    let first = build(&house.store, &house.name, &house.tag, &request).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
    let file = fs::File::open(house.folder.path().join("rootfs/bin/hello")).unwrap();
    file.set_modified(later).unwrap();
    assert_eq!(build(&house.store, &house.name, &house.tag, &request).unwrap(), first);

    let selector = Selector::Tag(house.tag.clone());
    let found = resolve(&house.store, &house.name, &selector, &Platform::host()).unwrap();
    assert_eq!(found.digest, first);
    let Content::Container(config) = &found.content else { panic!("{found:?}") };
    assert_eq!(config.config.entrypoint, ["/bin/hello"]);
    let [layer] = found.manifest.layers.as_slice() else { panic!("one layer") };
    let entries = layer_entries(&house, layer);
    let expected = [
        ("bin/", tar::EntryType::Directory, 0o755),
        ("bin/hello", tar::EntryType::Regular, 0o755),
        ("bin/hi", tar::EntryType::Symlink, 0o777),
        ("bin/hullo", tar::EntryType::Link, 0o755),
    ];
    let expected = expected.map(|(path, kind, mode)| (path.trim_end_matches('/').to_owned(), kind, mode, 0));
    let found: Vec<_> = entries
        .into_iter()
        .map(|(path, kind, mode, time)| (path.trim_end_matches('/').to_owned(), kind, mode, time))
        .collect();
    assert_eq!(found, expected);

    let mut stream = Vec::new();
    let file = house.store.open_blob(&house.name, layer.digest).unwrap();
    std::io::Read::read_to_end(&mut build::decompressed(file).unwrap(), &mut stream).unwrap();
    assert_eq!(config.rootfs.diff_ids, [Digest::of(&stream)]);
}

#[test]
fn the_layers_of_all_images_are_known_whatever_else_is_there() {
    let house = house();
    let digest = build(&house.store, &house.name, &house.tag, &rootfs(house.folder.path())).unwrap();
    let other = "demo/component".parse().unwrap();
    push_wasm(&house.store, &other, &house.tag, b"\0asm\x0d\0\x01\0rest").unwrap();
    house.store.put_manifest(&other, None, "x", b"{}").unwrap();
    let found = resolve(&house.store, &house.name, &Selector::Digest(digest), &Platform::host()).unwrap();
    let Content::Container(config) = found.content else { panic!() };
    assert_eq!(layers(&house.store).unwrap(), config.rootfs.diff_ids.into_iter().collect());
}

#[test]
fn an_archive_becomes_a_layer_as_it_is_and_a_broken_one_is_refused() {
    let house = house();
    let archive = house.folder.path().join("rootfs.tar");
    tar_of(&archive, &[("etc/motd", b"hello")]);
    let request = BuildRequest { rootfs: Rootfs::Tar(archive.clone()), ..rootfs(house.folder.path()) };
    build(&house.store, &house.name, &house.tag, &request).unwrap();
    let selector = Selector::Tag(house.tag.clone());
    let found = resolve(&house.store, &house.name, &selector, &Platform::host()).unwrap();
    let Content::Container(config) = found.content else { panic!() };
    assert_eq!(config.rootfs.diff_ids, [Digest::of(&fs::read(&archive).unwrap())]);

    let whole = fs::read(&archive).unwrap();
    for broken in [&b"no archive, but long enough to be taken for one".repeat(20)[..], &[], &whole[..515]] {
        fs::write(&archive, broken).unwrap();
        let refused = build(&house.store, &house.name, &house.tag, &request);
        assert!(matches!(refused, Err(Error::ArchiveInvalid { .. })), "{refused:?}");
    }
}

/// Everything the repository holds, as an OCI layout.
fn save_layout(house: &House, root: Digest, archive: &Path, spoil: Option<Digest>) {
    let manifest = house.store.manifest(&house.name, &Selector::Digest(root)).unwrap();
    let index = Index::new(vec![Descriptor::new(manifest.1.clone(), root, manifest.2.len() as u64)]);
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), serde_json::to_vec(&index).unwrap()),
        (format!("./blobs/sha256/{}", root.hex()), manifest.2.clone()),
    ];
    for digest in Links::parse(&manifest.2).unwrap().blobs {
        let mut content = Vec::new();
        let mut blob = house.store.open_blob(&house.name, digest).unwrap();
        std::io::Read::read_to_end(&mut blob, &mut content).unwrap();
        if spoil == Some(digest) {
            content[0] ^= 1;
        }
        files.push((format!("blobs/sha256/{}", digest.hex()), content));
    }
    let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    tar_of(archive, &files);
}

#[test]
fn a_layout_loads_under_its_digest_gzipped_or_not() {
    let source = house();
    let request = rootfs(source.folder.path());
    let digest = build(&source.store, &source.name, &source.tag, &request).unwrap();
    let archive = source.folder.path().join("image.tar");
    save_layout(&source, digest, &archive, None);
    for gzipped in [false, true] {
        let target = house();
        let path = target.folder.path().join("image");
        let content = fs::read(&archive).unwrap();
        if gzipped {
            let file = fs::File::create(&path).unwrap();
            let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            gzip.write_all(&content).unwrap();
            gzip.finish().unwrap();
        } else {
            fs::write(&path, content).unwrap();
        }
        let loaded = load(&target.store, &target.name, &target.tag, &path, LoadLimits::default()).unwrap();
        assert_eq!(loaded, digest);
        let selector = Selector::Tag(target.tag.clone());
        resolve(&target.store, &target.name, &selector, &Platform::host()).unwrap();
    }
}

#[test]
fn a_layout_with_a_wrong_blob_or_too_much_is_refused() {
    let source = house();
    let request = rootfs(source.folder.path());
    let digest = build(&source.store, &source.name, &source.tag, &request).unwrap();
    let archive = source.folder.path().join("image.tar");
    let blobs = source.store.manifest(&source.name, &Selector::Digest(digest)).unwrap().2;
    for blob in Links::parse(&blobs).unwrap().blobs {
        save_layout(&source, digest, &archive, Some(blob));
        let target = house();
        let refused = load(&target.store, &target.name, &target.tag, &archive, LoadLimits::default());
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
        assert!(target.store.tags(&target.name).unwrap().is_empty());
    }
    save_layout(&source, digest, &archive, None);
    for limits in [
        LoadLimits { entries: 3, ..LoadLimits::default() },
        LoadLimits { bytes: 100, ..LoadLimits::default() },
    ] {
        let refused = load(&source.store, &source.name, &source.tag, &archive, limits);
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    }
}

#[test]
fn dockers_archive_loads_with_its_layers_checked() {
    let house = house();
    let layer_path = house.folder.path().join("layer.tar");
    tar_of(&layer_path, &[("etc/motd", b"hello")]);
    let layer = fs::read(&layer_path).unwrap();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Cmd": ["/bin/hello"], "Env": null, "Labels": null},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
    });
    let manifest = serde_json::json!([
        {"Config": "c.json", "RepoTags": ["other:v0"], "Layers": ["a/layer.tar"]},
        {"Config": "c.json", "RepoTags": ["demo/echo:v1"], "Layers": ["a/layer.tar"]},
    ]);
    let (config, manifest) = (config.to_string(), manifest.to_string());
    let archive = house.folder.path().join("saved.tar");
    let save = |layer: &[u8]| {
        let files =
            [("a/layer.tar", layer), ("c.json", config.as_bytes()), ("manifest.json", manifest.as_bytes())];
        tar_of(&archive, &files);
    };
    let load = || load(&house.store, &house.name, &house.tag, &archive, LoadLimits::default());
    save(b"another layer");
    assert!(matches!(load(), Err(Error::DigestMismatch { .. })));
    save(&layer);
    load().unwrap();
    let selector = Selector::Tag(house.tag.clone());
    let platform = Platform { architecture: "amd64".to_owned(), os: "linux".to_owned(), variant: None };
    let found = resolve(&house.store, &house.name, &selector, &platform).unwrap();
    assert_eq!(found.manifest.layers[0].media_type, media_type::OCI_LAYER);
    let Content::Container(config) = found.content else { panic!() };
    assert_eq!(config.config.cmd, ["/bin/hello"]);
}

#[test]
fn dockers_archive_may_hold_compressed_layers() {
    let house = house();
    let layer_path = house.folder.path().join("layer.tar");
    tar_of(&layer_path, &[("etc/motd", b"hello")]);
    let layer = fs::read(&layer_path).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&layer).unwrap();
    let gzipped = gzip.finish().unwrap();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer), Digest::of(&layer)]},
    });
    let manifest = serde_json::json!([{"Config": "c", "Layers": ["l.tar.gz", "l.tar.gz"]}]).to_string();
    let archive = house.folder.path().join("saved.tar");
    let load = |layer: &[u8], limits| {
        let files = [
            ("l.tar.gz", layer),
            ("c", config.to_string().as_bytes()),
            ("manifest.json", manifest.as_bytes()),
        ]
        .map(|(name, content)| (name, content.to_vec()));
        let files: Vec<_> = files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
        tar_of(&archive, &files);
        load(&house.store, &house.name, &house.tag, &archive, limits)
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"another layer").unwrap();
    let refused = load(&gzip.finish().unwrap(), LoadLimits::default());
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
    let cut_off = load(&gzipped[..gzipped.len() / 2], LoadLimits::default());
    assert!(matches!(cut_off, Err(Error::ArchiveInvalid { .. })), "{cut_off:?}");
    let most = LoadLimits { bytes: layer.len() as u64 - 1, ..LoadLimits::default() };
    assert!(matches!(load(&gzipped, most), Err(Error::TooLarge { .. })));

    load(&gzipped, LoadLimits::default()).unwrap();
    let platform = Platform { architecture: "amd64".to_owned(), os: "linux".to_owned(), variant: None };
    let found = resolve(&house.store, &house.name, &Selector::Tag(house.tag.clone()), &platform).unwrap();
    let expected = (media_type::OCI_LAYER_GZIP.to_owned(), Digest::of(&gzipped), gzipped.len() as u64);
    for layer in &found.manifest.layers {
        assert_eq!((layer.media_type.clone(), layer.digest, layer.size), expected);
    }
}

#[test]
fn an_index_in_an_index_is_refused_though_its_type_is_left_out() {
    let house = house();
    let mut files = Vec::new();
    let mut inner = Descriptor::new("", Digest::of(b"x"), 1);
    for _ in 0..3 {
        let index = serde_json::to_vec(&Index::new(vec![inner])).unwrap();
        inner = Descriptor::new("", Digest::of(&index), index.len() as u64);
        files.push((format!("blobs/sha256/{}", inner.digest.hex()), index));
    }
    files.push(("index.json".to_owned(), serde_json::to_vec(&Index::new(vec![inner])).unwrap()));
    let archive = house.folder.path().join("a.tar");
    let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    tar_of(&archive, &files);
    let refused = load(&house.store, &house.name, &house.tag, &archive, LoadLimits::default()).unwrap_err();
    assert!(refused.to_string().contains("an index leads to another index"), "{refused}");
}

#[test]
fn archives_that_hold_no_image_say_what_is_missing() {
    let house = house();
    let archive = house.folder.path().join("a.tar");
    let index = serde_json::to_vec(&Index::new(vec![Descriptor::new("", Digest::of(b"x"), 1)])).unwrap();
    let cases: [(&str, &[u8], &str); 4] = [
        ("readme", b"x", "index.json"),
        ("index.json", &index, "lacks the manifest"),
        ("manifest.json", b"[]", "names no image"),
        ("manifest.json", b"{", "malformed"),
    ];
    for (name, content, expected) in cases {
        tar_of(&archive, &[(name, content)]);
        let refused =
            load(&house.store, &house.name, &house.tag, &archive, LoadLimits::default()).unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
    }
}

#[test]
fn wasm_is_recognised_by_its_header_and_resolves_everywhere() {
    let house = house();
    let component = b"\0asm\x0d\0\x01\0rest";
    push_wasm(&house.store, &house.name, &house.tag, component).unwrap();
    let selector = Selector::Tag(house.tag.clone());
    let found = resolve(&house.store, &house.name, &selector, &Platform::host()).unwrap();
    let Content::Wasm(layer) = found.content else { panic!() };
    assert_eq!((layer.digest, layer.size), (Digest::of(component), 12));
    assert_eq!(found.manifest.config.media_type, media_type::WASM_CONFIG);
    for bad in [&b""[..], b"\0asm", b"(module)", b"\0asm\x09\0\0\0", b"\x7fELF\x02\x01\x01\0"] {
        let refused = push_wasm(&house.store, &house.name, &house.tag, bad);
        assert!(matches!(refused, Err(Error::NotWasm { .. })), "{bad:?}");
    }
}

#[test]
fn an_index_leads_to_the_manifest_of_the_platform() {
    let house = house();
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let platform =
            Platform { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: None };
        let request = BuildRequest { platform: platform.clone(), ..rootfs(house.folder.path()) };
        let digest = build(&house.store, &house.name, &architecture.parse().unwrap(), &request).unwrap();
        let entry =
            Descriptor { platform: Some(platform), ..Descriptor::new(media_type::OCI_MANIFEST, digest, 1) };
        entries.push(entry);
    }
    let index = Index::new(entries.clone());
    put(&house.store, &house.name, &house.tag, media_type::OCI_INDEX, &index).unwrap();
    let selector = Selector::Tag(house.tag.clone());
    for entry in entries {
        let found = resolve(&house.store, &house.name, &selector, entry.platform.as_ref().unwrap()).unwrap();
        assert_eq!(found.digest, entry.digest);
    }
    let other = Platform { architecture: "riscv64".to_owned(), os: "linux".to_owned(), variant: None };
    let refused = resolve(&house.store, &house.name, &selector, &other);
    assert!(matches!(refused, Err(Error::NoPlatform { .. })));
}
