use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::Limits;

struct House {
    folder: tempfile::TempDir,
    store: Store,
    name: RepositoryName,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store"), Limits::default()).unwrap();
    House { folder, store, name: "demo/echo".parse().unwrap() }
}

/// An entry: its path as raw bytes, so that hostile ones can be written, its kind, mode and content or target.
type Entry<'a> = (&'a str, tar::EntryType, u32, &'a str);

use tar::EntryType::{Block, Char, Directory, Link, Regular, Symlink};

fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, mode, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(if rustix::process::geteuid().is_root() { 1234 } else { 0 });
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        if matches!(kind, Symlink | Link) {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        if let (Char | Block, Some((major, minor))) = (kind, content.split_once(':')) {
            header.set_device_major(major.parse().unwrap()).unwrap();
            header.set_device_minor(minor.parse().unwrap()).unwrap();
        }
        let content = if *kind == Regular { content.as_bytes() } else { b"" };
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }
    tar.into_inner().unwrap()
}

impl House {
    fn image(&self, layers: &[Vec<u8>]) -> (Manifest, ImageConfig) {
        let mut config = ImageConfig::default();
        let mut descriptors = Vec::new();
        for layer in layers {
            let digest = self.store.put_blob(&self.name, layer).unwrap();
            config.rootfs.diff_ids.push(digest);
            descriptors.push(Descriptor::new(media_type::OCI_LAYER, digest, layer.len() as u64));
        }
        let manifest =
            Manifest::new(Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"{}"), 2), descriptors);
        (manifest, config)
    }

    fn merged(&self, layers: &[Vec<u8>]) -> Result<PathBuf, Error> {
        let (manifest, config) = self.image(layers);
        let target = self.folder.path().join("merged");
        let _ = fs::remove_dir_all(&target);
        fs::create_dir(&target).unwrap();
        unpack_merged(&self.store, &self.name, &manifest, &config, &target, UnpackLimits::default())?;
        Ok(target)
    }

    fn layers(&self) -> Layers {
        Layers::open(self.folder.path().join("layers"), UnpackLimits::default()).unwrap()
    }
}

fn root_or_skip(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: {test} needs root");
    }
    root
}

#[test]
fn files_come_with_mode_time_links_and_owner() {
    let house = house();
    let root = house
        .merged(&[tar_of(&[
            ("usr/", Directory, 0o755, ""),
            ("usr/bin/tool", Regular, 0o4755, "tool"),
            ("usr/locked/", Directory, 0o555, ""),
            ("usr/locked/file", Regular, 0o600, "x"),
            ("bin", Symlink, 0o777, "usr/bin"),
            ("tool2", Link, 0o755, "usr/bin/tool"),
            ("/absolute", Regular, 0o644, "y"),
        ])])
        .unwrap();
    let tool = fs::metadata(root.join("usr/bin/tool")).unwrap();
    assert_eq!((tool.permissions().mode() & 0o7777, tool.mtime(), tool.nlink()), (0o4755, 1_000_000_000, 2));
    assert_eq!(fs::metadata(root.join("usr/locked")).unwrap().permissions().mode() & 0o777, 0o555);
    assert_eq!(fs::metadata(root.join("usr")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(fs::read_link(root.join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(fs::read_to_string(root.join("absolute")).unwrap(), "y");
    if rustix::process::geteuid().is_root() {
        assert_eq!((tool.uid(), tool.gid()), (1234, 0));
    }
}

#[test]
fn removals_are_carried_out_on_what_lies_below() {
    let house = house();
    let below = tar_of(&[
        ("a/old", Regular, 0o644, "old"),
        ("a/kept", Regular, 0o644, "kept"),
        ("b/old", Regular, 0o644, "old"),
        ("c/old", Regular, 0o644, "old"),
        ("d", Regular, 0o644, "file"),
    ]);
    let above = tar_of(&[
        ("a/.wh.old", Regular, 0, ""),
        ("b/new", Regular, 0o644, "new"),
        // The mark stands behind the layer's own file, which stays.
        ("b/.wh..wh..opq", Regular, 0, ""),
        (".wh.c", Regular, 0, ""),
        ("c/", Directory, 0o755, ""),
        ("d/", Directory, 0o755, ""),
    ]);
    let root = house.merged(&[below.clone(), above.clone()]).unwrap();
    let left = |folder: &str| {
        let mut names: Vec<_> =
            fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!((left("a"), left("b")), (vec!["kept".into()], vec!["new".into()]));
    assert!(left("c").is_empty() && left("d").is_empty());

    if !root_or_skip("removals_are_carried_out_on_what_lies_below (overlay form)") {
        return;
    }
    let (manifest, config) = house.image(&[below, above]);
    let folders = house.layers().unpack(&house.store, &house.name, &manifest, &config).unwrap();
    let whiteout = fs::symlink_metadata(folders[1].join("a/old")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    for opaque in ["b", "c"] {
        let mut value = [0; 8];
        let length =
            rustix::fs::getxattr(folders[1].join(opaque), "trusted.overlay.opaque", &mut value).unwrap();
        assert_eq!(&value[..length], b"y", "{opaque}");
    }
}

#[test]
fn no_entry_reaches_outside_its_image() {
    let house = house();
    let secret = house.folder.path().join("secret");
    fs::write(&secret, "untouched").unwrap();
    let absolute = secret.to_str().unwrap();
    let cases: [&[Entry<'_>]; 6] = [
        &[("../secret", Regular, 0o644, "gone")],
        &[("a/../../secret", Regular, 0o644, "gone")],
        &[("out", Symlink, 0o777, ".."), ("out/secret", Regular, 0o644, "gone")],
        &[("out", Symlink, 0o777, absolute), ("out", Regular, 0o644, "gone")],
        &[("link", Link, 0o644, "../secret")],
        &[("out", Symlink, 0o777, ".."), ("out/.wh.secret", Regular, 0, "")],
    ];
    for entries in cases {
        let _ = house.merged(&[tar_of(entries)]);
        assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched", "{entries:?}");
        assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1, "{entries:?}");
    }
    let refused = house.merged(&[tar_of(&[("../x", Regular, 0o644, "")])]).unwrap_err();
    assert!(refused.to_string().contains("outside the image"), "{refused}");
}

#[test]
fn a_layer_is_unpacked_once_and_a_wrong_one_never_shows() {
    if !root_or_skip("a_layer_is_unpacked_once_and_a_wrong_one_never_shows") {
        return;
    }
    let house = house();
    let (manifest, config) = house.image(&[tar_of(&[("file", Regular, 0o644, "x")])]);
    fs::create_dir_all(house.folder.path().join("layers/.unpacking-left/over")).unwrap();
    let layers = house.layers();
    let folders = layers.unpack(&house.store, &house.name, &manifest, &config).unwrap();
    let made = fs::metadata(&folders[0]).unwrap().ino();
    layers.unpack(&house.store, &house.name, &manifest, &config).unwrap();
    assert_eq!(fs::metadata(&folders[0]).unwrap().ino(), made);

    let mut wrong = config.clone();
    wrong.rootfs.diff_ids = vec![Digest::of(b"another")];
    let refused = layers.unpack(&house.store, &house.name, &manifest, &wrong);
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
    wrong.rootfs.diff_ids.clear();
    let refused = layers.unpack(&house.store, &house.name, &manifest, &wrong);
    assert!(matches!(refused, Err(Error::ManifestInvalid { .. })), "{refused:?}");
    assert_eq!(fs::read_dir(house.folder.path().join("layers")).unwrap().count(), 1);
    layers.retain(&BTreeSet::new()).unwrap();
    assert_eq!(fs::read_dir(house.folder.path().join("layers")).unwrap().count(), 0);
}

#[test]
fn a_layers_own_devices_stay_behind_but_for_the_mark_of_a_removal() {
    if !root_or_skip("a_layers_own_devices_stay_behind_but_for_the_mark_of_a_removal") {
        return;
    }
    let house = house();
    let (manifest, config) = house.image(&[tar_of(&[
        ("disk", Block, 0o666, "254:0"),
        ("null", Char, 0o666, "1:3"),
        ("zeros", Block, 0o666, "0:0"),
        ("gone", Char, 0, "0:0"),
    ])]);
    let folder = house.layers().unpack(&house.store, &house.name, &manifest, &config).unwrap().remove(0);
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["gone"]);
}

#[test]
fn limits_and_unknown_compressions_are_told() {
    let house = house();
    let (mut manifest, config) =
        house.image(&[tar_of(&[("a", Regular, 0o644, "x"), ("b", Regular, 0o644, "x")])]);
    let unpack = |manifest: &Manifest, limits| {
        let target = tempfile::tempdir().unwrap();
        unpack_merged(&house.store, &house.name, manifest, &config, target.path(), limits).unwrap_err()
    };
    let few = UnpackLimits { entries: 1, ..UnpackLimits::default() };
    assert!(matches!(unpack(&manifest, few), Error::LayerInvalid { .. } | Error::TooLarge { .. }));
    let small = UnpackLimits { bytes: 600, ..UnpackLimits::default() };
    assert!(unpack(&manifest, small).to_string().contains("larger"));
    manifest.layers[0].size -= 1;
    assert!(unpack(&manifest, UnpackLimits::default()).to_string().contains("larger"));
    manifest.layers[0].media_type = "application/vnd.oci.image.layer.v1.tar+lzma".to_owned();
    assert!(unpack(&manifest, UnpackLimits::default()).to_string().contains("gzip"));
}
